"""`unitlens ablate`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.ablating.each_concept import ablate_each_concept
from unitlens.cli.ablating.replacements import replacement_of
from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.options import basis_option, fast_option, measuring_options, quiet_option
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import concepts_of_run, layers_of_run
from unitlens.cli.targets import Source, source_of
from unitlens.cli.text import align_columns, curve_table, format_cell, whole_numbers
from unitlens.errors import UnitlensError, first_twice
from unitlens.plurals import counted
from unitlens.processes import Processes, launched

ALL = None
"""In place of units: all of the layer."""


@command(first=("layers", "units", "concept", "class_", "each_concept", "top", "sweep", "value", "data", "out"))
@click.argument("target", metavar="RUN_OR_MODEL")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    shell_complete=layers_of_run,
    help="A layer; repeatable with --units. [the run's, or the network's default]",
)
@click.option(
    "--units",
    multiple=True,
    metavar="3,17|all",
    help="These units together; with several --layer, one --units for each.",
)
@click.option("--keep", is_flag=True, help="With --units: ablate all other units of the layer instead.")
@click.option(
    "--concept",
    metavar="NAME",
    shell_complete=concepts_of_run,
    help="The units of highest IoU with this concept (needs a run).",
)
@click.option("--class", "class_", metavar="NAME", help="The most important units for this class.")
@click.option(
    "--each-concept",
    is_flag=True,
    help="For every concept of a run, the unit of highest IoU with it (or --top N), in images that contain the "
    "concept; for `unitlens compare`.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    help="How many units --concept, --class or --each-concept takes. [20; of --each-concept 1]",
)
@click.option(
    "--keep-only",
    type=click.IntRange(0),
    metavar="N",
    help="With --concept or --class: ablate all units but the N first.",
)
@click.option("--sweep", is_flag=True, help="Every unit, one at a time; can be combined with the above.")
@click.option(
    "--attributions/--no-attributions",
    help="With --sweep or --class: compare with captum's gradient attributions, on 64 images (50 passes each). [no]",
)
@click.option(
    "--value",
    default="0",
    show_default=True,
    metavar="V",
    help="Set units to a number, their mean, a quantile such as q0.99, or resample them from other images.",
)
@click.option("--scale", type=float, metavar="F", help="Multiply units by this instead of setting them to a value.")
@click.option(
    "--where",
    type=click.Choice(["class", "patches"]),
    help="Of tokens: only at the class token, or only at the patches. [everywhere]",
)
@basis_option
@class_options
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="M",
    help="What is measured; repeatable. [recall, balanced_accuracy]",
)
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    metavar="NAME",
    help="In place of measures of classes, another outcome; repeatable: area:CLASS, iou:CLASS (segmentation), "
    "best_box:CLASS, boxes (detection), output:K, distance, similarity:FILE, zero_shot:FILE. Images need no class.",
)
@click.option(
    "--draws",
    type=click.IntRange(0),
    default=None,
    metavar="N",
    help="How many random and how many matched sets are drawn for comparison. [199; 39 for each size of a curve, and "
    "where 199 would take more than 10 passes an image]",
)
@measuring_options
@fast_option
@quiet_option
def ablate(target: str, **options: Any) -> None:
    """Ablate units of a layer, and measure the effect on the predictions, or on another outcome.

    RUN_OR_MODEL is the folder of a run, whose network, preprocessing and images are used and to which the effects are
    added; or a network, named as for `unitlens dissect`: a file or package that is named is run.
    """
    with launched() as processes:
        _ablate(target, options | {"quiet": options["quiet"] or not processes.first}, processes)


def _ablate(target: str, options: dict[str, Any], processes: Processes) -> None:
    from unitlens.ablation.files import AGREEMENT
    from unitlens.ablation.files import FILES as EFFECTS
    from unitlens.ablation.outcomes.files import FILES as OUTCOMES
    from unitlens.ablation.outcomes.named import image_outcomes
    from unitlens.models.layers import find_layers

    if options["each_concept"]:
        ablate_each_concept(target, options, processes)
        return
    beginning, selection = begin(target), _Selection.of(options)
    outcomes = image_outcomes(options["outcomes"]) if options["outcomes"] else []
    replacement = replacement_of(options["value"], options["scale"], options["where"])
    source = source_of(target, options)
    source.net.model.eval()  # it was loaded here; a network's training mode is of interest where a person set it
    find_layers(source.net.model, source.layers)  # errors name them as they were given
    classes = GivenClasses.of(options)
    own = classes.way is None  # else they are classes that the run does not know
    out = options["out"] or (Path(target) if source.dissection is not None and own else Path("run"))
    what, files = ("outcomes", OUTCOMES) if outcomes else ("effects", (*EFFECTS, AGREEMENT))

    def measure(answer: Answer) -> None:
        experiment = _experiment(source, classes, replacement, out, options)
        if outcomes:
            _measure_outcomes(answer, experiment, selection, source, outcomes, out, options, processes)
        else:
            _measure_effects(answer, experiment, selection, source, out, options, processes)

    asked = Asked(
        beginning=beginning,
        target=target,
        source=source,
        out=out,
        what=what,
        files=files,
        processes=processes,
        further=classes.images,
        packages=("captum",) if options["attributions"] else (),
    )
    keep_or_measure(asked, measure)


def _experiment(source: Source, classes: GivenClasses, replacement: Any, out: Path, options: dict[str, Any]) -> Any:
    """What is measured on: the network with the classes that it is given, whose effects have a place in the folder."""
    from unitlens.ablation.experiment import Experiment
    from unitlens.ablation.outcomes.measures import DEFAULT_MEASURES
    from unitlens.models.units.zero_shot import layer_behind
    from unitlens.pages.fitting import check_effects_fit, check_outcomes_fit, check_units

    layers, sha256 = source.layers, source.sha256
    net = classes.given_to(source.net, quiet=options["quiet"])
    if classes.way is not None:
        layers, sha256 = tuple(map(layer_behind, layers)), net.fingerprint()
    check_fit = check_outcomes_fit if options["outcomes"] else check_effects_fit
    check_fit(out, sha256, overwrite=options["overwrite"])
    check_units(out, source.basis)
    experiment = Experiment.of(
        net,
        layers,
        source.data,
        replacement=replacement,
        measures=options["measures"] or DEFAULT_MEASURES,
        reading=source.reading(options),
        seed=source.seed,
        groups=options["groups"],
        fast=options["fast"] or False,
        basis=source.basis,
    )
    return dataclasses.replace(experiment, means=source.known_means(), described=source.opened)


def _measure_effects(
    answer: Answer,
    experiment: Any,
    selection: "_Selection",
    source: Source,
    out: Path,
    options: dict[str, Any],
    processes: Processes,
) -> None:
    """Measure effects on predictions, save them, and print the largest."""
    from unitlens.ablation.attribution import measure_agreement
    from unitlens.ablation.files import SavedEffects
    from unitlens.ablation.work.running import keeping_in_run
    from unitlens.pages.writing import add_effects

    with keeping_in_run(out, processes, replace=options["overwrite"]) as kept:
        experiment = dataclasses.replace(experiment, kept=kept)
        # before the sweep: where captum cannot attribute to the layer, that is known at once
        agreement = measure_agreement(experiment) if options["attributions"] else None
        results = _measure(experiment, selection, source, draws=options["draws"])
        with kept.refusable():
            source.check_images(results[0].info)
        saved = SavedEffects(results, click.get_current_context().obj)
        if processes.first:
            page = add_effects(out, saved, agreement=agreement, overwrite=options["overwrite"])
            answer.say(_summarize(saved))
            answer.say_written(f"{out}/: {page.name} to look at, effects.csv to compute with")


class _Selection(NamedTuple):
    """Which units are ablated."""

    units: tuple[tuple[int, ...] | None, ...]
    concept: str | None
    class_: str | None
    top: int
    keep: bool
    sweep: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> "_Selection":
        """Read the options, which must name one choice of units."""
        named = [name for name in ("units", "concept", "class_") if options[name] not in (None, ())]
        ways = "--units 3,17, --concept NAME, --class NAME (with --top N or --keep-only N)"
        if len(named) > 1:
            given = " and ".join("--" + name.rstrip("_") for name in named)
            raise UnitlensError(f"{given} both choose units: give one of {ways}.")
        if not named and not options["sweep"]:
            raise UnitlensError(f"No units were chosen: give one of {ways}, or --sweep for every unit.")
        if options["attributions"] and not (options["sweep"] or named == ["class_"]):
            raise UnitlensError("--attributions are compared with the effects of every unit alone: add --sweep.")
        top, kept, keep = options["top"], options["keep_only"], options["keep"]
        if (top is not None or kept is not None) and named not in (["concept"], ["class_"]):
            raise UnitlensError(
                "--top and --keep-only take the first of a ranking: add --class NAME or --concept NAME "
                "(units that are given are kept with --units 3,17 --keep)."
            )
        if top is not None and kept is not None:
            raise UnitlensError("--top removes units and --keep-only keeps them: give one of the two.")
        if kept == 0:
            raise UnitlensError("--keep-only 0 leaves nothing of the layer: keep 1 unit or more.")
        if keep and named != ["units"]:
            raise UnitlensError("--keep keeps the units of --units: with --class or --concept say --keep-only N.")
        if max(len(options["layers"]), len(options["units"])) > 1:
            _check_several(options["layers"], options["units"], sweep=options["sweep"])
        _check_outcomes(options)
        units = tuple(ALL if given == "all" else whole_numbers(given) for given in options["units"])
        keep = keep or kept is not None
        return cls(units, options["concept"], options["class_"], top or kept or 20, keep, options["sweep"])


def _check_outcomes(options: dict[str, Any]) -> None:
    """Make sure that outcomes are not asked for beside what is measured of classes."""
    for name, given in (("class", options["class_"]), ("measure", options["measures"]), ("attributions", None)):
        if options["outcomes"] and (given or options.get(name)):
            raise UnitlensError(
                f"--{name} is of classes, and --outcome of anything else: choose units for an outcome with --units, "
                "--concept or --sweep, and measure classes with another `unitlens ablate`."
            )


def _check_several(layers: Sequence[str], units: Sequence[str], *, sweep: bool) -> None:
    """Make sure that each of several layers has its units."""
    if sweep:
        raise UnitlensError("--sweep goes through the units of one layer: give one --layer.")
    twice = first_twice(layers)
    if twice is not None:
        raise UnitlensError(f"--layer {twice} is given twice: join its units by commas, such as --units 3,17.")
    if len(layers) != len(units):
        raise UnitlensError(
            f"{len(layers)} --layer and {len(units)} --units were given: each of several layers takes its own, such as "
            "--layer layer3 --units 1,2 --layer layer4 --units 5."
        )


def _measure(experiment: Any, selection: _Selection, source: Source, *, draws: int | None) -> tuple[Any, ...]:
    """The results to save, of which the first is that of a chosen set if there is one."""
    if selection.class_ is not None:
        return _measure_class(experiment, selection.class_, selection, draws=draws)
    of_units = experiment.unit_effects() if selection.sweep else None
    if not selection.units and selection.concept is None:
        return (of_units,)
    ablated = _ablated(experiment, selection, source)
    if of_units is None:
        return (experiment.set_effects(ablated, draws),)
    return experiment.set_effects(ablated, draws), of_units


def _ablated(experiment: Any, selection: _Selection, source: Source) -> Any:
    """The units of each layer that are given, or those of a concept."""
    from unitlens.ablation.units import chosen_units

    units: Sequence[Sequence[int] | None] = selection.units
    if selection.concept is not None:
        units = [source.dissection[source.layers[0]].units_for(selection.concept, selection.top)]
    counts = [experiment.unit_count(layer) for layer in experiment.layers]
    source.check_units(dict(zip(experiment.layers, counts, strict=True)))
    return tuple(
        chosen_units(range(count) if of_layer is ALL else of_layer, layer, count, keep=selection.keep)
        for of_layer, layer, count in zip(units, experiment.layers, counts, strict=True)
    )


def _measure_outcomes(
    answer: Answer,
    experiment: Any,
    selection: _Selection,
    source: Source,
    outcomes: Any,
    out: Path,
    options: dict[str, Any],
    processes: Processes,
) -> None:
    """Measure outcomes, save them, and print the largest effects."""
    from unitlens.ablation.outcomes.effects import set_outcomes, unit_outcomes
    from unitlens.ablation.outcomes.files import SavedOutcomes
    from unitlens.ablation.work.running import keeping_in_run
    from unitlens.pages.writing import add_outcomes

    results = []
    with keeping_in_run(out, processes, replace=options["overwrite"]) as kept:
        experiment = dataclasses.replace(experiment, kept=kept)
        if selection.units or selection.concept is not None:
            ablated = _ablated(experiment, selection, source)
            results.append(set_outcomes(experiment, outcomes, ablated, draws=options["draws"]))
        if selection.sweep:
            results.append(unit_outcomes(experiment, outcomes))
        with kept.refusable():
            source.check_images(results[0].info)
        saved = SavedOutcomes(tuple(results), click.get_current_context().obj)
        if processes.first:
            page = add_outcomes(out, saved, overwrite=options["overwrite"])
            answer.say("\n".join(map(_outcome_lines, results)))
            answer.say_written(f"{out}/: {page.name} to look at, outcomes.csv to compute with")


def _outcome_lines(result: Any) -> str:
    """What a set does to each outcome; of every unit alone, the largest effects on each."""
    table = result.table()
    table["size"] = table["effect"].abs()
    table = table.sort_values("size", ascending=False, kind="stable").groupby("outcome", sort=False).head(5)
    table = table.sort_values("outcome", key=lambda names: names.map(result.outcomes.index), kind="stable")
    columns = ["outcome", *(["units"] if result.handed is not None else []), "before", "after", "effect", "low", "high"]
    columns += ["q_value", "random_mean", "matched_mean"]
    cells = [tuple(format_cell(value)[:40] for value in row) for row in table[columns].itertuples(index=False)]
    head = f"{result.describe()}, {result.settings.ablation}{result.remarks()}; {counted(result.images, 'image')}"
    return f"{head}\n{align_columns([tuple(columns), *cells])}"


def _measure_class(experiment: Any, class_: str, selection: _Selection, *, draws: int | None) -> tuple[Any, ...]:
    """The most important units of a class: ablated, or kept alone; and the curve."""
    from unitlens.ablation.curves import Draws, curves_of, doubling
    from unitlens.ablation.random_sets import FEW_DRAWS

    plan = Draws(doubling(selection.top), FEW_DRAWS if draws is None else draws)
    (curve,) = curves_of(experiment, [class_], plan)
    chosen = curve.chosen("kept" if selection.keep else "most", selection.top)
    if selection.keep:
        chosen = experiment.set_effects((chosen.units,), draws, folds="odd", ranked="even")
    return (chosen, curve.ranking, curve) if selection.sweep else (chosen, curve)


def _summarize(saved: Any) -> str:
    """The largest effects, in a few lines."""
    lines = [curve_table(curve) for curve in saved.curves]
    classes = tuple(curve.class_ for curve in saved.curves)
    for effects in saved.sets:
        lines += _set_lines(effects, classes)
    if saved.units is not None and not saved.curves:
        lines.append(_rows(saved.units.table(), most=10))
    return "\n".join(lines)


def _set_lines(effects: Any, classes: Sequence[str]) -> list[str]:
    """What one set does, beside the sets that were drawn: to all classes, to those that are named, and to others."""
    table = effects.table().drop(columns="units")
    for kind in effects.drawn:
        rows = effects.random_sets().query("kind == @kind").set_index(["class", "measure"])
        drawn = (rows.loc[key] for key in zip(table["class"], table["measure"], strict=True))
        table[kind] = [f"{row['mean']:.3g} ({row['low']:.3g} to {row['high']:.3g})" for row in drawn]
    table["named"] = table["class"].isin(["*", *classes])
    return [f"{_name_units(effects)}: {effects.settings.ablation}{effects.remarks()}", _rows(table, most=10)]


def _name_units(effects: Any) -> str:
    """The units of a set, in a few words; of more than half of a layer, those that are left."""
    units, every = effects.units, range(len(effects.measured.peaks))
    in_one_layer = len(effects.settings.layers) == 1
    kept = [unit for unit in every if unit not in set(units)] if in_one_layer and len(every) < 2 * len(units) else []
    names = [str(unit) for unit in kept or units]
    named = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    what = "all units but" if kept else "unit" if len(units) == 1 else "units"
    return f"{effects.layer}, {what} {named}" if in_one_layer else f"{what} {named}"


def _rows(table: Any, *, most: int) -> str:
    """The largest effects, after the rows that are named."""
    by = ["named"] if "named" in table else []
    table = table.assign(size=table["effect"].abs()).sort_values([*by, "size"], ascending=False, kind="stable")
    if not (table["size"] > 0).any():
        return "Nothing changes."
    rows = table[(table["size"] > 0) | (table["class"] == "*")].head(most)
    rows = rows.drop(columns=["layer", "images", "size", *by])
    cells = [tuple(format_cell(value)[:40] for value in row) for row in rows.itertuples(index=False)]
    return align_columns([tuple(rows.columns), *cells])
