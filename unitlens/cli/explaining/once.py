"""What the commands that explain have in common: a run, maybe with other classes, and one page with its tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.targets import Source, explained_source

if TYPE_CHECKING:
    from unitlens.cli.classes import GivenClasses


def explain_once(
    target: str,
    options: dict[str, Any],
    classes: "GivenClasses",
    compute: Callable[[Source], Any],
    describe: Callable[[Any], str],
    *,
    page: str,
    what: str,
    packages: tuple[str, ...] = (),
    read: tuple[Path, ...] = (),
) -> None:
    """Compute an explanation and write it, unless it is there already.

    Parameters
    ----------
    target : str
        The run.
    options : dict
        Of the command.
    classes : GivenClasses
        Those that the options give the run's network.
    compute : callable
        Takes the run's network, with the classes that options give it, and its images; returns what
        `unitlens.report` writes.
    describe : callable
        Says what was found.
    page, what : str
        The name of its page, and what it shows, in the plural.
    packages : tuple of str
        That compute it, beside those on which all results rest.
    read : tuple of Path
        Images, or folders of them, that are explained in place of the run's.
    """
    from unitlens.pages.writing import check_no_explanation, report

    beginning, out, overwrite = begin(target), options["out"] or Path(target), options["overwrite"]
    source = explained_source(target, options, images=not read)

    def measure(answer: Answer) -> None:
        check_no_explanation(out, page, overwrite=overwrite)
        found = compute(source._replace(net=classes.given_to(source.net, quiet=options["quiet"])))
        written = report(out, found, overwrite=overwrite)
        answer.say(describe(found))
        answer.say_written(f"{out}/: {written.name} to look at, {written.stem}.csv to compute with")

    asked = Asked(
        beginning=beginning,
        target=target,
        source=source,
        out=out,
        what=what,
        files=(f"{Path(page).stem}.*",),
        read=read,
        further=classes.images,
        packages=packages,
    )
    keep_or_measure(asked, measure)
