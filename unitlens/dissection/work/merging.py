"""Parts of the images that were looked at elsewhere, put together: the same results as those of one process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.dissection.files import RUN
from unitlens.dissection.forward import check_images
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.images import read_record
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.concluding import conclude
from unitlens.dissection.work.folders import ASKED, FOLDER
from unitlens.dissection.work.passes import Pass
from unitlens.dissection.work.task import Asked
from unitlens.dissection.work.works import read_asked
from unitlens.errors import UnitlensError, did_you_mean, spelled

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection


def merge(folders: Sequence[str | Path], *, progress: bool = False) -> "Dissection":
    """Put parts of the images together that were looked at on several machines.

    Parts are made by `unitlens.dissect_part`, or in the shell by ``unitlens dissect --shard i/n``.

    Neither the network nor the images are needed. The result has the same bits as that of one process that looked at
    all images, where the activations have.

    Parameters
    ----------
    folders : sequence of str or Path
        Of all parts, in any order.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Dissection

    Raises
    ------
    UnitlensError
        If a part is missing, there twice, not finished, or of another dissection; it says which.

    Examples
    --------
    >>> import tempfile
    >>> import unitlens as ul
    >>> net, options = ul.load("bundled:scenes"), {"limit": 64, "evidence": False, "exemplars": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = [f"{folder}/part{number}" for number in (1, 2)]
    ...     for number, part in enumerate(parts, 1):
    ...         ul.dissect_part(net, None, "bundled:scenes", shard=(number, 2), checkpoint=part, **options)
    ...     merged = ul.merge(parts)
    >>> len(merged.table()), merged.info["data"]["images"]
    (128, 64)
    """
    parts = find_parts([Path(folder) for folder in folders])
    return conclude(parts.asked, parts, show=progress)


@dataclass(frozen=True)
class JoinedWork:
    """The passes of all parts, each read as if it was one.

    Attributes
    ----------
    asked : Asked
        Of the first part.
    folders : tuple of Path
        Of the parts, in their order.
    """

    asked: Asked
    folders: tuple[Path, ...]

    @contextmanager
    def stored(self, one: Pass, units: Mapping[str, int], /) -> Iterator[StoredPass]:
        """Open a pass."""
        with ExitStack() as opened:
            stores = [opened.enter_context(_finished(folder, one)) for folder in self.folders]
            stored = StoredPass.joined(stores)
            stored.check_of(one.settings.layers, one.settings.grid)
            if not stored.images:
                raise UnitlensError(_nothing_read(stored))
            check_images(stored.images)
            yield stored


def _finished(folder: Path, one: Pass) -> Store:
    """Open the store of a pass that went to its end."""
    path = folder / one.name
    if path.is_dir():
        store = Store.open(path)
        if store.manifest.complete:
            return store
        done = read_record(store).looked_at
        store.close()
        how_far = f"it came to image {done:,} of the part"
    else:
        how_far = "its pass has not begun"
    raise UnitlensError(f"{folder} is not finished ({one.name}: {how_far}): run its command again to go on.")


def _nothing_read(stored: StoredPass) -> str:
    unread = stored.record.unread
    return f"None of the {stored.record.total} images could be read" + (f": {unread[0].reason}." if unread else ".")


def _passes_in(folder: Path) -> Path:
    """Where the passes of a part are: in its folder, or in that of a run that is not written yet."""
    if (folder / FOLDER / ASKED).exists():
        return folder / FOLDER
    if not folder.is_dir():
        near = did_you_mean(folder.name, (path.name for path in folder.parent.glob("*") if path.is_dir()))
        raise UnitlensError(f"There is no folder {folder}{near}; give the folders of all parts.")
    if (folder / RUN).is_file():
        how = spelled(python="ul.dissect_part", shell="`unitlens dissect --shard`")
        raise UnitlensError(f"{folder} is a run, not a part of one: parts are made by {how}.")
    return folder


def find_parts(folders: Sequence[Path]) -> JoinedWork:
    """The parts in some folders, in their order.

    Raises
    ------
    UnitlensError
        If they are not all parts of one dissection, each once.
    """
    if not folders:
        raise UnitlensError("No folders of parts were named.")
    works = [_passes_in(folder) for folder in folders]
    asked = [read_asked(work) for work in works]
    first, found = asked[0], dict[int, int]()
    for number, one in enumerate(asked):
        if differing := first.differences(one):
            raise UnitlensError(
                f"{folders[0]} and {folders[number]} are parts of dissections that differ in {', '.join(differing)}: "
                "give parts of one alone."
            )
        if one.part in found:
            raise UnitlensError(
                f"{folders[found[one.part]]} and {folders[number]} are both part {one.part + 1} of {one.parts}: give "
                "each part once."
            )
        found[one.part] = number
    if missing := [str(part + 1) for part in range(first.parts) if part not in found]:
        raise UnitlensError(
            f"Of {first.parts} parts {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give the "
            "folders of all parts."
        )
    order = [found[part] for part in range(first.parts)]
    machines = [asked[number].machine for number in order]
    of_all = {name: " and ".join(dict.fromkeys(one.get(name, "unknown") for one in machines)) for name in machines[0]}
    return JoinedWork(replace(asked[order[0]], machine=of_all), tuple(works[number] for number in order))
