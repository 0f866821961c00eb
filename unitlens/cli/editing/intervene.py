"""`unitlens intervene`."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from unitlens.cli.editing.recipes import draw_recipe
from unitlens.cli.editing.selection import DEFAULT_UNITS, Selection
from unitlens.cli.editing.summaries import summarize_intervention
from unitlens.cli.options import basis_option, fast_option, measuring_options, quiet_option
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source, source_of
from unitlens.errors import UnitlensError
from unitlens.plurals import counted
from unitlens.processes import Processes, launched


@command(first=("concepts_of", "remove", "insert", "units", "at", "level", "data", "limit", "out"))
@click.argument("target", metavar="RUN_OR_MODEL")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="The layer; repeatable, for one after the other. [the run's, or the network's default]",
)
@click.option("--units", metavar="3,17", help="These units together.")
@click.option(
    "--concept",
    "concepts_of",
    multiple=True,
    metavar="NAME",
    help="The units of highest IoU with this concept (needs a run); repeatable, for a set of each.",
)
@click.option(
    "--remove",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=DEFAULT_UNITS,
    metavar="[N]",
    help="Set the units to 0; with --concept the first N. [20]",
)
@click.option(
    "--insert",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=DEFAULT_UNITS,
    metavar="[N]",
    help="Set the units to --level; with --concept the first N. [20]",
)
@click.option("--at", multiple=True, metavar="X,Y", help="Only at this column and row of the layer's grid; repeatable.")
@click.option("--everywhere", is_flag=True, help="At all positions of the layer's grid, which is the default.")
@click.option(
    "--map", "every_place", is_flag=True, help="With --concept: also insert at every place of the grid, one at a time."
)
@click.option(
    "--place", type=click.IntRange(1), metavar="N", help="For --map: a place is N x N positions of the grid. [1]"
)
@click.option(
    "--level",
    default=None,
    metavar="L",
    help="What inserted units are set to: threshold (the run's), a quantile such as q0.99, a number, or resample "
    "(their activations in another image). [threshold; without a run q0.99]",
)
@click.option("--sweep", is_flag=True, help="Every unit, one at a time: average causal effects on every concept.")
@click.option(
    "--set",
    "methods",
    type=click.Choice(["iou", "greedy", "optimise"]),
    multiple=True,
    help="With --concept: the smallest set of units that removes most of it; repeatable.",
)
@click.option("--most", type=click.IntRange(1), metavar="N", help="For --set: so many units at most. [20]")
@click.option(
    "--target",
    "share",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="For --set: the share of the concept that is to go. [0.5]",
)
@click.option("--detectors", is_flag=True, help="With --concept: does the peak of a unit tell whether it is drawn?")
@click.option(
    "--draws",
    type=click.IntRange(0),
    metavar="N",
    help="How many random and how many matched sets are drawn for comparison. [39; at each place of --map 1 random]",
)
@click.option(
    "--examples",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    metavar="N",
    help="Images to look at, for each set.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the image of a recipe that was downloaded from the page of `unitlens open`, and measure nothing.",
)
@basis_option
@measuring_options
@fast_option
@quiet_option
def intervene(target: str, **options: Any) -> None:
    """Remove units from, or insert them into, what a generator draws, and measure the areas of all concepts.

    RUN_OR_MODEL is the folder of a run, whose network, latents and concept sources are used and to which the results
    are added; or a generator, named as for `unitlens dissect`: a file or package that is named is run.
    """
    if options["recipe"] is not None:
        draw_recipe(target, options)
        return
    with launched() as processes:
        _intervene(target, options | {"quiet": options["quiet"] or not processes.first}, processes)


def _intervene(target: str, options: dict[str, Any], processes: Processes) -> None:
    from unitlens.editing.saving.files import FILES
    from unitlens.pages.fitting import check_interventions_fit, check_units

    beginning, selection = begin(target), Selection.of(options)
    # without a run, a concept can be measured, but no units be chosen for it
    source = source_of(target, {**options, "concept": selection.ranked_by_iou or None})
    layers = tuple(dict.fromkeys(source.layers))
    if len(layers) > 1 and selection.units is not None:
        raise UnitlensError(f"--units are those of one layer, and --layer names {len(layers)}: name one of them.")
    out = options["out"] or (Path(target) if source.dissection is not None else Path("run"))

    def measure(answer: Answer) -> None:
        check_interventions_fit(out, source.sha256, overwrite=options["overwrite"])
        check_units(out, source.basis)
        experiments = _experiments(layers, selection, source, options)
        _measure_all(answer, experiments, selection, source, out, options, processes)

    asked = Asked(
        beginning=beginning,
        target=target,
        source=source,
        out=out,
        what="interventions",
        files=FILES,
        processes=processes,
    )
    keep_or_measure(asked, measure)


def _experiments(layers: tuple[str, ...], selection: Selection, source: Source, options: dict[str, Any]) -> list[Any]:
    """What each layer's units are changed in."""
    from unitlens.editing.experiment import AreaExperiment, unit_positions

    experiments = [
        AreaExperiment.of(
            source.net,
            layer,
            source.data,
            None,
            reading=source.reading(options),
            groups=options["groups"],
            fast=options["fast"] or False,
            basis=source.basis,
        )
        for layer in layers
    ]
    for experiment in experiments:
        unit_positions(selection.where, experiment.grid(), experiment.layer)  # an error now, not after a long pass
    return experiments


def _measure_all(
    answer: Answer,
    experiments: list[Any],
    selection: Selection,
    source: Source,
    out: Path,
    options: dict[str, Any],
    processes: Processes,
) -> None:
    """Measure what was asked for of each layer, save it, and print it."""
    from unitlens.ablation.work.running import keeping_in_run
    from unitlens.editing.saving.files import SavedInterventions
    from unitlens.pages.writing import add_interventions

    with keeping_in_run(out, processes, replace=options["overwrite"]) as kept:
        results = [
            result
            for experiment in experiments
            for result in _measure(dataclasses.replace(experiment, opened=source.opened, kept=kept), selection, source)
        ]
        if not options["concepts"]:  # other sources mark other things than the run's hash is of
            with kept.refusable():
                source.check_images(results[0].info)
        command = click.get_current_context().obj
        saved = SavedInterventions.of(results, dissection=source.dissection, command=command)
        if processes.first:
            page = add_interventions(out, saved, overwrite=options["overwrite"])
            answer.say("\n".join(map(summarize_intervention, results)))
            answer.say_written(f"{out}/: {page.name} to look at, {', '.join(saved.tables())} to compute with")


def _measure(experiment: Any, selection: Selection, source: Source) -> list[Any]:
    """All that was asked for."""
    from unitlens.editing.causal import sweep_units

    results = list[Any]()
    level, words = _level(selection.level, source, experiment.layer)
    where = selection.where
    for concept in selection.concepts:
        experiment.drawn.index_of(concept)  # an error now, not after a long pass
    for count, value, said in ((selection.remove, 0.0, None), (selection.insert, level, words)):
        if count:
            results += _measure_sets(experiment, selection, source, count, value, where, _change(said, where))
    results += _measure_concepts(experiment, selection, source, level, words)
    if selection.sweep:
        results.append(sweep_units(experiment, insert=level, where=where, inserted_at=_change(words, where)))
    return results


def _measure_sets(
    experiment: Any, selection: Selection, source: Source, count: int, value: Any, where: Any, change: str | None
) -> list[Any]:
    """The units that are given, or those of each concept, removed or inserted."""
    from unitlens.editing.set_areas import DRAWS, measure_set

    return [
        measure_set(
            experiment,
            experiment.units(units),
            value=value,
            where=where,
            draws=DRAWS if selection.draws is None else selection.draws,
            chosen_for=concept,
            change=change,
            examples=selection.examples,
        )
        for concept, units in selection.chosen(source, experiment.layer, count)
    ]


def _measure_concepts(
    experiment: Any, selection: Selection, source: Source, level: Any, words: str | None
) -> list[Any]:
    """What is measured of each concept: sets that remove most of it, detectors, insertions at every place."""
    from unitlens.editing.concept_sets import MOST, TARGET, find_set
    from unitlens.editing.detectors import detect_drawn
    from unitlens.editing.insertions import DRAWS as PLACE_DRAWS
    from unitlens.editing.insertions import map_insertions

    results = list[Any]()
    for concept in selection.concepts:
        results += [
            find_set(
                experiment,
                concept,
                method=method,  # type: ignore[arg-type]
                dissection=source.dissection,
                most=selection.most or MOST,
                target=selection.target or TARGET,
                insert=level,
            )
            for method in selection.methods
        ]
        if selection.detectors:
            results.append(detect_drawn(experiment, concept))
    if selection.every_place:
        count = selection.insert or selection.remove
        results += [
            map_insertions(
                experiment,
                experiment.units(units),
                str(concept),
                value=level,
                size=selection.place,
                draws=PLACE_DRAWS if selection.draws is None else selection.draws,
                change=words,
            )
            for concept, units in selection.chosen(source, experiment.layer, count)
        ]
    return results


def _level(level: str | None, source: Source, layer: str) -> tuple[Any, str | None]:
    """What inserted units are set to, and how that is said where the value does not say it."""
    import torch

    from unitlens.ablation.interventions import quantile_of
    from unitlens.editing.experiment import THRESHOLD

    if level is None and source.dissection is None:
        return THRESHOLD, None
    if level in (None, "threshold"):
        if source.dissection is None:
            raise UnitlensError("--level threshold takes the units' thresholds of a run: give a run, or q0.99.")
        thresholds = source.dissection[layer].table()["threshold"].to_numpy("float32")
        source.check_units({layer: len(thresholds)})
        return torch.from_numpy(thresholds), "set to their thresholds"
    if level == "resample" or quantile_of(level):
        return level, None
    try:
        return float(str(level)), None
    except ValueError:
        raise UnitlensError(
            f"--level is {level!r}; units are inserted at their threshold, a quantile such as q0.99, a number, or "
            "resample."
        ) from None


def _change(words: str | None, where: Any) -> str | None:
    return words if words is None or where is None else f"{words} at {counted(len(where), 'position')}"
