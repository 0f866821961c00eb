"""`unitlens ablate`."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.commands.options import network_options, picture_options, quiet_option
from unitlens.commands.shared import aligned, cell, load_network, open_pictures, paper_lines, prepare
from unitlens.errors import UnitlensError

_OF_NETWORK = ("weights", "image_size", "resize", "mean", "std")


@click.command()
@click.argument("target", metavar="RUN_OR_MODEL")
@click.option("--layer", metavar="NAME", help="The layer; without it the run's, or the network's default.")
@click.option("--units", metavar="3,17", help="These units, together.")
@click.option("--concept", metavar="NAME", help="The units of highest IoU with this concept; for a run.")
@click.option("--class", "class_", metavar="NAME", help="The most important units for this class.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="So many of them. [20]")
@click.option("--keep-only", type=click.IntRange(0), metavar="N", help="Hold all units but so many of them.")
@click.option("--sweep", is_flag=True, help="Every unit, one at a time; beside any of the above.")
@click.option("--value", default="0", show_default=True, metavar="V", help="Held at a number, mean or resample.")
@click.option("--scale", type=float, metavar="F", help="In place of a value: multiplied by it.")
@click.option("--measure", "measures", multiple=True, metavar="M", help="Repeatable. [recall, balanced_accuracy]")
@click.option("--draws", type=click.IntRange(0), default=20, show_default=True, help="Random sets beside --class.")
@picture_options
@click.option("--out", type=click.Path(path_type=Path), metavar="RUN", help="[the run itself, or run]")
@click.option("--overwrite", is_flag=True, help="Replace effects that are there.")
@network_options
@quiet_option
def ablate(target: str, **options: Any) -> None:
    """Hold units of a layer, and measure what that does to the predictions.

    RUN_OR_MODEL is the folder of a run, which brings its network, preprocessing and pictures and is then added to; or
    a network, named as for `unitlens dissect`.
    """
    from unitlens.effect_files import SavedEffects
    from unitlens.experiment import Experiment
    from unitlens.observation import Reading
    from unitlens.outcomes import DEFAULT_MEASURES
    from unitlens.page import add_effects, check_effects_fit

    ask = _Ask.of(options)
    holding = _holding(options["value"], options["scale"])
    source = _of_run(Path(target), options) if (Path(target) / "run.json").is_file() else None
    source = source or _of_model(target, options)
    source.net.model.eval()  # it was loaded here; a network's training mode is of interest where a person set it
    out = options["out"] or (Path(target) if source.dissection is not None else Path("run"))
    check_effects_fit(out, source.sha256, overwrite=options["overwrite"])
    workers, quiet = prepare(options["threads"], options["workers"]), options["quiet"]
    reading = Reading(options["batch_size"], workers, source.limit, options["strict"], show=not quiet)
    run = Experiment.of(
        source.net, source.layer, source.data, options["measures"] or DEFAULT_MEASURES, reading, source.seed
    )
    results = _measure(run, ask, holding, source, draws=options["draws"])
    _check_pictures(results[0], source)
    for result in results:
        getattr(result, "effects", result).info["command"] = shlex.join(["unitlens", *sys.argv[1:]])
    saved = SavedEffects.of(*results)
    page = add_effects(out, saved, overwrite=options["overwrite"])
    if not quiet:
        click.echo(_told(saved))
        click.echo(f"wrote {out}/: {page.name} to look at, effects.csv to compute with")


class _Ask(NamedTuple):
    """Which units are meant."""

    units: tuple[int, ...] | None
    concept: str | None
    class_: str | None
    top: int
    keep: bool
    sweep: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> "_Ask":
        """Read the options, which must name one choice of units."""
        named = [name for name in ("units", "concept", "class_") if options[name] is not None]
        ways = "--units 3,17, --concept NAME, --class NAME (with --top N or --keep-only N)"
        if len(named) > 1:
            given = " and ".join("--" + name.rstrip("_") for name in named)
            raise UnitlensError(f"{given} both choose units: give one of {ways}.")
        if not named and not options["sweep"]:
            raise UnitlensError(f"No units were chosen: give one of {ways}, or --sweep for every unit.")
        top, kept = options["top"], options["keep_only"]
        if (top is not None or kept is not None) and named not in (["concept"], ["class_"]):
            raise UnitlensError(
                "--top and --keep-only take the first of a ranking: add --class NAME or --concept NAME."
            )
        if top is not None and kept is not None:
            raise UnitlensError("--top removes units and --keep-only keeps them: give one of the two.")
        if kept == 0:
            raise UnitlensError("--keep-only 0 leaves nothing of the layer: keep 1 unit or more.")
        units = None if options["units"] is None else _numbers(options["units"])
        return cls(units, options["concept"], options["class_"], top or kept or 20, kept is not None, options["sweep"])


class _Source(NamedTuple):
    """Network, layer and pictures; of a run also the dissection, and the hash that its pictures have to have."""

    net: Any
    layer: str
    data: Any
    sha256: str
    limit: int | None
    seed: int
    dissection: Any = None
    pictures_sha256: str | None = None


def _of_model(target: str, options: dict[str, Any]) -> _Source:
    if options["concept"] is not None:
        raise UnitlensError(
            f"--concept needs to know what units look for, and {target} is no run: `unitlens dissect` makes one."
        )
    data, limit, seed = options["data"], options["limit"], options["seed"]
    net = load_network(target, options)
    layer = options["layer"] or net.default_layer
    if not layer:
        raise UnitlensError(
            "No layer was named, and the network has no default: add --layer NAME (`unitlens layers` lists them)."
        )
    return _Source(net, layer, open_pictures(target, data, limit, seed), net.fingerprint(), limit, seed)


def _of_run(folder: Path, options: dict[str, Any]) -> _Source:
    """What a run brings, with its hashes checked."""
    from unitlens.result import open_run

    for name in _OF_NETWORK:
        if options[name] is not None:
            raise UnitlensError(f"The run {folder} brings its own network: leave --{name.replace('_', '-')} out.")
    dissection = open_run(folder)
    info, layers = dissection.info, dissection.layers
    layer = options["layer"] or (layers[0] if len(layers) == 1 else None)
    if layer is None:
        raise UnitlensError(
            f"The run {folder} has several layers: choose one with --layer {' or --layer '.join(layers)}."
        )
    settings = info["settings"]
    own = options["data"] is None
    limit = options["limit"] if options["limit"] is not None or not own else settings["limit"]
    seed = settings["seed"] if own else options["seed"]
    net = _network_of(info, folder, options["device"])
    source = str(options["data"] or info["data"]["source"])
    count = info["data"]["pictures"] if own and source.startswith("bundled:") and limit is None else limit
    data = open_pictures(source, source, count, seed, **(info["data"].get("opened", {}) if own else {}))
    unchanged = own and limit == settings["limit"]
    sha256 = info["data"]["sha256"] if unchanged else None
    return _Source(net, layer, data, info["network"]["sha256"], limit, seed, dissection, sha256)


def _network_of(info: dict[str, Any], folder: Path, device: str) -> Any:
    from unitlens.network import Preprocessing, load

    told = info["network"]
    said = {**told["preprocessing"]}
    for name in ("image_size", "mean", "std"):
        said[name] = tuple(said[name])
    asked = {name: said[name] for name in ("image_size", "resize", "mean", "std")}
    net = load(told["name"], weights=told["weights"], seed=info["settings"]["seed"], device=device, **asked)
    if net.fingerprint() != told["sha256"]:
        raise UnitlensError(
            f"{told['name']} has other weights than the network that the run {folder} is of (their hashes differ): "
            "dissect it anew, or put the old weights back."
        )
    return replace(net, preprocessing=Preprocessing(**said))


def _check_pictures(result: Any, source: _Source) -> None:
    """Make sure that the pictures read are those of the run."""
    info = getattr(result, "effects", result).info
    if source.pictures_sha256 not in (None, info["data"]["sha256"]):
        raise UnitlensError(
            f"The pictures of {info['data']['source']} are not those that the run is of (their hashes differ): dissect "
            "them anew, or name others with --data."
        )


def _measure(run: Any, ask: _Ask, holding: Any, source: _Source, *, draws: int) -> list[Any]:
    """The results to save, of which the first is a chosen set if there is one."""
    from unitlens.ablation_curves import Draws, curves_of, doubling
    from unitlens.effects import chosen_units, unit_count

    sweep = run.effects(None, holding) if ask.sweep or ask.class_ is not None else None
    if ask.class_ is not None:
        curve = curves_of(run, [ask.class_], holding, Draws(doubling(ask.top), draws), ranking=sweep)[0]
        chosen = [curve.chosen("kept" if ask.keep else "most", ask.top)]
        return [*chosen, *([sweep] if ask.sweep else []), curve]
    if ask.units is None and ask.concept is None:
        return [sweep]
    count = unit_count(run.net, run.layer)
    units: Sequence[int] = ask.units or source.dissection[run.layer].units_for(ask.concept, ask.top)
    chosen = [run.effects((chosen_units(units, run.layer, count, keep=ask.keep),), holding)]
    return [*chosen, *([sweep] if sweep is not None else [])]


def _holding(value: str, scale: float | None) -> Any:
    from unitlens.holding import Holding

    if value in ("mean", "resample"):
        return Holding("mean" if value == "mean" else "resample", scale)
    try:
        return Holding(float(value), scale)
    except ValueError:
        raise UnitlensError(f"--value is {value!r}; units are held at a number, mean or resample.") from None


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnitlensError(f"--units is {text!r}; units are whole numbers from 0, joined by commas, such as 3,17.")
    return tuple(map(int, parts))


def _told(saved: Any) -> str:
    """What was found, in a few lines."""
    lines = []
    for curve in saved.curves:
        lines.append(paper_lines(curve))
    for effects in () if saved.curves else saved.listed:
        table = effects.table()
        own = table[table["effect"].abs() > 0]
        shown = own.reindex(own["effect"].abs().sort_values(ascending=False, kind="stable").index).head(10)
        shown = shown[["units", "class", "measure", "before", "after", "effect", "low", "high", "q_value"]]
        cells = [tuple(cell(value)[:40] for value in row) for row in shown.itertuples(index=False)]
        lines.append(aligned([tuple(shown.columns), *cells]) if cells else "Nothing changes.")
    return "\n".join(lines)
