"""A dissection whose passes are kept in one folder, by one process or by several that each look at parts of the images.

The parts are those of the processes that began. Whoever goes on there, fewer processes or more, deals the same parts.
"""

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.dissection.store.rows import writing
from unitlens.dissection.work.concluding import conclude, conclude_together
from unitlens.dissection.work.folders import ASKED, PART
from unitlens.dissection.work.merging import find_parts
from unitlens.dissection.work.passes import calibrate_copies
from unitlens.dissection.work.task import Asked, Checkpoint, Task
from unitlens.dissection.work.works import kept_work, make_passes, read_asked
from unitlens.errors import UnitlensError
from unitlens.processes import ALONE, Processes
from unitlens.progress import tell

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection

_CALIBRATED = "calibrated"

_SEEN = "seen.txt"
"""A file that the first process writes, and all others have to see."""

_MOST_PARTS = 1 << 16


def dissect_kept(task: Task, checkpoint: Checkpoint, processes: Processes = ALONE) -> "Dissection | None":
    """Dissect, and keep the passes in a folder, in which any number of processes may have begun.

    Parameters
    ----------
    task : Task
        The same in every process.
    checkpoint : Checkpoint
        The folder, which all processes see.
    processes : Processes

    Returns
    -------
    Dissection or None
        At the first process; None at the others. It is the same, whoever made it.

    Raises
    ------
    UnitlensError
        What goes wrong in any process, in all of them; and if they do not see the same folder.
    """
    asked = Asked.of(task)
    parts = processes.of_first(_parts_kept(asked, checkpoint.folder) or processes.count)
    if parts == processes.count == 1:
        with kept_work(task, asked, checkpoint) as work:
            return conclude(asked, work, show=task.resources.show)
    if parts < processes.count and task.resources.show:
        tell(f"goes on in {parts} of {processes.count} processes, as it was begun; all of them count")
    with ExitStack() as held:
        begun = None
        with processes.in_step():
            if processes.first:
                begun = held.enter_context(kept_work(task, replace(asked, parts=parts), checkpoint))
        _check_seen(checkpoint.folder, processes)
        with processes.in_step():
            calibrate_copies(task, checkpoint.folder / _CALIBRATED, processes)
        folders = [checkpoint.folder / f"{PART}{number + 1}" for number in range(parts)]
        with processes.in_step():
            if parts > 1:
                _make_parts(task, replace(asked, parts=parts), checkpoint, folders, processes)
            elif begun is not None:
                make_passes(begun)
        joined = find_parts(folders if parts > 1 else [checkpoint.folder])
        return conclude_together(joined.asked, joined, processes, show=task.resources.show)


def _parts_kept(asked: Asked, folder: Path) -> int | None:
    """In how many parts the same dissection was begun in a folder; None if it was not, or one part is there alone."""
    if not (folder / ASKED).is_file():
        return None
    try:
        there = read_asked(folder)
        differing = there.differences(replace(asked, parts=there.parts))
    except UnitlensError:
        return None  # whoever opens the folder says what is wrong
    shared = there.parts == 1 or (there.parts <= _MOST_PARTS and any(folder.glob(f"{PART}*")))
    return there.parts if shared and not differing else None


def _make_parts(
    task: Task, asked: Asked, checkpoint: Checkpoint, folders: Sequence[Path], processes: Processes
) -> None:
    """Make the passes over the parts that are this process's, one after another."""
    for part in range(processes.rank, len(folders), processes.count):
        own = Checkpoint(folders[part], replace=checkpoint.replace)
        with kept_work(task, replace(asked, part=part), own) as work:
            make_passes(replace(work, calibrated=checkpoint.folder / _CALIBRATED))


def _check_seen(folder: Path, processes: Processes) -> None:
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
