"""Where the passes of a dissection are while they are made and counted: for a while, or in a folder that lasts."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unitlens.data.batches import ChangedImagesError
from unitlens.data.reading import ALL, Part
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.limit import PassesBeside
from unitlens.dissection.store.lock import NAME as LOCK
from unitlens.dissection.store.lock import holding
from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.manifest import Manifest
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import writing
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.work.folders import ASKED, FOLDER
from unitlens.dissection.work.passes import Pass, look, passes_of
from unitlens.dissection.work.task import Asked, Checkpoint, Task, check_same
from unitlens.errors import UnitlensError, spelled
from unitlens.files import StoppedAfterWriting, json_text, make_folder, read_json, replace_file

_LOCK = ".unitlens-lock"


class Work(Protocol):
    """Gives the passes of a dissection, whether they are made now, were made before or are put together."""

    def stored(self, one: Pass, units: Mapping[str, int], /) -> AbstractContextManager[StoredPass]:
        """A pass over all images, open inside the ``with``.

        Parameters
        ----------
        one : Pass
        units : mapping of str to int
            How many each layer has, once the first pass was made.
        """
        ...


@dataclass(frozen=True)
class TemporaryWork:
    """Passes that are made one after another, each in a store that is gone when its ``with`` is left."""

    task: Task

    @contextmanager
    def stored(self, one: Pass, units: Mapping[str, int], /) -> Iterator[StoredPass]:
        """Make a pass."""
        with temporary_store() as store:
            yield look(self.task, one, store, units)


@dataclass(frozen=True)
class KeptWork:
    """Passes that are kept in a folder, and are not made again.

        FOLDER/asked.json         see `unitlens.dissection.work.task.Asked`
        FOLDER/0-network/         the store of a pass
        FOLDER/1-untrained/

    Attributes
    ----------
    task : Task
    folder : Path
    part : Part
        Of the images, which is looked at here.
    calibrated : Path, optional
        Where statistics of untrained copies are, if others have estimated them; see `calibrate_copies`.
    replace : bool
        Whether passes over images that have changed since are made anew; else that is an error.
    """

    task: Task
    folder: Path
    part: Part = ALL
    calibrated: Path | None = None
    replace: bool = False

    @contextmanager
    def stored(self, one: Pass, units: Mapping[str, int], /) -> Iterator[StoredPass]:
        """Open a pass, make it, or go on with it."""
        with ExitStack() as opened:
            try:
                stored = self._looked(one, units, opened)
            except ChangedImagesError:
                if one.control is not None or not self.replace:
                    raise
                opened.close()
                for each in passes_of(self.task.settings):
                    shutil.rmtree(self.folder / each.name, ignore_errors=True)
                stored = self._looked(one, units, opened)
            yield stored

    def _looked(self, one: Pass, units: Mapping[str, int], opened: ExitStack) -> StoredPass:
        """Look, or open what was looked at: the first pass makes sure that images are what they were."""
        store = opened.enter_context(Store.going_on(self.folder / one.name))
        if store.manifest.complete and one.control is not None:
            return StoredPass.reopen(store)
        calibrated = None
        if self.calibrated is not None and (self.calibrated / one.name).is_dir():
            calibrated = opened.enter_context(Store.open(self.calibrated / one.name))
        passes = passes_of(self.task.settings)
        before = [self.folder / each.name for each in passes[: one.number]]
        beside = PassesBeside.of(before, ahead=len(passes) - one.number - 1)
        return look(self.task, one, store, units, part=self.part, beside=beside, calibrated=calibrated)


@contextmanager
def kept_work(task: Task, asked: Asked, checkpoint: Checkpoint) -> Iterator[KeptWork]:
    """Hold a folder for the passes of a dissection, in which those that are there belong to it.

    Parameters
    ----------
    task : Task
    asked : Asked
        What it asks for.
    checkpoint : Checkpoint

    Raises
    ------
    UnitlensError
        If another process works there, nothing can be written, or what is there belongs to another dissection and may
        not be replaced.
    """
    folder = make_folder(checkpoint.folder)
    with holding(folder):
        if (folder / ASKED).exists():
            try:
                check_same(read_asked(folder), asked, folder)
            except UnitlensError:
                if not checkpoint.replace:
                    raise
                empty_work(folder)
        elif not all(path.name == LOCK or path.match(f".{ASKED}-*.partial") for path in folder.iterdir()):
            raise UnitlensError(f"{folder} holds other files: choose a folder that is empty, or not there yet.")
        with writing(folder):
            replace_file(folder / ASKED, json_text(asked.to_json()).encode(), synced=True)
        with _keeping(folder):
            yield KeptWork(task, folder, Part(asked.part, asked.parts), replace=checkpoint.replace)


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Say of an error inside of the ``with`` that passes are kept; a folder in which there are none is removed."""
    try:
        with noting_kept():
            yield
    except BaseException as error:
        if not any(map(_has_images, folder.rglob(MANIFEST))):
            shutil.rmtree(folder, ignore_errors=True)
            error.__notes__ = []
        raise


@contextmanager
def noting_kept() -> Iterator[None]:
    """Say of an error inside of the ``with`` that passes are kept, unless it says so already."""
    try:
        yield
    except StoppedAfterWriting:
        raise
    except BaseException as error:
        if not getattr(error, "__notes__", None):
            again = spelled(python="the same call with the same checkpoint=", shell="the same command")
            error.add_note(f"The passes over the images are kept: {again} goes on behind them.")
        raise


def _has_images(manifest: Path) -> bool:
    try:
        there = Manifest.read(manifest.parent)
    except UnitlensError:
        return False
    return there.complete or there.looked_at > 0


@contextmanager
def holding_run(folder: Path) -> Iterator[Path]:
    """Hold the folder of a run, so that no other process writes there meanwhile; give that of its passes.

    Folders that are made for it are removed again if nothing is written.

    Raises
    ------
    UnitlensError
        If another process holds it, or it cannot be made.
    """
    made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        with holding(make_folder(folder), name=_LOCK):
            yield folder / FOLDER
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()


@contextmanager
def finishing(folder: Path) -> Iterator[None]:
    """Write inside of the ``with`` what follows from the passes in a folder; then they are needed no more."""
    try:
        with noting_kept():
            yield
    except StoppedAfterWriting:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def make_passes(work: KeptWork) -> None:
    """Make all passes over a part of the images, as far as they are not there yet."""
    units: dict[str, int] = {}
    for one in passes_of(work.task.settings):
        with work.stored(one, units) as stored:
            units = units or {name: layer.units for name, layer in stored.layers.items()}


def read_asked(folder: Path) -> Asked:
    """What the passes in a folder are of.

    Raises
    ------
    UnitlensError
        If there are none, or the record of them is damaged.
    """
    try:
        return Asked.from_json(read_json(folder / ASKED), file=ASKED)
    except UnitlensError as error:
        raise UnitlensError(f"{folder} has no passes to go on with: {str(error).rstrip('.')}.") from None


def empty_work(folder: Path) -> None:
    """Remove the passes in a folder; what they were of stays, so that it is still known whose the folder is."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
