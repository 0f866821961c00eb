"""Options of a command from a file: YAML, TOML or JSON, or run.json of a run, whose settings are used again.

Such a file is data, as a run is: what it names is neither run nor fetched unless the command line says so itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from unitlens.errors import UnitlensError, did_you_mean, printable
from unitlens.files import check_readable, read_json, refuse_twice

KINDS = (".yaml", ".yml", ".toml", ".json")

_LARGEST = 1 << 20
_NOTHING = ("", "~", "null")
_NETWORKS = ("model", "target", "network")


def config_option() -> click.Option:
    """Make the option ``--config``."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_take,
        help="Options from a file (.yaml, .toml, .json: quantile: 0.005), or from run.json of a run, to use its "
        "settings again; the command line goes first.",
    )


def _take(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make what the file says the defaults of the command."""
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = read_config(path, ctx.command)
        ctx.meta["unitlens.config"] = path


def read_config(path: Path, command: click.Command) -> dict[str, Any]:
    """Read the options of a command from a file.

    Parameters
    ----------
    path : Path
    command : click.Command

    Returns
    -------
    dict
        By the names of the command's parameters; text, or lists of it where an option is repeatable.

    Raises
    ------
    UnitlensError
        If it cannot be read, or names an option that the command does not have.
    """
    content = _read(path)
    if not isinstance(content, Mapping):
        raise UnitlensError(f"{path} holds no options: they are lines such as `quantile: 0.005`.")
    params = _params(command)
    if _is_run(content):
        content = {name: value for name, value in options_of_run(path, content).items() if name in params}
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in params:
            raise UnitlensError(
                f"{path} names the option {str(key)!r}, which unitlens {command.name} does not have"
                f"{did_you_mean(name, params)}: `unitlens {command.name} --help` lists those that it has."
            )
        param = params[name]
        if param.name in options:
            raise UnitlensError(f"{path} names {str(key)!r} twice: leave one out.")
        if value is not None and value not in _NOTHING:
            options[str(param.name)] = _as_typed(path, str(key), value, param)
    return options


def _params(command: click.Command) -> dict[str, click.Parameter]:
    """What a file may name: options as they are typed or as Python calls them, and what is typed without a name."""
    params: dict[str, click.Parameter] = {}
    for param in command.params:
        if param.name != "config":
            params[str(param.name)] = param
            params |= {name.lstrip("-").replace("-", "_"): param for name in param.opts if name.startswith("--")}
    return params


def _read(path: Path) -> Any:
    """Read a file; all values of YAML stay text, as if they were typed."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UnitlensError(f"--config takes a file whose name ends in {', '.join(KINDS)}, and not {path}.")
    if not path.is_file():
        raise UnitlensError(f"There is no file {path} for --config to read.")
    if kind == ".json":
        return read_json(path)
    check_readable(path)
    if path.stat().st_size > _LARGEST:
        raise UnitlensError(f"{path} is larger than 1 MB, and holds no options.")
    try:
        text = path.read_text(encoding="utf-8")
        if kind == ".toml":
            import tomllib

            return tomllib.loads(text)
        return _read_yaml(text)
    except (OSError, ValueError, RecursionError, _yaml_error()) as error:
        reason = " ".join(str(error).split())
        raise UnitlensError(f"{path} cannot be read as {kind[1:].upper()} ({reason}).") from None


def _read_yaml(text: str) -> Any:
    """Read YAML as texts, lists and mappings, and nothing else; a key is there once, where yaml would take the last."""
    import yaml

    class Loader(yaml.BaseLoader):  # type: ignore[misc]  # yaml has no types
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            refuse_twice(key.value for key, _ in node.value)
            return mapping

    return yaml.load(text, Loader=Loader)


def _yaml_error() -> type[Exception]:
    import yaml

    error: type[Exception] = yaml.YAMLError
    return error


def _as_typed(path: Path, key: str, value: Any, param: click.Parameter) -> Any:
    """Return a value as it would be typed."""
    several = getattr(param, "multiple", False) or param.nargs == -1
    values = value if isinstance(value, list) else [value]
    # What is wrong is not shown: a few lines of YAML may stand for more text than there is memory.
    if any(isinstance(one, Mapping | list) for one in values):
        raise UnitlensError(f"{path}: {printable(key)[:60]} holds further lists or names; it is a value, or a list.")
    texts = [_text(one) for one in values]
    if sum(map(len, texts)) > _LARGEST:
        raise UnitlensError(
            f"{path}: {printable(key)[:60]} stands for more than 1 MB of text, and no option takes that."
        )
    if several:
        return texts
    between = "x" if getattr(param.type, "name", "") == "N|HxW" else ","
    return between.join(texts)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_run(content: Mapping[str, Any]) -> bool:
    return {"schema", "settings", "network", "data"} <= content.keys()


def options_of_run(path: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a dissection as that of a saved run.

    Parameters
    ----------
    path : Path
        Of run.json, for the sentence.
    info : mapping
        What it holds.

    Raises
    ------
    UnitlensError
        If it is damaged or of another schema, or was told something in Python that no option says.
    """
    from unitlens.dissection.run_record import OtherSchemaError, RunRecord

    try:
        record = RunRecord.from_json(info)
    except OtherSchemaError as error:
        raise UnitlensError(f"The run of {path} {error}") from None
    except UnitlensError as error:
        raise UnitlensError(f"{path} is damaged: {str(error).rstrip('.')}.") from None
    return {**_settings(path, record), **_network(record), **_data(record)}


def _settings(path: Path, record: Any) -> dict[str, Any]:
    """Options for what was chosen beside the preset."""
    from unitlens.dissection.settings import Settings

    settings = record.settings
    usual = Settings.of_preset(settings.preset, default_grid=settings.grid, layers=settings.layers)
    options = {"layer": list(settings.layers), "grid": list(settings.grid), "preset": settings.preset}
    for name in vars(settings).keys() - options.keys() - {"layers"}:
        value = getattr(settings, name)
        if value == getattr(usual, name):
            continue
        if name in ("threshold_on", "union", "not_judged", "unique") or str(value).startswith("given:"):
            raise UnitlensError(f"{path} has a run that was told {name} in Python, for which there is no option.")
        options[name] = list(value) if isinstance(value, tuple) else value
    if settings.basis is not None:
        del options["basis"]
        options["basis" if settings.basis.kind is None else "features"] = settings.basis.source
        options["features_kind"] = settings.basis.read_as
    return options


def _network(record: Any) -> dict[str, Any]:
    network, prepared, latents = record.network, record.network.preprocessing, record.network.latents
    options: dict[str, Any] = {"model": network.name, "weights": network.weights}
    if latents is None:
        options |= {"image_size": list(prepared.image_size), "resize": prepared.resize}
        options |= {"mean": list(prepared.mean), "std": list(prepared.std)}
        said = {"bands" if name == "chosen" else name: value for name, value in asdict(prepared.bands).items()}
        return options | {name: list(value) for name, value in said.items() if value is not None}
    options |= {"latent_shape": list(latents.shape), "latent_classes": latents.classes}
    return options | {"rescale": list(latents.output_range)}


def _data(record: Any) -> dict[str, Any]:
    opened = dict(record.data.opened)
    segmenter = dict(opened.pop("segmenter_options", {}))
    names = {"format": "data_format", "root": "data_root"}
    options: dict[str, Any] = {names.get(str(name), str(name)): value for name, value in opened.items()}
    if segmenter.get("cache") != "none":  # nothing is written to a folder that a file names
        segmenter.pop("cache", None)
    for name, value in segmenter.items():
        options["confidence" if name == "confidence" else f"segmenter_{name}"] = value
    options["data"] = record.data.source
    return options


def refuse_risks(ctx: click.Context) -> None:
    """Refuse what a file of options would have run or fetched, and the command line does not ask for.

    Raises
    ------
    UnitlensError
        If there is such a thing; the sentence says what to type.
    """
    path = ctx.meta.get("unitlens.config")
    for action, typed in _risks(ctx) if path is not None and not ctx.resilient_parsing else ():
        raise UnitlensError(
            f"{path} is a file, and would {action}: to allow it say so on the command line, with {printable(typed)}."
        )


def _risks(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Say what would be run or fetched for the file's sake, and what asks for the same."""
    from unitlens.dissection.reopening import risks_of_code, risks_of_weights

    named = {name: value for name, value in ctx.params.items() if value not in (None, False, ())}
    of_file = {name for name in named if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP}
    if "trust" in of_file:
        yield "trust a run with the code that it names", "--trust"
    if "overwrite" in of_file:
        yield "replace what is there", "--overwrite"
    if "download" in of_file:
        yield f"download {printable(str(named.get('data')))}", "--download"
    saved = Path(str(named.get("target", "")), "run.json").is_file()  # a run is checked when it is reopened
    networks = [name for name in _NETWORKS if name in named and not (name == "target" and saved)]
    for name in networks:
        for action in risks_of_code(str(named[name])) if name in of_file else ():
            yield action, f"--network {named[name]}" if name == "network" else str(named[name])
        if "weights" in of_file:
            for action in risks_of_weights(str(named[name]), named["weights"]):
                yield action, f"--weights {named['weights']}"
    if "weights" in of_file and not networks and not _harmless(str(named["weights"])):
        yield f"fetch or unpickle the weights {printable(str(named['weights']))}", f"--weights {named['weights']}"
    encoder = str(named.get("encoder", "bundled:scenes-words"))
    for action in risks_of_code(encoder) if "encoder" in of_file else ():
        yield action, f"--encoder {encoder}"
    for action in risks_of_weights(encoder, named["encoder_weights"]) if "encoder_weights" in of_file else ():
        yield action, f"--encoder-weights {named['encoder_weights']}"
    for concept in named.get("concepts", ()):
        segmenter = concept.removeprefix("segmenter:") if concept.startswith("segmenter:") else ""
        for action in risks_of_code(segmenter) if segmenter and "concepts" in of_file else ():
            yield action, f"--concepts {concept}"
        if segmenter and "segmenter_weights" in of_file:
            for action in risks_of_weights(segmenter, named["segmenter_weights"]):
                yield action, f"--segmenter-weights {named['segmenter_weights']}"


def _harmless(weights: str) -> bool:
    """Whether weights are neither fetched nor unpickled, whatever the network of the run is."""
    return weights == "none" or weights.endswith(".safetensors")
