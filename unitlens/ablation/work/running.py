"""The folder of a run, held while a command measures, with what it has measured so far."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unitlens.ablation.work.kept import FOLDER, Kept, noting_measured
from unitlens.dissection.work.works import holding_run
from unitlens.files import StoppedAfterWriting
from unitlens.processes import ALONE, Processes


@contextmanager
def keeping_in_run(out: Path, processes: Processes = ALONE, *, replace: bool = False) -> Iterator[Kept]:
    """Hold the folder of a run, where measurements are kept until the ``with`` is left without an error by all.

    Parameters
    ----------
    out : Path
    processes : Processes
        Those over which images are dealt, each of which keeps its part.
    replace : bool
        Whether what is kept of images that have changed since is measured anew.

    Raises
    ------
    UnitlensError
        If another process is at work in it, or nothing can be written there.
    """
    with ExitStack() as held:
        with processes.in_step():
            if processes.first:
                held.enter_context(holding_run(out))
        kept = Kept(out / FOLDER, processes, replace)
        try:
            with noting_measured(kept):
                yield kept
                processes.wait()  # until what follows is written
        except StoppedAfterWriting:
            kept.remove()
            raise
        kept.remove()
