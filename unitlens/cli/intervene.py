"""`unitlens intervene`."""

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.opening import set_threads
from unitlens.cli.options import fast_option, measuring_options, quiet_option
from unitlens.cli.targets import Source, network_of, source_of
from unitlens.cli.text import align_columns, echo, format_cell, whole_numbers
from unitlens.errors import UnitlensError, is_number
from unitlens.files import another_or_overwrite, make_folder, write_whole
from unitlens.processes import Processes, launched

DEFAULT_UNITS = 20


@click.command()
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
@measuring_options
@fast_option
@quiet_option
def intervene(target: str, **options: Any) -> None:
    """Remove units from, or insert them into, what a generator draws, and measure the areas of all concepts.

    RUN_OR_MODEL is the folder of a run, whose network, latents and concept sources are used and to which the results
    are added; or a generator, named as for `unitlens dissect`.
    """
    if options["recipe"] is not None:
        _draw_recipe(target, options)
        return
    with launched() as processes:
        _intervene(target, options | {"quiet": options["quiet"] or not processes.first}, processes)


def _intervene(target: str, options: dict[str, Any], processes: Processes) -> None:
    from unitlens.ablation.work.running import keeping_in_run
    from unitlens.editing.experiment import AreaExperiment, unit_positions
    from unitlens.editing.saving.files import SavedInterventions
    from unitlens.pages.writing import add_interventions, check_interventions_fit

    selection = _Selection.of(options)
    # without a run, a concept can be measured, but no units be chosen for it
    source = source_of(target, {**options, "concept": selection.ranked_by_iou or None})
    layers = tuple(dict.fromkeys(source.layers))
    if len(layers) > 1 and selection.units is not None:
        raise UnitlensError(f"--units are those of one layer, and --layer names {len(layers)}: name one of them.")
    out = options["out"] or (Path(target) if source.dissection is not None else Path("run"))
    check_interventions_fit(out, source.sha256, overwrite=options["overwrite"])
    set_threads(options["threads"])
    experiments = [
        AreaExperiment.of(
            source.net,
            layer,
            source.data,
            None,
            reading=source.reading(options),
            groups=options["groups"],
            fast=options["fast"] or False,
        )
        for layer in layers
    ]
    for experiment in experiments:
        unit_positions(selection.where, experiment.grid(), experiment.layer)  # an error now, not after a long pass
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
    if not options["quiet"]:
        echo("\n".join(map(summarize_intervention, results)))
        echo(f"wrote {out}/: {page.name} to look at, {', '.join(saved.tables())} to compute with")


def _draw_recipe(target: str, options: dict[str, Any]) -> None:
    """Draw the image of a recipe again, and write it beside the file, or into the folder that is named."""
    from PIL import Image

    from unitlens.editing.painting.recipe import open_recipe

    chosen = [option for option, given in _ways(options).items() if given]
    if chosen:
        raise UnitlensError(f"--recipe says itself what is done to which units: leave {' and '.join(chosen)} out.")
    recipe, file = open_recipe(options["recipe"]), options["recipe"]
    folder = file.parent if options["out"] is None else make_folder(options["out"])
    images = {name: folder / f"{file.stem}.{name}.png" for name in ("before", "after")}
    there = next((path for path in images.values() if path.exists()), None)
    if there is not None and not options["overwrite"]:
        raise UnitlensError(f"{there} is there already: give {another_or_overwrite()}.")
    set_threads(options["threads"])
    edited = recipe.draw(network_of(target, options))
    for name, image in (("before", edited.before[0]), ("after", edited.after[0])):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        write_whole(images[name], buffer.getvalue())
    if not options["quiet"]:
        echo(f"{len(recipe.edits)} edits; the numbers of the image moved by {edited.distance[0]:.1%} of their range")
        echo(f"wrote {images['before']} and {images['after']}")


def _ways(options: dict[str, Any]) -> dict[str, bool]:
    """The options that say what is done to which units, and whether they were given."""
    names = ("layers", "units", "concepts_of", "remove", "insert", "at", "everywhere", "every_place", "level", "sweep")
    spelled = {"layers": "--layer", "concepts_of": "--concept", "every_place": "--map", "methods": "--set"}
    return {
        spelled.get(name, f"--{name}"): options[name] not in (None, (), False)
        for name in (*names, "methods", "detectors")
    }


class _Selection(NamedTuple):
    """What is measured."""

    units: tuple[int, ...] | None
    concepts: tuple[str, ...]
    remove: int | None
    insert: int | None
    at: tuple[tuple[int, int], ...]
    every_place: bool
    place: int
    level: str | None
    sweep: bool
    methods: tuple[str, ...]
    most: int | None
    target: float | None
    detectors: bool
    draws: int | None
    examples: int

    @classmethod
    def of(cls, options: dict[str, Any]) -> "_Selection":
        """Read the options."""
        units, concepts, remove, insert = (options[name] for name in ("units", "concepts_of", "remove", "insert"))
        every_place, methods, detectors = options["every_place"], options["methods"], options["detectors"]
        _check_options(options)
        if (units or concepts) and not (remove or insert or every_place or methods or detectors):
            remove = DEFAULT_UNITS
        return cls(
            units=None if units is None else whole_numbers(units),
            concepts=tuple(dict.fromkeys(concepts)),
            remove=remove,
            insert=insert,
            at=tuple(map(_position, options["at"])),
            every_place=every_place,
            place=options["place"] or 1,
            level=options["level"],
            sweep=options["sweep"],
            methods=tuple(dict.fromkeys(methods)),
            most=options["most"],
            target=options["share"],
            detectors=detectors,
            draws=options["draws"],
            examples=options["examples"],
        )

    @property
    def ranked_by_iou(self) -> bool:
        """Whether units are chosen by their IoU in a run."""
        by_iou = self.remove or self.insert or self.every_place or "iou" in self.methods
        return bool(self.concepts) and bool(by_iou)

    @property
    def where(self) -> list[tuple[int, int]] | None:
        """The positions (row, column) at which units are replaced; None: everywhere."""
        return [(row, column) for column, row in self.at] or None

    def chosen(self, source: Source, layer: str, count: int | None) -> list[tuple[str | None, Any]]:
        """The units that are given, or for each concept its first ones."""
        if self.units is not None:
            return [(None, self.units)]
        of_layer = source.dissection[layer]
        return [(concept, of_layer.units_for(concept, count or DEFAULT_UNITS)) for concept in self.concepts]


def _check_options(options: dict[str, Any]) -> None:
    """Make sure that options go together."""
    ways = "--concept NAME --remove N, --concept NAME --insert N, --units 3,17 --remove, or --sweep"
    units, concepts = options["units"], options["concepts_of"]
    if units is not None and concepts:
        raise UnitlensError(f"--units and --concept both choose units: give one of {ways}.")
    if units is None and not concepts and not options["sweep"]:
        raise UnitlensError(f"No units were chosen: give {ways}.")
    if (options["remove"] or options["insert"] or options["every_place"]) and units is None and not concepts:
        raise UnitlensError("--remove, --insert and --map need units: add --concept NAME or --units 3,17.")
    for option, given in (
        ("--map", options["every_place"]),
        ("--set", options["methods"]),
        ("--detectors", options["detectors"]),
    ):
        if given and not concepts:
            raise UnitlensError(f"{option} is about a concept: name it with --concept NAME.")
    if options["at"] and options["everywhere"]:
        raise UnitlensError("--at names positions, and --everywhere means all of them: give one of the two.")
    if options["place"] is not None and not options["every_place"]:
        raise UnitlensError("--place is the size of the places of --map: add it.")
    inserted = options["insert"] or options["every_place"] or options["sweep"] or options["methods"]
    if options["level"] is not None and not inserted:
        raise UnitlensError("--level is what inserted units are set to: add --insert, --map or --sweep.")
    for option, value in (("--most", options["most"]), ("--target", options["share"])):
        if value is not None and not options["methods"]:
            raise UnitlensError(f"{option} is for --set: add --set greedy.")


def _measure(experiment: Any, selection: _Selection, source: Source) -> list[Any]:
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
    experiment: Any, selection: _Selection, source: Source, count: int, value: Any, where: Any, change: str | None
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
    experiment: Any, selection: _Selection, source: Source, level: Any, words: str | None
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
    return words if words is None or where is None else f"{words} at {len(where)} positions"


def _position(text: str) -> tuple[int, int]:
    """A column and a row."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(map(is_number, parts)):
        raise UnitlensError(f"--at is {text!r}; a position is a column and a row of the layer's grid, such as 3,5.")
    return int(parts[0]), int(parts[1])


def summarize_intervention(result: Any) -> str:
    """Return one result in a few lines."""
    from unitlens.editing.causal_result import CausalEffects
    from unitlens.editing.concept_set_result import ConceptSet
    from unitlens.editing.detector_result import DrawnDetectors
    from unitlens.editing.insertion_result import InsertionMap

    table = result.table().dropna(axis=1, how="all")
    if isinstance(result, CausalEffects):
        order = table["average_causal_effect"].abs().sort_values(ascending=False, kind="stable").index
        table = table.reindex(order)
        columns = ["unit", "concept", "removed", "inserted", "average_causal_effect", "low", "high", "q_value"]
        return _rows(repr(result), table, [*columns, "random_mean", "segmenter_iou"])
    if isinstance(result, ConceptSet):
        return _rows(repr(result), table, ["units", "added", "chosen_on", "removed", "low", "high", "others_lost"])
    if isinstance(result, DrawnDetectors):
        return _rows(repr(result), table, ["unit", "level", "balanced_accuracy", "low", "high", "chosen_on"])
    if isinstance(result, InsertionMap):
        return _rows(repr(result), table, ["before", "places", "appeared", "low", "high", "random_appeared", "area"])
    if "removed" in table:
        table = table.assign(removed=table["removed"].where(table["removed"] >= 0))  # of what grew, nothing is gone
    of_set = ["concept", "before", "after", "effect", "low", "high", "q_value", "random_mean", "matched_mean"]
    return _rows(repr(result), table, [*of_set, "removed", "segmenter_iou"])


def _rows(title: str, table: Any, columns: Sequence[str], most: int = 10) -> str:
    """The first rows, with those of the columns that are there."""
    table = table[[name for name in columns if name in table]]
    cells = [tuple(format_cell(value)[:40] for value in row) for row in table.head(most).itertuples(index=False)]
    return f"{title[1:-1]}\n{align_columns([tuple(map(str, table.columns)), *cells])}"
