"""A dissection by several processes: each looks at a part of the images, and all of them count."""

import secrets
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.data.reading import Part
from unitlens.dissection.store.rows import writing
from unitlens.dissection.work.concluding import conclude_together
from unitlens.dissection.work.merging import find_parts
from unitlens.dissection.work.passes import calibrate_copies
from unitlens.dissection.work.task import Asked, Checkpoint, Task
from unitlens.dissection.work.works import kept_work, make_passes
from unitlens.errors import UnitlensError

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection
    from unitlens.processes import Processes

_CALIBRATED = "calibrated"

_SEEN = "seen.txt"
"""A file that the first process writes, and all others have to see."""


def dissect_together(task: Task, checkpoint: Checkpoint, processes: "Processes") -> "Dissection | None":
    """Dissect with several processes, all of which see one folder; the result is that of one process.

    Parameters
    ----------
    task : Task
        The same in every process.
    checkpoint : Checkpoint
        The folder, in which each process keeps the passes over its part of the images.
    processes : Processes

    Returns
    -------
    Dissection or None
        At the first process; None at the others.

    Raises
    ------
    UnitlensError
        What goes wrong in any process, in all of them; and if they do not see the same folder.
    """
    parts = [Part(rank, processes.count) for rank in range(processes.count)]
    folders = [checkpoint.folder / f"part-{part.number + 1}" for part in parts]
    asked = Asked.of(task, part=parts[processes.rank])
    with ExitStack() as held:
        with processes.in_step():
            if processes.first:
                held.enter_context(kept_work(task, asked, checkpoint))
        _check_seen(checkpoint.folder, processes)
        own = Checkpoint(folders[processes.rank], replace=checkpoint.replace)
        calibrated = checkpoint.folder / _CALIBRATED
        with processes.in_step():
            calibrate_copies(task, calibrated, processes)
        with processes.in_step(), kept_work(task, asked, own) as work:
            make_passes(replace(work, calibrated=calibrated))
        joined = find_parts(folders)
        return conclude_together(joined.asked, joined, processes, show=task.resources.show)


def _check_seen(folder: Path, processes: "Processes") -> None:
    """Make sure that all processes see the folder of the first one."""
    token, path = processes.of_first(secrets.token_hex(16)), folder / _SEEN
    with processes.in_step(), writing(folder):
        if processes.first:
            path.write_text(token)
    with processes.in_step():
        try:
            seen = path.read_text() == token
        except OSError:
            seen = False
        if not seen:
            raise UnitlensError(
                f"This process does not see what the first one wrote into {folder.parent}: the folder of a run that "
                "several processes make lies on a disk that all of them see"
            )
