"""`unitlens label`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.labelling.formulas import formula_options
from unitlens.cli.labelling.people import answers_with_saved, describe_saved, people_options
from unitlens.cli.labelling.request import LabelWork, Request, have_waiting
from unitlens.cli.labelling.words import word_options
from unitlens.cli.opening import set_threads, take_basis, worker_count
from unitlens.cli.options import (
    basis_option,
    process_options,
    quiet_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.targets import RunOptions
from unitlens.cli.text import echo
from unitlens.files import check_writable


@command(
    first=("formulas", "ranges", "words", "encoder", "given", "effects", "unmeasured", "overwrite", "data", "weights")
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "given",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels from elsewhere, as CSV: unit,label (and layer, score, rank); named by the file. Repeatable.",
)
@formula_options
@word_options
@people_options
@click.option("--effects", is_flag=True, help="Remove each unit, and see what that does where its labels are.")
@click.option("--unmeasured", is_flag=True, help="Do not measure labels on one footing, nor weigh given ones.")
@click.option("--overwrite", is_flag=True, help="Replace labels of the same method that are there, sheet and answers.")
@click.option("--data", metavar="DATA", help="Where the images of the run are now. [as in the run]")
@click.option("--weights", metavar="W", help="Weights of the network, as for `unitlens dissect`. [as in the run]")
@trust_options
@source_options
@basis_option
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@process_options
@store_limit_option
@quiet_option
def label(run: Path, given: tuple[Path, ...], effects: bool, unmeasured: bool, overwrite: bool, **options: Any) -> None:
    """Name the units of a saved run in other ways, and weigh every label by the same evidence.

    The labels are written into the run, beside the concepts of its units: labels.csv and the page. What takes
    activations has them from a run made with --keep-activations, or else shows the images to the network once more.
    """
    from unitlens.dissection.result import open_run
    from unitlens.labels.files import read_labels
    from unitlens.pages.labels.sheets import check_sheet, write_sheet

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options |= {"basis": take_basis(options), "workers": worker_count(options["workers"]), "progress": not quiet}
    request = Request.take(options, given=given, effects=effects, unmeasured=unmeasured, overwrite=overwrite)
    source, people = RunOptions.take(options), request.people
    dissection = open_run(run)
    # What cannot be read or written is refused before anything is computed.
    check_writable(run)
    before = read_labels(run, **request.replaced)
    there = None if overwrite else before
    ratings = answers_with_saved(run, people.answers, there)
    if people.sheet is not None:
        check_sheet(run, people.sheet, overwrite=overwrite)
    work = request.planned(run, dissection, before)
    images = work.encoder is not None or people.sheet is not None
    with _opened_for(work, OpenRun(run, dissection), source, images=images, passing=options) as opened:
        lines = _write_labels(work, opened, ratings, replaced=request.replaced, passing=options)
        if not quiet:
            _say(lines)
        if ratings is not None:
            _say(describe_saved(run, ratings, there))
        if people.sheet is not None:
            write_sheet(run, people.sheet, dissection, opened.stored, **people.settings)
            if not quiet:
                echo(f"wrote {people.sheet} for people to answer; the key to it is in {run}/")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        echo(line)


class OpenRun(NamedTuple):
    """A run that is labelled.

    Attributes
    ----------
    folder : Path
    dissection : Dissection
    net, data
        Its network and images; None where nothing is computed with them.
    stored : StoredPass or None
        Activations, where any are needed.
    """

    folder: Path
    dissection: Any
    net: Any = None
    data: Any = None
    stored: Any = None


@contextmanager
def _opened_for(work: LabelWork, run: OpenRun, source: RunOptions, *, images: bool, passing: Any) -> Iterator[OpenRun]:
    """Open what the work needs of a run: its network, and its activations by one pass for all that follows.

    Parameters
    ----------
    work : LabelWork
    run : OpenRun
        Its folder and dissection.
    source : RunOptions
        What the command line says of its network and images.
    images : bool
        Whether the images are needed beside what was made of them.
    passing : mapping
        How images are shown to the network, as for `unitlens.dissection.work.run_pass.activations`.

    Raises
    ------
    UnitlensError
        If network or images cannot be opened, or are others, or effects cannot be measured on them.
    """
    from unitlens.dissection.work.run_pass import activations
    from unitlens.labels.footing.measuring import check_effects

    if not (work.needs_activations or images):
        yield run
        return
    net, data = _open_again(run.folder, run.dissection, source, images=images, network=work.effects)
    if work.effects:
        check_effects(run.dissection, net, data)
    with activations(run.dissection, net, data, images=images, **passing) as stored:
        yield run._replace(net=net, data=data, stored=stored)


def _open_again(run: Path, dissection: Any, source: RunOptions, *, images: bool, network: bool) -> tuple[Any, Any]:
    """Open the network and the images of a run, as the command line says or as recorded.

    Both are None where the run has kept all that is needed: its activations and, where ``images`` count, those; but
    where the ``network`` itself is needed.
    """
    if not network and dissection.activations is not None and (dissection.settings.exemplars or not images):
        return None, None
    reopening = source.reopening(run, dissection)
    return reopening.open_network(trust=source.trust), reopening.open_data(trust=source.trust)


def _write_labels(
    work: LabelWork, run: OpenRun, ratings: Any, *, replaced: Mapping[str, bool], passing: Mapping[str, Any]
) -> list[str]:
    """Name the units in all ways that were asked for, measure that, and write it into the run.

    Parameters
    ----------
    work : LabelWork
    run : OpenRun
    ratings : Ratings or None
        Answers of people, which are written beside the labels; by themselves where there is nothing else to do.
    replaced : mapping
        Whether labels, and answers, are replaced that are there, as for `unitlens.labels.files.read_labels`.
    passing : mapping
        As for `_opened_for`.

    Returns
    -------
    list of str
        Lines that say what was found.
    """
    from unitlens.pages.writing import report

    beside = () if ratings is None else (ratings,)
    if not (work.makes_labels or work.again):
        if beside:
            report(run.folder, *beside, overwrite=True)
        return []
    labels = _measured(work, run, replaced, passing)
    page = report(run.folder, labels, *beside, overwrite=True)
    written = f"wrote {run.folder}/: {page.name} to look at, labels.csv to compute with"
    return [*_summary(run.dissection, labels), written]


def _measured(work: LabelWork, run: OpenRun, replaced: Mapping[str, bool], passing: Mapping[str, Any]) -> Any:
    """Labels that are made; where they are measured, with those that the run has, as all are measured together."""
    from unitlens.labels.by_words.vectors import Sight
    from unitlens.labels.files import read_labels
    from unitlens.labels.footing.measuring import measure_on, with_effects

    progress = passing["progress"]
    sight = None if work.encoder is None else Sight(run.stored, work.encoder, progress)
    made = _made(work, run.dissection, run.stored, sight, progress=progress)
    if work.measured:
        there = read_labels(run.folder, **replaced)
        made = made if there is None or not there.methods else [replace(there, answers=None), *made]
    labels = made[0].joined(*made[1:])
    if work.measured:
        labels = measure_on(run.dissection, labels, run.stored, sight=sight, progress=progress)
    if work.effects:
        labels = with_effects(run.dissection, labels, run.stored, run.net, run.data, **passing)
    return labels


def _made(work: LabelWork, dissection: Any, stored: Any, sight: Any, *, progress: bool) -> list[Any]:
    """Make the labels, from the activations of a run; ``sight`` is what the encoder sees of the images."""
    from unitlens.labels.by_words.naming import words_of
    from unitlens.labels.compositional.naming import formulas_of, ranges_of

    made = list(work.given)
    if work.formulas is not None:
        made.append(formulas_of(dissection, stored, work.formulas, progress=progress))
    if work.ranges is not None:
        made.append(ranges_of(dissection, stored, work.ranges, progress=progress))
    if work.words is not None and sight is not None:
        made.append(words_of(dissection, sight, work.words, progress=progress))
    return made


def _summary(dissection: Any, labels: Any) -> Iterator[str]:
    """What was found by each method, and what the user should know of it."""
    for method, record in labels.methods.items():
        rows = labels[method].rows
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in rows["verdict"].value_counts().items())
        yield f"{method}: {len(rows)} labels, {verdicts or 'none'}"
        yield from record.notes
    if have_waiting(dissection, labels):
        yield "Labels that are no concept can be weighed by images: `unitlens label RUN --encoder ENCODER`."
