"""What `unitlens ablate` measures on: the network, layers and pictures of a run, or those that were named."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.commands.shared import how_opened, load_network, open_again, open_pictures
from unitlens.errors import UnitlensError

_OF_NETWORK = ("weights", "image_size", "resize", "mean", "std")
_OF_DATA = {"format": "--data-format", "split": "--split", "concepts": "--concepts"}


class Source(NamedTuple):
    """What is measured on.

    Attributes
    ----------
    net, data
        The network and the pictures.
    layers : tuple of str
    sha256 : str
        Of the network.
    limit : int or None
    seed : int
    told : mapping
        How the pictures were opened, for the files.
    dissection : Dissection or None
        Of a run.
    pictures_sha256 : str or None
        The hash that the pictures have to have, where they are those of a run.
    """

    net: Any
    layers: tuple[str, ...]
    data: Any
    sha256: str
    limit: int | None
    seed: int
    told: Mapping[str, Any]
    dissection: Any = None
    pictures_sha256: str | None = None

    def check_pictures(self, info: Mapping[str, Any]) -> None:
        """Make sure that the pictures that were read are those of the run.

        Raises
        ------
        UnitlensError
            If they are others.
        """
        if self.pictures_sha256 not in (None, info["data"]["sha256"]):
            raise UnitlensError(
                f"The pictures of {info['data']['source']} are not those that the run is of (their hashes differ): "
                "dissect them anew, or name others with --data."
            )

    def check_units(self, counts: Mapping[str, int]) -> None:
        """Make sure that a layer's units are those that were dissected.

        Raises
        ------
        UnitlensError
            If there are more or fewer, as the run reads the layer in another layout.
        """
        for layer, count in counts.items():
            own = count
            if self.dissection is not None and layer in self.dissection.layers:
                own = len(self.dissection[layer].table())
            if own != count:
                raise UnitlensError(
                    f"The run has {own} units of {layer}, and effects can be measured of {count}: the run reads the "
                    "layer in another layout (--layout), which cannot be held."
                )


def source_of(target: str, options: dict[str, Any]) -> Source:
    """Open what the command line names: a run, or a network and pictures.

    Raises
    ------
    UnitlensError
        If something is not there, the run's network is another by now, or options do not go together.
    """
    return _of_run(Path(target), options) if (Path(target) / "run.json").is_file() else _of_model(target, options)


def _of_model(target: str, options: dict[str, Any]) -> Source:
    if options["concept"] is not None:
        raise UnitlensError(
            f"--concept needs to know what units look for, and {target} is no run: `unitlens dissect` makes one."
        )
    data, limit, seed, opened = options["data"], options["limit"], options["seed"], how_opened(options)
    net = load_network(target, options)
    layers = options["layers"] or tuple(filter(None, [net.default_layer]))
    if not layers:
        raise UnitlensError(
            "No layer was named, and the network has no default: add --layer NAME (`unitlens layers` lists them)."
        )
    pictures = open_pictures(target, data, limit, seed, **opened)
    told = {"source": data or target, "opened": open_again(opened)} if opened else {}
    return Source(net, layers, pictures, net.fingerprint(), limit, seed, told)


def _of_run(folder: Path, options: dict[str, Any]) -> Source:
    """What a run brings, with its hashes checked."""
    from unitlens.result import open_run

    own, opened = options["data"] is None, how_opened(options)
    for name in _OF_NETWORK:
        if options[name] is not None:
            raise UnitlensError(f"The run {folder} brings its own network: leave --{name.replace('_', '-')} out.")
    if own and opened:
        given = _OF_DATA.get(next(iter(opened)), "what else is said of them")
        raise UnitlensError(
            f"The run {folder} brings its own pictures: leave {given} out, or name other pictures with --data."
        )
    dissection = open_run(folder)
    info, settings = dissection.info, dissection.info["settings"]
    if settings.get("basis"):
        raise UnitlensError(
            f"The units of the run {folder} are directions of a basis; effects are measured of a layer's own units: "
            "name the network in place of the run."
        )
    limit = options["limit"] if options["limit"] is not None or not own else settings["limit"]
    seed = settings["seed"] if own else options["seed"]
    net = _network_of(info, folder, options["device"])
    source = str(options["data"] or info["data"]["source"])
    count = info["data"]["pictures"] if own and source.startswith("bundled:") and limit is None else limit
    opened = info["data"].get("opened", {}) if own else opened
    data = open_pictures(source, source, count, seed, **opened)
    return Source(
        net,
        _layers_of(dissection, folder, options["layers"]),
        data,
        info["network"]["sha256"],
        limit,
        seed,
        {"source": source, "opened": open_again(opened)} if opened else {},
        dissection,
        info["data"]["sha256"] if own and limit == settings["limit"] else None,
    )


def _layers_of(dissection: Any, folder: Path, layers: tuple[str, ...]) -> tuple[str, ...]:
    if layers or len(dissection.layers) == 1:
        return layers or (dissection.layers[0],)
    raise UnitlensError(
        f"The run {folder} has several layers: choose one with --layer {' or --layer '.join(dissection.layers)}."
    )


def _network_of(info: Mapping[str, Any], folder: Path, device: str) -> Any:
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
