"""`unitlens label`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from unitlens.cli.labelling.formulas import formula_options, label_by_formulas, take_formula_options
from unitlens.cli.labelling.people import people_options, save_answers, take_people_options
from unitlens.cli.labelling.words import label_by_words, take_word_options, word_options
from unitlens.cli.opening import set_threads, take_basis, take_data_options, worker_count
from unitlens.cli.options import (
    basis_option,
    process_options,
    quiet_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.targets import reopening_of
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError


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
    from unitlens.labels.files import check_no_labels, read_labels
    from unitlens.labels.footing.measuring import measure_labels
    from unitlens.labels.given.reading import given_labels
    from unitlens.labels.run_pass import with_activations
    from unitlens.pages.labels.sheets import check_sheet, sheet
    from unitlens.pages.writing import report

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options["basis"] = take_basis(options)
    by_formulas, by_words = take_formula_options(options), take_word_options(options)
    people, named = take_people_options(options), bool(given or by_formulas is not None or by_words is not None)
    if not (named or people.sheet or people.answers):
        raise UnitlensError(
            "Nothing was asked for: add --formulas 3, --ranges 5, --words LIST, --from FILE for labels from elsewhere, "
            "--sheet PAGE for people to answer, or --answers FILE."
        )
    dissection = open_run(run)
    if people.answers:
        for line in save_answers(run, people.answers, overwrite=overwrite):
            echo(line)
    if not (named or people.sheet):
        return
    if people.sheet is not None:
        check_sheet(run, people.sheet, overwrite=overwrite)  # before anything is computed
    methods = [*(by_formulas.methods if by_formulas else ()), *(by_words["methods"] if by_words else ())]
    check_no_labels(run, methods, overwrite=overwrite)
    made = [given_labels(dissection, file) for file in given]
    given_methods = [method for labels in made for method in labels.methods]
    _check_different(given_methods)
    check_no_labels(run, given_methods, overwrite=overwrite)
    images = by_words is not None or people.sheet is not None
    with ExitStack() as held:
        net = data = None
        if by_formulas is not None or images or not unmeasured:
            net, data = open_again(run, dissection, options, images=images, network=effects)
            at_hand = with_activations(dissection, net, data, images=images, progress=not quiet, **options)
            dissection = replace(dissection, activations=held.enter_context(at_hand))  # one pass for all that follows
        if by_formulas is not None:
            made += label_by_formulas(dissection, net, data, by_formulas, progress=not quiet, **options)
        if by_words is not None:
            made.append(label_by_words(dissection, net, data, by_words, progress=not quiet, **options))
            check_no_labels(run, list(made[-1].methods), overwrite=overwrite)
        if named:
            labels = made[0].joined(*made[1:])
            if not unmeasured:
                there = read_labels(run, overwrite=overwrite)
                labels = labels if there is None else there.joined(labels)
                labels = measure_labels(dissection, labels, net, data, effects=effects, progress=not quiet, **options)
            page = report(run, labels, overwrite=True)
            if not quiet:
                for line in _summary(labels):
                    echo(line)
                echo(f"wrote {run}/: {page.name} to look at, labels.csv to compute with")
        if people.sheet is not None:
            asked = people.settings | options
            sheet(run, people.sheet, net=net, data=data, overwrite=overwrite, progress=not quiet, **asked)
            if not quiet:
                echo(f"wrote {people.sheet} for people to answer; the key to it is in {run}/")


def _check_different(methods: list[str]) -> None:
    twice = next((method for method in methods if methods.count(method) > 1), None)
    if twice is not None:
        raise UnitlensError(f"Two files have labels by {twice!r}, as files name their method: rename one of them.")


def _summary(labels: Any) -> Iterator[str]:
    """What was found by each method, and what the user should know of it."""
    for method, record in labels.methods.items():
        rows = labels[method].rows
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in rows["verdict"].value_counts().items())
        yield f"{method}: {len(rows)} labels, {verdicts or 'none'}"
        yield from record.notes


def open_again(
    run: Path, dissection: Any, options: dict[str, Any], *, images: bool = False, network: bool = False
) -> tuple[Any, Any]:
    """Open the network and the images of a run, as the command line says or as recorded; takes their options out.

    Both are None where the run has kept all that is needed: its activations and, where ``images`` count, those; but
    where the ``network`` itself is needed.
    """
    spec, weights, source, trust = (options.pop(name) for name in ("network", "weights", "data", "trust"))
    opened = take_data_options(options)
    options["workers"] = worker_count(options["workers"])
    if not network and dissection.activations is not None and (dissection.settings.exemplars or not images):
        return None, None
    reopening = reopening_of(
        run,
        dissection.info,
        network=spec,
        weights=weights,
        source=source,
        opened=opened,
        groups=dissection.groups,
        trust=trust,
    )
    return reopening.open_network(trust=trust), reopening.open_data(trust=trust)
