"""The folder of a run, held while a command measures, with what it has measured so far."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unitlens.ablation.work.kept import FOLDER, Kept, holds_anything
from unitlens.dissection.work.works import holding_run
from unitlens.files import StoppedAfterWriting


@contextmanager
def keeping(out: Path) -> Iterator[Kept]:
    """Hold the folder of a run, where measurements are kept until the ``with`` is left without an error.

    Raises
    ------
    UnitlensError
        If another process is at work in it, or nothing can be written there.
    """
    with holding_run(out):
        kept = Kept(out / FOLDER)
        try:
            yield kept
        except StoppedAfterWriting:
            kept.remove()
            raise
        except BaseException as error:
            kept.remove(empty=True)
            if not getattr(error, "__notes__", None) and any(map(holds_anything, kept.used)):
                error.add_note("What was measured is kept: the same command goes on behind it.")
            raise
        kept.remove()
