"""`unitlens label`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.labelling.formulas import formula_options, take_formula_options
from unitlens.cli.labelling.people import answers_with_saved, describe_saved, people_options, take_people_options
from unitlens.cli.labelling.words import take_word_options, word_options
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
from unitlens.errors import UnitlensError
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
    from unitlens.dissection.work.run_pass import activations
    from unitlens.labels.files import check_no_labels, read_labels
    from unitlens.labels.footing.measuring import check_effects
    from unitlens.pages.labels.sheets import check_sheet, write_sheet
    from unitlens.pages.writing import report

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options |= {"basis": take_basis(options), "workers": worker_count(options["workers"]), "progress": not quiet}
    by_formulas, by_words = take_formula_options(options), take_word_options(options)
    people, source = take_people_options(options), RunOptions.take(options)
    named = bool(given or by_formulas.methods or by_words.methods)
    _check_measured(unmeasured, effects=effects, encoder=by_words.words is None and by_words.encoder is not None)
    if not (named or effects or by_words.encoder or people.sheet or people.answers):
        raise UnitlensError(
            "Nothing was asked for: add --formulas 3, --ranges 5, --words LIST, --from FILE for labels from elsewhere, "
            "--sheet PAGE for people to answer, --answers FILE, or --effects or --encoder ENCODER to measure labels "
            "that are there."
        )
    dissection = open_run(run)
    # What cannot be read or written is refused before anything is computed.
    check_writable(run)
    replaced = {"overwrite": overwrite and named, "overwrite_answers": overwrite and bool(people.answers)}
    before = read_labels(run, **replaced)
    kept = _kept(dissection, None if overwrite else before, by_formulas, by_words)
    if kept:
        _tell_kept(run, kept)
        by_formulas = by_formulas.without(kept)
        by_words = by_words.without(kept, weighing=bool(given) or _wait(dissection, before))
        named = bool(given or by_formulas.methods or by_words.methods)
    waiting = not unmeasured and _are_unmeasured(kept, before)
    again = not named and (effects or by_words.encoder is not None or waiting)
    ratings = answers_with_saved(run, people.answers, None if overwrite else before)
    if people.sheet is not None:
        check_sheet(run, people.sheet, overwrite=overwrite)
    labels = tuple(_given_by(dissection, given))
    methods = [method for one in labels for method in one.methods] + by_formulas.methods
    check_no_labels(
        run,
        [*methods, *by_words.methods],
        overwrite=overwrite,
        overwrite_answers=replaced["overwrite_answers"],
    )
    encoder = by_words.open_encoder()
    asked = _Asked(
        given=labels,
        formulas=by_formulas.formulas,
        ranges=by_formulas.ranges,
        words=by_words.asked_words(dissection, encoder),
        encoder=encoder,
        measured=(named or again) and not unmeasured,
        effects=effects,
    )
    _check_there(run, dissection, asked, before, again=again, weighed=by_words.encoder is not None)
    images = encoder is not None or people.sheet is not None
    with ExitStack() as opened:
        net, data, stored = None, None, None  # type: Any, Any, Any
        if asked.needs_activations or images:
            net, data = _open_again(run, dissection, source, images=images, network=asked.effects)
            if asked.effects:
                check_effects(dissection, net, data)
            # One pass for all that follows.
            stored = opened.enter_context(activations(dissection, net, data, images=images, **options))
        beside = () if ratings is None else (ratings,)
        if named or again:
            _name_units(run, dissection, stored, asked, net, data, beside, quiet=quiet, **replaced, **options)
        elif beside:
            report(run, *beside, overwrite=True)
        if ratings is not None:
            for line in describe_saved(run, ratings, None if overwrite else before):
                echo(line)
        if people.sheet is not None:
            write_sheet(run, people.sheet, dissection, stored, **people.settings)
            if not quiet:
                echo(f"wrote {people.sheet} for people to answer; the key to it is in {run}/")


class _Asked(NamedTuple):
    """Labels that were asked for.

    Attributes
    ----------
    given : tuple of Labels
        From elsewhere.
    formulas : SearchSettings or None
    ranges : RangeSettings or None
    words : AskedWords or None
    encoder : Encoder or None
        Chooses the words, and weighs labels from elsewhere that are no concept.
    measured, effects : bool
        Whether all labels are measured on one footing, and what the removal of units does.
    """

    given: tuple[Any, ...]
    formulas: Any
    ranges: Any
    words: Any
    encoder: Any
    measured: bool
    effects: bool

    @property
    def needs_activations(self) -> bool:
        """Whether anything is computed from activations."""
        return self.measured or any(one is not None for one in (self.formulas, self.ranges, self.words))


def _kept(dissection: Any, before: Any, by_formulas: Any, by_words: Any) -> list[str]:
    """Methods by which labels with the same settings are there already."""
    if before is None:
        return []
    return [*by_formulas.kept_in(before, dissection.layers), *by_words.kept_in(before, dissection)]


def _wait(dissection: Any, labels: Any) -> bool:
    """Whether there are labels that an encoder can weigh."""
    from unitlens.labels.footing.by_encoder import waiting
    from unitlens.labels.footing.meanings import ConceptNames

    return labels is not None and bool(labels.methods) and bool(waiting(labels, ConceptNames.of(dissection)))


def _tell_kept(run: Path, methods: list[str]) -> None:
    echo(
        f"unitlens: {run} has labels by {', '.join(methods)} with these settings already, and keeps them; --overwrite "
        "makes them anew.",
        err=True,
    )


def _are_unmeasured(methods: list[str], labels: Any) -> bool:
    """Whether labels of units by some methods were not measured yet; those of ranges alone never are."""
    measured = set() if labels is None else {method for one in labels.agreement for method in (one.first, one.second)}
    return bool(set(methods) - measured - {"ranges"})


def _check_measured(unmeasured: bool, *, effects: bool, encoder: bool) -> None:
    """Make sure that labels that are not measured are not to be measured by something."""
    asked = "--effects" if effects else "--encoder" if encoder else ""
    if unmeasured and asked:
        raise UnitlensError(
            f"{asked} measures labels, and --unmeasured leaves that out: give one of them (labels that were not "
            f"measured can be measured later: `unitlens label RUN {asked}{' ENCODER' if encoder else ''}`)."
        )


def _check_there(run: Path, dissection: Any, asked: _Asked, before: Any, *, again: bool, weighed: bool) -> None:
    """Make sure that there are labels to be measured again, and to be weighed by an encoder that was named."""
    from unitlens.labels.footing.by_encoder import check_texts
    from unitlens.labels.footing.meanings import ConceptNames

    there = [one for one in (before, *asked.given) if one is not None and one.methods]
    if again and not there:
        raise UnitlensError(f"{run} has no labels to measure: name its units too, such as with --formulas 3.")
    if weighed and there and asked.measured:
        labels = there[0].joined(*there[1:])
        if again and not asked.effects and not _wait(dissection, labels):
            raise UnitlensError(
                f"No label in {run} waits for an encoder: all are concepts, or have evidence. --words names units by "
                "it, and --from FILE --overwrite weighs labels from elsewhere once more."
            )
        check_texts(labels, ConceptNames.of(dissection), asked.encoder)


def _given_by(dissection: Any, files: tuple[Path, ...]) -> Iterator[Any]:
    """Labels from elsewhere, each file a method."""
    from unitlens.labels.given.reading import given_labels

    methods = set[str]()
    for file in files:
        labels = given_labels(dissection, file)
        twice = next((method for method in labels.methods if method in methods), None)
        if twice is not None:
            raise UnitlensError(f"Two files have labels by {twice!r}, as files name their method: rename one of them.")
        methods |= set(labels.methods)
        yield labels


def _name_units(
    run: Path,
    dissection: Any,
    stored: Any,
    asked: _Asked,
    net: Any,
    data: Any,
    beside: tuple[Any, ...],
    *,
    overwrite: bool,
    overwrite_answers: bool,
    **passing: Any,
) -> None:
    """Name the units in all ways that were asked for, and write the labels, and what is beside them, into the run."""
    from unitlens.labels.by_words.naming import words_of
    from unitlens.labels.by_words.vectors import Sight
    from unitlens.labels.compositional.naming import formulas_of, ranges_of
    from unitlens.labels.files import read_labels
    from unitlens.labels.footing.measuring import measure_on, with_effects
    from unitlens.pages.writing import report

    quiet = passing.pop("quiet")
    made, sight = list(asked.given), None if asked.encoder is None else Sight(stored, asked.encoder, not quiet)
    if asked.formulas is not None:
        made.append(formulas_of(dissection, stored, asked.formulas, progress=not quiet))
    if asked.ranges is not None:
        made.append(ranges_of(dissection, stored, asked.ranges, progress=not quiet))
    if asked.words is not None and sight is not None:
        made.append(words_of(dissection, sight, asked.words, progress=not quiet))
    if asked.measured:
        there = read_labels(run, overwrite=overwrite, overwrite_answers=overwrite_answers)
        made = made if there is None or not there.methods else [replace(there, answers=None), *made]
    labels = made[0].joined(*made[1:])
    if asked.measured:
        labels = measure_on(dissection, labels, stored, sight=sight, progress=not quiet)
    if asked.effects:
        labels = with_effects(dissection, labels, stored, net, data, **passing)
    page = report(run, labels, *beside, overwrite=True)
    if not quiet:
        for line in _summary(dissection, labels):
            echo(line)
        echo(f"wrote {run}/: {page.name} to look at, labels.csv to compute with")


def _summary(dissection: Any, labels: Any) -> Iterator[str]:
    """What was found by each method, and what the user should know of it."""
    for method, record in labels.methods.items():
        rows = labels[method].rows
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in rows["verdict"].value_counts().items())
        yield f"{method}: {len(rows)} labels, {verdicts or 'none'}"
        yield from record.notes
    if _wait(dissection, labels):
        yield "Labels that are no concept can be weighed by images: `unitlens label RUN --encoder ENCODER`."


def _open_again(run: Path, dissection: Any, source: RunOptions, *, images: bool, network: bool) -> tuple[Any, Any]:
    """Open the network and the images of a run, as the command line says or as recorded.

    Both are None where the run has kept all that is needed: its activations and, where ``images`` count, those; but
    where the ``network`` itself is needed.
    """
    if not network and dissection.activations is not None and (dissection.settings.exemplars or not images):
        return None, None
    reopening = source.reopening(run, dissection)
    return reopening.open_network(trust=source.trust), reopening.open_data(trust=source.trust)
