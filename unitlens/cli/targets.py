"""What `unitlens ablate` measures on: the network, layers and images of a run, or those that were named."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unitlens.cli.opening import (
    BAND_OPTIONS,
    load_network,
    open_images,
    take_basis,
    take_data_options,
    without_download,
    worker_count,
)
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError

if TYPE_CHECKING:
    from unitlens.data.reading import Reading
    from unitlens.dissection.reopening import Reopening

_PREPROCESSING = (
    *("image_size", "resize", "mean", "std", *BAND_OPTIONS),
    *("latent_shape", "latent_classes", "rescale", "latents"),
)


class Source(NamedTuple):
    """What is measured on.

    Attributes
    ----------
    net, data
        The network and the images.
    layers : tuple of str
    sha256 : str
        Of the network.
    limit : int or None
    seed : int
    opened : mapping
        How the images were opened, for the files.
    dissection : Dissection or None
        Of a run.
    same : bool
        Whether the images have to be those of the run.
    basis : Coding or None
        Directions that are the units.
    """

    net: Any
    layers: tuple[str, ...]
    data: Any
    sha256: str
    limit: int | None
    seed: int
    opened: Mapping[str, Any]
    dissection: Any = None
    same: bool = False
    basis: Any = None

    def check_images(self, info: Mapping[str, Any]) -> None:
        """Make sure that the images that were read are those of the run.

        Raises
        ------
        UnitlensError
            If they are others.
        """
        from unitlens.dissection.reopening import check_data

        if self.same:
            check_data(info["data"]["sha256"], self.dissection.info, info["data"]["source"])

    def known_means(self) -> dict[str, Any]:
        """Mean activations of the run's units, by layer, where they are those of the images that are measured.

        They are not where the run looked at other images, at other positions (tokens that are left out), or behind an
        in-place activation.
        """
        import torch

        from unitlens.models.layers import find_layers

        if not self.same:
            return {}
        settings = self.dissection.settings
        if settings.tap != "output" or settings.layout is not None or settings.fast:
            return {}
        described = {layer: self.dissection.info["layers"].get(layer) for layer in self.layers}
        return {
            layer: torch.tensor(recorded["mean"], dtype=torch.float64)
            for layer, recorded in described.items()
            if recorded is not None and not recorded["left_out"] and not recorded["nonfinite"]
            # of heads the run has the lengths, and not what is ablated
            if find_layers(self.net.model, layer)[0].heads is None
        }

    def check_units(self, counts: Mapping[str, int]) -> None:
        """Make sure that a layer's units are those that were dissected.

        Raises
        ------
        UnitlensError
            If there are more or fewer, as the run reads the layer in another layout.
        """
        for layer, count in counts.items():
            dissected = count
            if self.dissection is not None and layer in self.dissection.layers:
                dissected = len(self.dissection[layer].table())
            if dissected != count:
                raise UnitlensError(
                    f"The run has {dissected} units of {layer}, and effects can be measured of {count}: the run reads "
                    "the layer in another layout (--layout), in which units cannot be ablated."
                )

    def reading(self, options: dict[str, Any]) -> "Reading":
        """How its images are read, by the command's other options."""
        from unitlens.data.reading import Reading

        return Reading(
            batch_size=options["batch_size"],
            workers=worker_count(options["workers"]),
            limit=self.limit,
            seed=self.seed,
            strict=options["strict"],
            progress=not options["quiet"],
        )


def source_of(target: str, options: dict[str, Any]) -> Source:
    """Open what the command line names: a run, or a network and images.

    Raises
    ------
    UnitlensError
        If something is not there, the run's network is another by now, or options do not go together.
    """
    return _of_run(Path(target), options) if (Path(target) / "run.json").is_file() else _of_model(target, options)


def explained_source(target: str, options: dict[str, Any], *, images: bool = True) -> Source:
    """Open a run for what needs to know what units look for; with its images, or with the network alone.

    Raises
    ------
    UnitlensError
        As `source_of`, or if it is no run, or images are named that are not used.
    """
    folder = Path(target)
    if not (folder / "run.json").is_file():
        raise UnitlensError(
            f"{target} is no run, and an explanation needs to know what units look for: `unitlens dissect` makes one."
        )
    options = options | {"concept": None}
    if not images and (options["data"] is not None or options["limit"] is not None):
        raise UnitlensError(
            "--data and --limit choose images of a data set, and BEFORE and AFTER are given: leave it out."
        )
    return _of_run(folder, options, images=images)


def run_source(folder: Path, options: dict[str, Any]) -> Source:
    """Open a run with its images, and all of its layers unless some are named; for what needs no more options.

    Raises
    ------
    UnitlensError
        As `source_of`, or if it is no run.
    """
    if not (folder / "run.json").is_file():
        raise UnitlensError(f"{folder} is no run: `unitlens dissect` makes one.")
    left_out = dict.fromkeys((*_PREPROCESSING, "limit", "groups", "concept"))
    return _of_run(folder, {**left_out, "seed": 0, **options}, every_layer=True)


def network_of(target: str, options: dict[str, Any]) -> Any:
    """The network of a run, or the one that was named; no images are opened.

    Raises
    ------
    UnitlensError
        As `source_of`.
    """
    if (Path(target) / "run.json").is_file():
        return _of_run(Path(target), options, images=False, every_layer=True).net
    return load_network(target, options)


def _of_model(target: str, options: dict[str, Any]) -> Source:
    from unitlens.models.bases import as_basis

    for name in ("network", "trust"):
        if options[name]:
            raise UnitlensError(f"--{name} is for a run, and {target} is not one: leave it out.")
    if options["concept"]:
        raise UnitlensError(
            f"--concept needs to know what units look for, and {target} is no run: `unitlens dissect` makes one."
        )
    data, limit, seed, opened = options["data"], options["limit"], options["seed"], take_data_options(options)
    given = take_basis(options) if "basis" in options else None
    basis = None if given is None else as_basis(given)
    net, latents = load_network(target, options), options["latents"]
    layers = options["layers"] or tuple(filter(None, [net.default_layer]))
    if not layers:
        raise UnitlensError(
            "No layer was named, and the network has no default: add --layer NAME (`unitlens layers` lists them)."
        )
    images = open_images(target, data, limit, seed, net=net, latents=latents, **opened)
    return Source(net, layers, images.data, net.fingerprint(), limit, seed, images.recorded, basis=basis)


class RunOptions(NamedTuple):
    """What the command line says of a run's network and images, in place of run.json.

    Attributes
    ----------
    network, weights, data : str or None
        As typed.
    opened : dict
        Keywords for `unitlens.data.opening.open_data`.
    trust : bool
        Whether whatever the run names may be run and fetched.
    """

    network: str | None
    weights: str | None
    data: str | None
    opened: dict[str, Any]
    trust: bool

    @classmethod
    def take(cls, options: dict[str, Any]) -> "RunOptions":
        """Take them out of the options of a command."""
        opened = take_data_options(options)
        network, weights, data, trust = (options.pop(name) for name in ("network", "weights", "data", "trust"))
        return cls(network, weights, data, opened, trust)

    def reopening(self, folder: Path, dissection: Any, *, regrouped: bool = False) -> "Reopening":
        """Say how they are opened; see `reopening_of`. Groups are the run's, unless others are given."""
        return reopening_of(
            folder,
            dissection.info,
            network=self.network,
            weights=self.weights,
            source=self.data,
            opened=self.opened,
            groups=None if regrouped else dissection.groups,
            trust=self.trust,
        )


def reopening_of(
    folder: Path,
    info: dict[str, Any],
    *,
    network: str | None,
    weights: str | None,
    source: str | None = None,
    opened: Mapping[str, Any] | None = None,
    groups: Mapping[str, str] | None = None,
    trust: bool,
    images: bool = True,
) -> "Reopening":
    """Say how the network and images of a run are opened; what --trust allows is written to stderr.

    Parameters
    ----------
    folder : Path
        The run.
    info : dict
        Its run.json.
    network, weights, source, opened : optional
        What the command line says in place of run.json.
    groups : mapping, optional
        Of the run.
    trust : bool
        Whether whatever the run names may be run and fetched.
    images : bool
        Whether its images are opened too.

    Raises
    ------
    UnitlensError
        If the run names what would be run or fetched, the command line does not, and there is no --trust.
    """
    from unitlens.dissection.reopening import Reopening, joined_actions, joined_options

    reopening = Reopening.of(info, network=network, weights=weights, source=source, opened=opened, groups=groups)
    risks = reopening.risks(data=images)
    if trust:
        for risk in risks:
            echo(f"unitlens: --trust: this will {risk.action}.", err=True)
    elif risks:
        command = click.get_current_context().obj
        raise UnitlensError(
            f"{folder} was not reopened, because that would {joined_actions(risks)}: to allow it, type "
            f"`{command} {joined_options(risks)}`, or `{command} --trust` for whatever the run names."
        )
    return reopening


def _of_run(folder: Path, options: dict[str, Any], *, images: bool = True, every_layer: bool = False) -> Source:
    """Open what a run brings, with its hashes checked; without images, there are none in what is returned."""
    from unitlens.dissection.reopening import run_basis
    from unitlens.dissection.result import open_run

    same_source, opened, trust = options["data"] is None, take_data_options(options), options["trust"]
    _check_preprocessing(folder, options)
    dissection = open_run(folder)
    info, settings = dissection.info, dissection.settings
    if settings.basis is not None and "basis" not in options:
        raise UnitlensError(
            f"The units of the run {folder} are {settings.basis.noun} of a {settings.basis.of}, and this is measured "
            "of a layer's own units: `unitlens ablate` and `unitlens explain` take such a run."
        )
    basis = run_basis(settings, take_basis(options)) if "basis" in options else None
    reopening = reopening_of(
        folder,
        info,
        network=options["network"],
        weights=options["weights"],
        opened=opened if same_source else None,
        groups=dissection.groups if options["groups"] is None else None,
        trust=trust,
        images=same_source and images,
    )
    layers = options["layers"] or (dissection.layers if every_layer else ())
    limit = options["limit"] if options["limit"] is not None or not same_source else settings.limit
    seed = settings.seed if same_source else options["seed"]
    net = reopening.open_network(trust=trust, device=options["device"])
    source = str(options["data"] or info["data"]["source"])
    data = None
    if images:
        data = (
            reopening.open_data(trust=trust) if same_source else open_images(source, source, limit, seed, **opened).data
        )
    opened = dict(reopening.opened) if same_source else opened
    return Source(
        net,
        layers_of(dissection, folder, layers),
        data,
        info["network"]["sha256"],
        limit,
        seed,
        {"source": source, "opened": without_download(opened)} if opened else {},
        dissection,
        same=same_source and limit == settings.limit,
        basis=basis,
    )


def _check_preprocessing(folder: Path, options: Mapping[str, Any]) -> None:
    """Make sure that nothing says how images are prepared, which a run brings."""
    for name in _PREPROCESSING:
        if options[name] is not None:
            raise UnitlensError(f"The run {folder} brings its own preprocessing: leave --{name.replace('_', '-')} out.")


def kept_run(target: str, options: Mapping[str, Any]) -> Any:
    """Open a run that kept its activations, where no other images are named; else None, and `source_of` opens it.

    Raises
    ------
    UnitlensError
        If the run cannot be read, or preprocessing is given.
    """
    from unitlens.dissection.result import open_run

    folder = Path(target)
    if not (folder / "run.json").is_file() or options["data"] is not None or options["limit"] is not None:
        return None
    _check_preprocessing(folder, options)
    dissection = open_run(folder)
    return None if dissection.activations is None else dissection


def layers_of(dissection: Any, folder: Path, layers: tuple[str, ...]) -> tuple[str, ...]:
    """The layers of a run that were named, or else its only one.

    Raises
    ------
    UnitlensError
        If none was named, and it has several.
    """
    if layers or len(dissection.layers) == 1:
        return layers or (dissection.layers[0],)
    raise UnitlensError(
        f"The run {folder} has several layers: choose one with --layer {' or --layer '.join(dissection.layers)}."
    )
