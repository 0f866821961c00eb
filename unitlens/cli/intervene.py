"""`unitlens intervene`."""

from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.opening import set_threads, worker_count
from unitlens.cli.options import (
    image_options,
    network_options,
    quiet_option,
    run_groups_option,
    source_options,
    trust_options,
)
from unitlens.cli.targets import Source, source_of
from unitlens.cli.text import align_columns, echo, format_cell
from unitlens.errors import UnitlensError

DEFAULT_UNITS = 20


@click.command()
@click.argument("target", metavar="RUN_OR_MODEL")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="The layer. [the run's, or the network's default]"
)
@click.option("--units", metavar="3,17", help="These units together.")
@click.option("--concept", metavar="NAME", help="The units of highest IoU with this concept (needs a run).")
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
    "--draws",
    type=click.IntRange(0),
    metavar="N",
    help="How many random and how many matched sets are drawn for comparison. [39]",
)
@click.option(
    "--examples",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    metavar="N",
    help="Images to look at, for each set.",
)
@run_groups_option
@image_options
@source_options
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="RUN", help="Folder for the results. [the run itself, or run]"
)
@click.option("--overwrite", is_flag=True, help="Replace existing interventions.")
@network_options
@trust_options
@quiet_option
def intervene(target: str, **options: Any) -> None:
    """Remove units from, or insert them into, what a generator draws, and measure the areas of all concepts.

    RUN_OR_MODEL is the folder of a run, whose network, latents and concept sources are used and to which the results
    are added; or a generator, named as for `unitlens dissect`.
    """
    from unitlens.data.reading import Reading
    from unitlens.editing.experiment import AreaExperiment
    from unitlens.editing.files import SavedInterventions
    from unitlens.pages.writing import add_interventions, check_interventions_fit

    selection = _Selection.of(options)
    source = source_of(target, options)
    if len(source.layers) != 1:
        raise UnitlensError(f"--layer names {len(source.layers)} layers: interventions take one at a time.")
    out = options["out"] or (Path(target) if source.dissection is not None else Path("run"))
    check_interventions_fit(out, source.sha256, overwrite=options["overwrite"])
    set_threads(options["threads"])
    reading = Reading(
        batch_size=options["batch_size"],
        workers=worker_count(options["workers"]),
        limit=source.limit,
        seed=source.seed,
        strict=options["strict"],
        progress=not options["quiet"],
    )
    experiment = AreaExperiment.of(
        source.net, source.layers[0], source.data, None, groups=options["groups"], reading=reading
    )
    results = _measure(experiment, selection, source)
    source.check_images(results[0].info)
    dissection = source.dissection
    saved = SavedInterventions.of(results, dissection=dissection, command=click.get_current_context().obj)
    page = add_interventions(out, saved, overwrite=options["overwrite"])
    if not options["quiet"]:
        echo("\n".join(map(summarize_intervention, results)))
        echo(f"wrote {out}/: {page.name} to look at, {', '.join(saved.tables)} to compute with")


class _Selection(NamedTuple):
    """What is measured."""

    units: tuple[int, ...] | None
    concept: str | None
    remove: int | None
    insert: int | None
    at: tuple[tuple[int, int], ...]
    every_place: bool
    place: int
    level: str | None
    sweep: bool
    draws: int | None
    examples: int

    @classmethod
    def of(cls, options: dict[str, Any]) -> "_Selection":
        """Read the options."""
        ways = "--concept NAME --remove N, --concept NAME --insert N, --units 3,17 --remove, or --sweep"
        units, concept, sweep = options["units"], options["concept"], options["sweep"]
        remove, insert = options["remove"], options["insert"]
        if units is not None and concept is not None:
            raise UnitlensError(f"--units and --concept both choose units: give one of {ways}.")
        if units is None and concept is None and not sweep:
            raise UnitlensError(f"No units were chosen: give {ways}.")
        if (remove or insert or options["every_place"]) and units is None and concept is None:
            raise UnitlensError("--remove, --insert and --map need units: add --concept NAME or --units 3,17.")
        if options["every_place"] and concept is None:
            raise UnitlensError("--map looks for a concept at every place: name it with --concept NAME.")
        if options["at"] and options["everywhere"]:
            raise UnitlensError("--at names positions, and --everywhere means all of them: give one of the two.")
        if options["place"] is not None and not options["every_place"]:
            raise UnitlensError("--place is the size of the places of --map: add it.")
        if (units or concept) and not (remove or insert or options["every_place"]):
            remove = DEFAULT_UNITS
        return cls(
            None if units is None else _numbers(units),
            concept,
            remove,
            insert,
            tuple(map(_position, options["at"])),
            options["every_place"],
            options["place"] or 1,
            options["level"],
            sweep,
            options["draws"],
            options["examples"],
        )

    def first(self, source: Source, layer: str, count: int | None) -> Any:
        """The units that are given, or the first ones for the concept."""
        if self.units is not None:
            return self.units
        return source.dissection[layer].units_for(self.concept, count or DEFAULT_UNITS)


def _measure(experiment: Any, selection: _Selection, source: Source) -> list[Any]:
    """All that was asked for."""
    from unitlens.editing.causal import sweep_units
    from unitlens.editing.insertions import map_insertions
    from unitlens.editing.set_areas import DRAWS, measure_set

    layer, results = experiment.layer, list[Any]()
    level, words = _level(selection.level, source, layer)
    where = None if not selection.at else [(row, column) for column, row in selection.at]
    if selection.concept is not None:
        experiment.drawn.index_of(selection.concept)  # an error now, not after a long pass
    for count, value, said in ((selection.remove, 0.0, None), (selection.insert, level, words)):
        if count:
            results.append(
                measure_set(
                    experiment,
                    experiment.units(selection.first(source, layer, count)),
                    value=value,
                    where=where,
                    draws=DRAWS if selection.draws is None else selection.draws,
                    change=_change(said, where),
                    examples=selection.examples,
                )
            )
    if selection.every_place and selection.concept is not None:
        units = experiment.units(selection.first(source, layer, selection.insert or selection.remove))
        results.append(
            map_insertions(experiment, units, selection.concept, value=level, size=selection.place, change=words)
        )
    if selection.sweep:
        results.append(sweep_units(experiment, insert=level, where=where, inserted_at=_change(words, where)))
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


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnitlensError(f"--units is {text!r}; units are whole numbers from 0, joined by commas, such as 3,17.")
    return tuple(map(int, parts))


def _position(text: str) -> tuple[int, int]:
    """A column and a row."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnitlensError(f"--at is {text!r}; a position is a column and a row of the layer's grid, such as 3,5.")
    return int(parts[0]), int(parts[1])


def summarize_intervention(result: Any) -> str:
    """Return one result in a few lines."""
    from unitlens.editing.causal_result import CausalEffects
    from unitlens.editing.insertion_result import InsertionMap

    table = result.table()
    if isinstance(result, CausalEffects):
        order = table["average_causal_effect"].abs().sort_values(ascending=False, kind="stable").index
        columns = ["unit", "concept", "removed", "inserted", "average_causal_effect", "low", "high", "q_value"]
        return _rows(repr(result), table.reindex(order)[columns])
    if isinstance(result, InsertionMap):
        return _rows(repr(result), table[["before", "places", "appeared", "low", "high", "area"]])
    of_set = ["concept", "before", "after", "effect", "low", "high", "q_value", "random_mean", "matched_mean"]
    return _rows(repr(result), table[[*of_set, "removed"]])


def _rows(title: str, table: Any, most: int = 10) -> str:
    cells = [tuple(format_cell(value)[:40] for value in row) for row in table.head(most).itertuples(index=False)]
    return f"{title[1:-1]}\n{align_columns([tuple(map(str, table.columns)), *cells])}"
