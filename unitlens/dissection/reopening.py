"""The network and the images of a saved run, opened once more; what that would run or fetch is listed first.

A run folder is data: whoever sent it must not decide which code runs here. So a run is reopened by itself only where
all that it names is unitlens' own: bundled networks, torchvision's by name with weights that are on this machine,
images that are on this machine. `Reopening.risks` is the one place that decides it.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from unitlens.data.concepts import Data
from unitlens.data.groups import GroupedData
from unitlens.data.opening import open_data
from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError, argument, printable, spelled
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.dictionaries.files import features
from unitlens.models.importing import as_module
from unitlens.models.latents import LatentInput
from unitlens.models.loading import load, origin
from unitlens.models.network import Network
from unitlens.models.preprocessing import Preprocessing
from unitlens.models.torchvision import published_file
from unitlens.models.units.encoders import images_part

Info = dict[str, Any]

_SAFE_WEIGHTS = ".safetensors"
_PLAIN_MATRICES = (".npy", ".safetensors")
"""Files of directions that nothing can be hidden in."""
_SEGMENTER = "segmenter:"
_OPENED = {
    "format": str,
    "split": str,
    "concepts": list,
    "segmenter_options": dict,
    "root": str,
    "download": bool,
    "latents": str,
}
_SEGMENTER_OPTIONS = {
    **dict.fromkeys(("weights", "labels", "ious", "category", "cache"), str),
    "size": int,
    "confidence": (int, float),
}


class OtherImagesError(UnitlensError):
    """Images that were read are not those of the run."""


class Risk(NamedTuple):
    """What reopening a run would run or fetch.

    Attributes
    ----------
    argument : {"net", "data"}
        Of Python's functions: what may be given instead.
    action : str
        A verb and its object, such as "import and call net.py:build".
    options : tuple of tuple of str
        Of the shell, with their values: what asks for the same, such as ("--network", "net.py:build").
    """

    argument: str
    action: str
    options: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Reopening:
    """How the network and the images of a run are opened: as run.json says, or as somebody said again.

    Attributes
    ----------
    info : dict
        run.json.
    network, weights : str, str or None
        As for `unitlens.load`.
    source : str
        Where the images are.
    opened : mapping
        Keywords for `unitlens.open_data`.
    given : frozenset of str
        Which of all these do not come from run.json: "network", "weights", and keys of ``opened`` and of its
        ``segmenter_options``, the latter as "segmenter_weights".
    groups : mapping of str to str or None
        The group of each image of the run, by its name, where images belong together.
    """

    info: Info
    network: str
    weights: str | None
    source: str
    opened: Mapping[str, Any]
    given: frozenset[str]
    groups: Mapping[str, str] | None = None

    @classmethod
    def of(
        cls,
        info: Info,
        *,
        network: str | None = None,
        weights: str | None = None,
        source: str | Path | None = None,
        opened: Mapping[str, Any] | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> "Reopening":
        """Take what run.json says, and in place of it whatever is given.

        Parameters
        ----------
        info : dict
            run.json.
        network, weights : str, optional
        source : str or Path, optional
        opened : mapping, optional
            As for `unitlens.open_data`, of what is given alone.
        groups : mapping, optional
            Of the run, see `unitlens.dissection.result.Dissection`.

        Raises
        ------
        UnitlensError
            If run.json says something that no data can be opened with.
        """
        saved, again = _checked(info["data"].get("opened", {})), dict(opened or {})
        segmenter, segmenter_again = saved.get("segmenter_options", {}), again.get("segmenter_options", {})
        joined = {**saved, **again}
        if segmenter or segmenter_again:
            joined["segmenter_options"] = {**_read_only(segmenter), **segmenter_again}
        given = {*again, *(f"segmenter_{name}" for name in segmenter_again)}
        given |= {name for name, value in (("network", network), ("weights", weights)) if value is not None}
        return cls(
            info,
            info["network"]["name"] if network is None else network,
            info["network"]["weights"] if weights is None else weights,
            str(info["data"]["source"] if source is None else source),
            joined,
            frozenset(given),
            groups,
        )

    def risks(self, *, network: bool = True, data: bool = True) -> tuple[Risk, ...]:
        """List what opening would run or fetch that is not unitlens' own, and that nobody here has asked for.

        Parameters
        ----------
        network, data : bool
            Whether the network, and the images, will be opened.
        """
        risks = [*self._network_risks()] if network else []
        return (*risks, *self._data_risks()) if data else tuple(risks)

    def _network_risks(self) -> Iterator[Risk]:
        weights = () if self.weights is None else (("--weights", self.weights),)
        if "network" not in self.given:
            for action in risks_of_code(self.network):
                yield Risk("net", action, (("--network", self.network), *weights))
        if "weights" not in self.given:
            for action in risks_of_weights(self.network, self.weights):
                yield Risk("net", action, weights)

    def _data_risks(self) -> Iterator[Risk]:
        if self.opened.get("download") and "download" not in self.given:
            yield Risk("data", f"download {printable(self.source)}", (("--download",),))
        concepts: Sequence[str] = self.opened.get("concepts", ())
        weights = self.opened.get("segmenter_options", {}).get("weights")
        for concept in concepts:
            if not concept.startswith(_SEGMENTER):
                continue
            segmenter = concept.removeprefix(_SEGMENTER)
            if "concepts" not in self.given:
                for action in risks_of_code(segmenter):
                    yield Risk("data", action, tuple(("--concepts", name) for name in concepts))
            if "segmenter_weights" not in self.given:
                for action in risks_of_weights(segmenter, weights):
                    yield Risk("data", action, (("--segmenter-weights", weights),))

    def check(self, *, trust: bool, network: bool = True, data: bool = True) -> None:
        """Refuse to run or fetch what nobody here has asked for.

        Raises
        ------
        UnitlensError
            If there is such a thing, and ``trust`` is False.
        """
        risks = () if trust else self.risks(network=network, data=data)
        if risks:
            arguments = " and ".join(f"{name}=" for name in dict.fromkeys(risk.argument for risk in risks))
            raise UnitlensError(
                f"The run was not reopened, because that would {joined_actions(risks)}: give {arguments} yourself, or "
                "trust=True to allow it."
            )

    def open_network(self, *, trust: bool = False, device: str = "cpu") -> Network:
        """Load the network of the run, prepared for in the same way.

        Raises
        ------
        UnitlensError
            If it is not trusted, cannot be loaded, or its weights are others.
        """
        self.check(trust=trust, data=False)
        recorded = self.info["network"]
        if recorded["latents"] is not None:
            return self._open_generator(LatentInput(**recorded["latents"]), device)
        prepared = Preprocessing.from_json(recorded["preprocessing"])
        net = load(
            self.network,
            weights=self.weights,
            seed=Settings.from_json(self.info["settings"]).seed,
            device=device,
            image_size=prepared.image_size,
            resize=prepared.resize,
            mean=prepared.mean,
            std=prepared.std,
        )
        return check_network(replace(net, preprocessing=prepared), self.info)

    def _open_generator(self, latents: LatentInput, device: str) -> Network:
        net = load(
            self.network,
            weights=self.weights,
            seed=Settings.from_json(self.info["settings"]).seed,
            device=device,
            latents=latents.shape,
            rescale=latents.output_range,
            classes=latents.classes,
        )
        size, recorded = net.preprocessing.image_size, tuple(self.info["network"]["preprocessing"]["image_size"])
        if size != recorded:
            raise UnitlensError(
                f"{net.name} draws images of {size[0]} x {size[1]}, and in the run they were {recorded[0]} x "
                f"{recorded[1]}: give the network that was dissected."
            )
        return check_network(net, self.info)

    def open_data(self, *, trust: bool = False) -> Data:
        """Open the images of the run; `check_data` tells whether they are the same.

        Nothing is written to a folder that run.json names: a download goes to the cache of this user.

        Raises
        ------
        UnitlensError
            If they are not trusted, there are none, or they are fewer.
        """
        self.check(trust=trust, network=False)
        recorded, opened = self.info["data"], dict(self.opened)
        if opened.get("download") and "root" not in self.given:
            opened.pop("root", None)
        count = recorded["images"] + len(recorded["skipped"])
        data = open_data(self.source, images=count, seed=Settings.from_json(self.info["settings"]).seed, **opened)
        if len(data) < recorded["images"]:
            raise UnitlensError(
                f"{self.source} has {len(data)} images, the run has {recorded['images']}: give the data of the run "
                f"with {argument('data')}."
            )
        return regrouped(data, self.groups)


def regrouped(data: Data, groups: Mapping[str, str] | None) -> Data:
    """The images of a run with the groups that they had in it; as they are where every image was one of its own."""
    return data if groups is None else GroupedData(data, groups)


def joined_actions(risks: Sequence[Risk]) -> str:
    """Join the actions of some risks to one text."""
    return " and ".join(dict.fromkeys(risk.action for risk in risks))


def joined_options(risks: Sequence[Risk]) -> str:
    """Join what the shell takes in place of some risks to words of a command line, quoted where they need it."""
    options = dict.fromkeys(option for risk in risks for option in risk.options)
    return shlex.join(printable(word) for option in options for word in option)


_CODE_OF = {"timm": "timm", "hf": "transformers", "open_clip": "open_clip"}
"""Packages that build what names with these prefixes stand for."""


def risks_of_code(spec: str) -> Iterator[str]:
    """Say what code a network's name stands for, where it is neither bundled nor torchvision's."""
    package = _CODE_OF.get(spec.partition(":")[0])
    if package is not None:
        yield f"build {printable(spec)} with the code of {package}"
    elif origin(spec) == "code":
        yield f"import and call {printable(spec)}"


def risks_of_weights(spec: str, weights: str | None) -> Iterator[str]:
    """Say what weights would fetch or unpickle."""
    kind = origin(spec)
    if weights in (None, "none") or (kind == "bundled" and weights == "DEFAULT"):
        return
    published = published_file(spec.rpartition(":")[2], weights) if kind == "torchvision" else None
    if weights == "DEFAULT" or published is not None:
        if published is None or not published.is_file():
            yield f"download the weights {printable(weights)} of {printable(spec)}"
    elif Path(weights).suffix != _SAFE_WEIGHTS:
        yield f"read {printable(weights)} with torch.load"


def _checked(opened: Any) -> dict[str, Any]:
    """Return what run.json says of how images were opened, if each word of it is known."""
    known = _are_of(opened, _OPENED) and _are_of(opened.get("segmenter_options", {}), _SEGMENTER_OPTIONS)
    if not known or not all(isinstance(concept, str) for concept in opened.get("concepts", ())):
        raise UnitlensError(
            f"run.json says that its images were opened with {printable(str(opened))}, but images cannot be opened "
            "with that: the run is damaged."
        )
    return dict(opened)


def _are_of(options: Any, types: Mapping[str, Any]) -> bool:
    """Whether these are options of those names and types."""
    return isinstance(options, dict) and all(
        name in types and isinstance(value, types[name]) for name, value in options.items()
    )


def _read_only(segmenter: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a segmenter without the folder of its maps, which would be written to."""
    return {name: value for name, value in segmenter.items() if name != "cache" or value == "none"}


def as_network(net: Network | nn.Module, info: Info) -> Network:
    """Return a network that is given images as in a run: of a module, one whose images are prepared as in run.json.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The run's, or one that gives the run's encoder classes.
    info : dict
        Of the run.

    Raises
    ------
    UnitlensError
        If it is a network whose images are prepared otherwise, or neither a network nor a module.
    """
    if not isinstance(net, Network):
        return _of_module(net, info)
    prepared = Preprocessing.from_json(info["network"]["preprocessing"])
    if differences := net.preprocessing.differences(prepared):
        module = spelled(python=", or its module, net.model, which is given images as in the run", shell="")
        raise UnitlensError(
            f"{net.name} is given other images than in the run ({differences}): give it as it was dissected{module}."
        )
    return net


def check_network(net: Network | nn.Module, info: Info) -> Network:
    """Return the same network as `as_network`, if its weights are those of the run.

    Raises
    ------
    UnitlensError
        If they are others, and as `as_network`.
    """
    net = as_network(net, info)
    fingerprint = net.fingerprint()
    if fingerprint != info["network"]["sha256"]:
        raise UnitlensError(
            f"The weights of {net.name} are not those of the run (their SHA-256 begins with {fingerprint[:8]}, "
            f"the run's with {info['network']['sha256'][:8]}): give the network that was dissected."
        )
    return net


def _of_module(module: nn.Module, info: Info) -> Network:
    """A network of a module that a run was of, with what run.json says of its images and classes."""
    recorded = info["network"]
    if recorded["latents"] is not None:
        raise UnitlensError(
            f"{recorded['name']} draws the images of the run: {argument('net')} is what ul.generator or ul.load made."
        )
    model = as_module(module)
    if model is None:
        raise UnitlensError(
            f"{argument('net')} is a network or a torch.nn.Module, not a {type(module).__name__}; ul.load takes a name."
        )
    classes = tuple(recorded["classes"]) if recorded["classes"] else None
    prepared = Preprocessing.from_json(recorded["preprocessing"])
    return Network(images_part(model), prepared, classes, recorded["name"])


def check_data(sha256: str, info: Info, source: str) -> None:
    """Raise an error if the images that were read are not those of the run."""
    if sha256 != info["data"]["sha256"]:
        raise OtherImagesError(
            f"The images of {source}, or what is marked in them, are not those of the run (their SHA-256 begins with "
            f"{sha256[:8]}, the run's with {info['data']['sha256'][:8]}): "
            f"give the data of the run with {argument('data')}."
        )


def run_basis(settings: Settings, given: BasisLike | None = None) -> Coding | None:
    """The directions or features that are a run's units, as they were given again or as their file has them, or None.

    Raises
    ------
    UnitlensError
        If their file is not there, others were given, or some were though the run has none.
    """
    recorded = settings.basis
    if recorded is None:
        if given is not None:
            raise UnitlensError(
                "The units of the run are the layer's own, not directions or features: leave "
                + spelled(
                    python="basis= out, or dissect with it.", shell="--basis and --features out, or dissect with them."
                )
            )
        return None
    option = "--basis" if recorded.kind is None else "--features"
    if given is None and Path(recorded.source).suffix in _PLAIN_MATRICES and Path(recorded.source).is_file():
        given = recorded.source
    if given is None:
        raise UnitlensError(
            f"The units of the run are {recorded.noun}, which run.json does not contain: give them with "
            f"{argument('basis', option=option)}."
        )
    basis = as_basis(given) if recorded.kind is None else features(given, kind=recorded.read_as)
    if basis.sha256 != recorded.sha256:
        raise UnitlensError(
            f"The {basis} are not those of the run (their SHA-256 begins with {basis.sha256[:8]}, "
            f"the run's with {recorded.sha256[:8]}): give those of the run with {argument('basis', option=option)}."
        )
    return basis.from_source(recorded.source)
