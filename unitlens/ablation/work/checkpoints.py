"""Where calls in Python keep what they measure: a folder that lasts, perhaps shared by several processes."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unitlens.ablation.work.kept import NOTHING_KEPT, Kept, noting_measured
from unitlens.dissection.store.lock import NAME as LOCK
from unitlens.dissection.store.lock import holding
from unitlens.errors import UnitlensError
from unitlens.files import given_folder, make_folder
from unitlens.processes import is_launched, launched

_MEASUREMENT = re.compile("[0-9a-f]{32}")
"""The name of the folder of a measurement; see `Kept.store`."""

Checkpoint = str | Path | Kept
"""What ``checkpoint=`` takes: a folder, or what `keeping` gives."""


@contextmanager
def keeping(folder: str | Path | None = None, *, replace: bool = False) -> Iterator[Kept]:
    """Keep what is measured inside of the ``with``, and share the work between the processes of `torchrun`.

    Every function that takes ``checkpoint=`` takes what this gives. The same calls go on in the folder after they were
    stopped, by whatever, and what was measured to the end is not measured again; the folder is removed by whoever needs
    it no more. Where `torchrun` started several processes, all of them make the same calls in the same order: images
    are dealt over them, and each call returns the same result to all, with the bits of one process.

    Parameters
    ----------
    folder : str or Path, optional
        Made if it is not there; of several processes, on a disk that all of them see. None: nothing is kept.
    replace : bool
        Whether what is kept of images that have changed since is measured anew; else that is an error.

    Yields
    ------
    Kept
        Its ``processes.first`` says whether this process is the one that should write results.

    Raises
    ------
    UnitlensError
        If another process is at work in the folder, or nothing can be written there.

    Examples
    --------
    >>> import tempfile, unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(12)
    >>> with tempfile.TemporaryDirectory() as folder, ul.keeping(folder) as kept:
    ...     first, again = (ul.importance(net, "relu6", data, checkpoint=kept) for _ in range(2))
    >>> (first.effect("recall") == again.effect("recall")).all()  # the second is not measured, but read
    np.True_
    """
    path = None if folder is None else given_folder(folder, "checkpoint")
    with launched() as processes, ExitStack() as held:
        with processes.in_step():
            if path is not None and processes.first:
                _check_free(path)
                held.enter_context(holding(make_folder(path)))
        kept = Kept(path, processes, replace)
        with noting_measured(kept):
            yield kept
            processes.wait()


def _check_free(folder: Path) -> None:
    """Refuse a folder of something else, such as a run: it may hold folders of measurements alone."""
    other = [path.name for path in folder.glob("*") if not (path.is_dir() and _MEASUREMENT.fullmatch(path.name))]
    if set(other) - {LOCK}:
        raise UnitlensError(f"{folder} holds other files: choose a folder that is empty, or not there yet.")


@contextmanager
def checkpointed(checkpoint: Checkpoint | None) -> Iterator[Kept]:
    """Keep the measurements of one call where ``checkpoint=`` says.

    Raises
    ------
    UnitlensError
        As for `keeping`, and if several processes were started, which have to share more than a folder.
    """
    if checkpoint is None or isinstance(checkpoint, Kept):
        yield checkpoint or NOTHING_KEPT
        return
    if is_launched():
        raise UnitlensError(
            "torchrun started several processes, which share the work of calls with one checkpoint: open it once, by "
            f"`with unitlens.keeping({str(checkpoint)!r}) as kept:`, and give checkpoint=kept to each call."
        )
    with keeping(checkpoint) as kept:
        yield kept
