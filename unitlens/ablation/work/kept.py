"""Where the measurements of a command are kept, so that the same command goes on with them after it was stopped."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.work.keys import NoKeyError, key_of
from unitlens.data.concepts import Data, described
from unitlens.data.reading import Reading, Unread, chosen_images, note_unread, noting_unread
from unitlens.dissection.provenance import describe_network, versions
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.manifest import Manifest
from unitlens.errors import UnitlensError, spelled
from unitlens.files import StoppedAfterWriting, make_folder
from unitlens.models.network import Network
from unitlens.processes import ALONE, Processes
from unitlens.progress import tell

FOLDER = ".unitlens-measured"
"""In the folder of a run: the measurements of commands that were not finished."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Kept:
    """Measurements that are kept, each in a folder that is named for what it is of; or none at all.

        FOLDER/KEY/         the store of a measurement, or of the part of it that a process makes

    Attributes
    ----------
    folder : Path, optional
        None: nothing is kept.
    processes : Processes
        Those over which the images of a measurement are dealt.
    replace : bool
        Whether a measurement that is kept, of images that have changed since, is made anew; else that is an error.
    used : list of Path
        The stores that were opened so far.
    """

    folder: Path | None = None
    processes: Processes = ALONE
    replace: bool = False
    used: list[Path] = field(default_factory=list)

    @contextmanager
    def store(self, key: str | None, *, anew: bool = False) -> Iterator[Store | None]:
        """Open the store of a measurement, or make it; None where nothing is kept.

        Parameters
        ----------
        key : str, optional
            See `measurement_key`.
        anew : bool
            Whether what is kept of it is removed first.
        """
        if self.folder is None or key is None:
            yield None
            return
        path = make_folder(self.folder) / key[:32]
        self.used.append(path)
        if anew:
            shutil.rmtree(path, ignore_errors=True)
        with Store.going_on(path) as store:
            yield store

    def arrays(self, key: str | None, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that are computed once, by the first process; maybe by one that was stopped later on."""
        found: Arrays | None = None
        with self.processes.in_step():
            if self.processes.first:
                found = self._found(key, make)
        return self.processes.of_first(found) or {}

    def _found(self, key: str | None, make: Callable[[], Arrays]) -> Arrays:
        with self.store(key) as store:
            if store is None:
                return make()
            known = store.arrays("found") if store.manifest.complete else None
            if known is None:
                with noting_unread() as unread:
                    known = dict(make())
                left_out = np.array([len(unread)], np.int64)
                store.commit(images=0, complete=True, arrays={"found": known, "left_out": {"images": left_out}})
                return known
            note_unread(_left_out_before(store))
            return known

    def tensor(self, key: str | None, compute: Callable[[], Tensor]) -> Tensor:
        """A tensor that is computed once."""
        return torch.from_numpy(self.arrays(key, lambda: {"tensor": compute().cpu().numpy()})["tensor"])

    @contextmanager
    def refusable(self) -> Iterator[None]:
        """Keep nothing if the ``with`` refuses what was measured: the same command would end there again."""
        try:
            yield
        except UnitlensError:
            self.remove()
            raise

    def remove(self, *, empty: bool = False) -> None:
        """Remove what was used, as the results are written, or those of it that are empty; what others kept stays."""
        for path in self.used:
            if not (empty and holds_anything(path)):
                shutil.rmtree(path, ignore_errors=True)
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()


NOTHING_KEPT = Kept()


def _left_out_before(store: Store) -> list[Unread]:
    """Images that were left out when arrays were computed: only their number is known, and it alone counts.

    Older stores do not say it. That is one image here, as whoever asks must not take it that all were read.
    """
    counts = store.arrays("left_out")
    number = 1 if counts is None else int(counts["images"][0])
    return [Unread("an image", "it could not be read before")] * number


def measurement_key(net: Network, data: Data, reading: Reading, *asked: Any) -> str | None:
    """Return the hash of what is measured, where and on what; None, with a word, where it cannot be said.

    Parameters
    ----------
    net, data, reading
        The network, with its weights; the images, by their names, as they are looked at again when it goes on; and
        which of these are read, in which batches.
    *asked
        What is measured.
    """
    about = described(data)
    images = {
        "source": about.source,
        "images": len(chosen_images(data, reading.limit, seed=reading.seed)),
        "names": about.names,
        "classes": about.classes,
        "concepts": [tuple(concept) for concept in data.concepts],
    }
    how = (reading.batch_size, reading.limit, reading.seed, reading.strict, reading.part)
    try:
        return key_of(describe_network(net), str(net.device), versions(), images, how, *asked)
    except NoKeyError as error:
        tell(f"not kept for a later start: whether {error} is the same again could not be known")
        return None


def holds_anything(path: Path) -> bool:
    """Whether there are measured images in a store, or arrays that were computed."""
    try:
        there = Manifest.read(path)
    except UnitlensError:
        return False
    return there.complete or there.images > 0


@contextmanager
def noting_measured(kept: Kept) -> Iterator[None]:
    """Say of an error inside of the ``with`` that something was kept, and remove what is empty."""
    try:
        yield
    except StoppedAfterWriting:
        raise
    except BaseException as error:
        kept.remove(empty=True)
        if not getattr(error, "__notes__", None) and any(map(holds_anything, kept.used)):
            again = spelled(python="the same call with the same checkpoint=", shell="the same command")
            error.add_note(f"What was measured is kept: {again} goes on behind it.")
        raise
