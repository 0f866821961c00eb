"""Load a network by name (`load`), or make one of a module (`classifier`, `generator`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.export import ExportedProgram

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.bands.finding import bands_taken
from unitlens.models.bands.settings import given_bands
from unitlens.models.bundled.opening import open_bundled
from unitlens.models.hubs import HUBS, hub_network
from unitlens.models.importing import as_module, import_network
from unitlens.models.latents import Inputs, LatentInput, drawn_images, find_range, with_one_input
from unitlens.models.network import Network
from unitlens.models.opened import OpenedModel
from unitlens.models.passes import evaluating
from unitlens.models.preprocessing import Declared, Preprocessing, decide, declared_by
from unitlens.models.torchvision import other_names, zoo_names, zoo_network
from unitlens.models.units.encoders import images_part
from unitlens.models.weights import put_weights, read_weights


def load(
    spec: str,
    *,
    weights: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bands: int | Sequence[int] | None = None,
    range: tuple[float, float] | None = None,
    show_bands: int | Sequence[int] | None = None,
    show_range: tuple[float, float] | None = None,
    show_percentiles: tuple[float, float] | None = None,
    latents: int | Sequence[int] | None = None,
    rescale: Sequence[float] | None = None,
    classes: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Network:
    """Load a network by name.

    Parameters
    ----------
    spec : str
        ``torchvision.models:resnet18``, or ``resnet18`` for short; ``timm:NAME`` and ``hf:NAME_OR_FOLDER``, which need
        the extras ``unitlens[timm]`` and ``unitlens[hf]``; ``package.module:callable`` or
        ``path/to/file.py:callable``, where the callable is a network, or a class or function without arguments that
        returns one; ``bundled:scenes``, ``bundled:scenes-shortcut`` and ``bundled:scenes-infrared`` (four bands),
        classifiers, ``bundled:scenes-segmenter`` and ``bundled:scenes-generator``.
    weights : str or Path, optional
        "DEFAULT": the published ones, downloaded (other weights of torchvision by their name, as "IMAGENET1K_V1"). A
        ``.safetensors`` file, or a ``.pt``, ``.pth`` or ``.bin`` file with a state dict. "none": as built, untrained
        for networks by name. Without it, a network from code is taken as it is returned, one of Hugging Face with the
        weights that are on this machine, a bundled one is trained, and one of torchvision or timm is an error.
    image_size : int or (int, int), optional
        Side of the network's input in pixels, or height and width. Without ``resize``, images are squashed to it.
    resize : int, optional
        The shorter side of an image, before its centre is cropped.
    mean, std : floats, optional
        Of each band in [0, 1], such as red, green and blue; a single number, ``(0.5,)``, is that of all. What is not
        given is taken from what torchvision or the network itself declares (``pretrained_cfg``, ``default_cfg``). How
        many bands it takes is found from its first convolution, or else from these.
    bands : int or sequence of int, optional
        Which of an image's bands the network takes, counted from 1, in its order; all, unless given.
    range : (float, float), optional
        The values of an image that become 0 and 1; 0 and 255 of uint8, 0 and 65535 of uint16, 0 and 1 of floats, unless
        given.
    show_bands, show_range, show_percentiles : optional
        How images of other bands than RGB, or of more than 8 bits, are shown: see `unitlens.models.bands.settings`.
    latents : int or sequence of int, optional
        The shape of one latent, such as (100, 1, 1): the network is a generator.
    rescale, classes
        Of a generator, as for `generator`.
    seed : int
        For weights that are drawn at random while the network is built. PyTorch's generator is as before afterwards.
    device : str or torch.device
        Where the network goes.

    Raises
    ------
    UnitlensError
        If there is no such network, file or device, the weights do not fit, or the name leads to something else.

    Warns
    -----
    UnitlensWarning
        If the preprocessing is neither given nor declared by the network.

    Examples
    --------
    >>> import unitlens as ul
    >>> ul.load("resnet18", weights="none")
    <Network torchvision.models:resnet18, weights none; images 224 x 224, shorter side 256, centre cropped>
    """
    if not isinstance(spec, str):
        raise UnitlensError(
            f"A network is loaded by its name, such as 'resnet18', not by a {type(spec).__name__}; "
            "ul.classifier(model) takes a module."
        )
    source = None if weights is None else str(weights)
    opened = build(spec, weights=source, seed=seed)
    if latents is not None or opened.latents is not None:
        given = (
            *(("image_size", image_size), ("resize", resize), ("mean", mean), ("std", std)),
            *(("bands", bands), ("range", range), ("show_bands", show_bands), ("show_range", show_range)),
            ("show_percentiles", show_percentiles),
        )
        _check_no_images(spec, [name for name, value in given if value is not None])
        opened = opened._replace(model=moved(opened.model, device))
        return _generator_of(opened, source, latents, rescale, classes, inputs=None)
    for name, value in (("rescale", rescale), ("classes", classes)):
        if value is not None:
            raise UnitlensError(
                f"{argument(name, option=_OPTIONS.get(name))} is for generators: name the shape of their latents with "
                f"{argument('latents', option=_OPTIONS['latents'])}, or leave it out."
            )
    model = moved(opened.model, device)
    preprocessing = decide(
        opened.declared,
        takes=_taken(model, image_size, opened.declared),
        image_size=image_size,
        resize=resize,
        mean=mean,
        std=std,
        bands=given_bands(
            bands=bands,
            range=range,
            show_bands=show_bands,
            show_range=show_range,
            show_percentiles=show_percentiles,
        ),
    )
    return Network(
        model,
        preprocessing,
        classes=opened.classes,
        name=opened.name,
        weights=source,
        default_layer=opened.default_layer,
    )


def classifier(
    model: nn.Module | ExportedProgram,
    *,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: int | None = None,
    bands: int | Sequence[int] | None = None,
    range: tuple[float, float] | None = None,
    show_bands: int | Sequence[int] | None = None,
    show_range: tuple[float, float] | None = None,
    show_percentiles: tuple[float, float] | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Network:
    """Make a network of a module: add the preprocessing of its images, and the names of its classes.

    Parameters
    ----------
    model : nn.Module or torch.export.ExportedProgram
        It is not changed, and stays where it is. Of a compiled one (`torch.compile`) the original module is taken, of
        an exported program the modules that it was exported from. In TorchScript no hook can be attached.
    image_size, mean, std, resize, bands, range, show_bands, show_range, show_percentiles
        As for `load`.
    classes : sequence of str, optional
        The names of its outputs.
    name : str, optional
        Its name in results; the name of its class if not given.

    Raises
    ------
    UnitlensError
        If it is not a module, or a setting is not of its kind.

    Warns
    -----
    UnitlensWarning
        If the preprocessing is neither given nor declared by the network.

    Examples
    --------
    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    >>> ul.classifier(model, image_size=64, mean=(0, 0, 0), std=(1, 1, 1), classes=("cat", "dog"))
    <Network Sequential; images 64 x 64, squashed; 2 classes>
    >>> ul.classifier(nn.Sequential(nn.Conv2d(5, 8, 3)), image_size=64, mean=(0.5,), std=(0.5,), range=(0, 4095))
    <Network Sequential; images 64 x 64 of 5 bands, squashed>
    """
    module = as_module(model)
    if module is None:
        raise UnitlensError(f"A network is a torch.nn.Module, not a {type(model).__name__}; ul.load takes a name.")
    if isinstance(classes, str):
        raise UnitlensError(f"classes is {classes!r}; it is a sequence of names, one for each output.")
    declared = declared_by(module)
    module = images_part(module)
    preprocessing = decide(
        declared,
        takes=_taken(module, image_size, declared),
        image_size=image_size,
        resize=resize,
        mean=mean,
        std=std,
        bands=given_bands(
            bands=bands,
            range=range,
            show_bands=show_bands,
            show_range=show_range,
            show_percentiles=show_percentiles,
        ),
    )
    names = None if classes is None else tuple(classes)
    return Network(module, preprocessing, classes=names, name=name or type(module).__name__)


def generator(
    model: nn.Module | ExportedProgram,
    *,
    latents: int | Sequence[int],
    rescale: Sequence[float] | None = None,
    classes: int | Sequence[str] | None = None,
    inputs: Inputs | None = None,
    name: str | None = None,
) -> Network:
    """Make a network of a generator: its units are compared with the images that it draws.

    A few latents are passed through it, to learn the size of its images.

    Parameters
    ----------
    model : nn.Module or torch.export.ExportedProgram
        It is not changed, and stays where it is. It returns images, (N, 3, height, width) or, in grey, (N, 1, height,
        width), alone or as the only such tensor of several.
    latents : int or sequence of int
        The shape of one latent, such as (100, 1, 1); 512 is (512,).
    rescale : (float, float), optional
        The outputs that are black and white; (-1, 1), (0, 1) or (0, 255), found from a few images, if not given.
    classes : int or sequence of str, optional
        How many classes it can be asked for, or their names: it is called with latents and classes, int64 (N,).
    inputs : callable, optional
        From latents (and classes, where there are any) to what the model takes: a tensor, a tuple of arguments, or a
        mapping of keyword arguments.
    name : str, optional
        Its name in results; the name of its class if not given.

    Raises
    ------
    UnitlensError
        If it is not a module, does not take such latents, or what it returns is no image.

    Examples
    --------
    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.ConvTranspose2d(100, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 8, 8), nn.Tanh())
    >>> ul.generator(model, latents=(100, 1, 1), rescale=(-1, 1))
    <Network Sequential; latents 100 x 1 x 1, outputs from -1 to 1; draws images 32 x 32>
    """
    module = as_module(model)
    if module is None:
        raise UnitlensError(f"A generator is a torch.nn.Module, not a {type(model).__name__}; ul.load takes a name.")
    if isinstance(classes, str):
        raise UnitlensError(f"classes is {classes!r}; it is how many there are, or a sequence of their names.")
    names = None if classes is None or isinstance(classes, int) else tuple(classes)
    opened = OpenedModel(module, name or type(module).__name__, Declared(), names)
    count = classes if isinstance(classes, int) or classes is None else len(classes)
    return _generator_of(opened, None, latents, rescale, count, inputs)


def _taken(model: nn.Module, image_size: Any, declared: Declared) -> int | None:
    """How many bands a network takes, tried out with an image of the size that it is given, or declares."""
    side = image_size if isinstance(image_size, int) else 224
    sides = image_size if isinstance(image_size, tuple) and len(image_size) == 2 else (side, side)
    return bands_taken(model, sides if image_size is not None else declared.image_size or sides)


def _generator_of(
    opened: OpenedModel,
    weights: str | None,
    shape: int | Sequence[int] | None,
    rescale: Sequence[float] | None,
    classes: int | None,
    inputs: Inputs | None,
) -> Network:
    """A generator, whose latents are as given, else as it declares them; its first images tell their size."""
    declared = opened.latents
    if declared is not None and shape is None:
        latents = declared
    else:
        latents = LatentInput(_latent_shape(shape), (0.0, 1.0), classes)
    if rescale is not None:
        latents = replace(latents, output_range=_two(rescale))
    net = Network(
        with_one_input(opened.model, latents, inputs),
        Preprocessing((1, 1), None, (0.0,) * 3, (1.0,) * 3),
        opened.classes,
        opened.name,
        weights,
        opened.default_layer,
        image="output",
        latents=latents,
    )
    example = net.example_inputs(_FIRST_IMAGES)
    with evaluating(net.model), net.pass_errors(example):
        drawn = drawn_images(net.model(example), _FIRST_IMAGES)
    if rescale is None and declared is None:
        latents = replace(latents, output_range=find_range(drawn))
    image_size = (int(drawn.shape[2]), int(drawn.shape[3]))
    return replace(net, preprocessing=replace(net.preprocessing, image_size=image_size), latents=latents)


_FIRST_IMAGES = 8
"""So many images tell the range of a generator's outputs."""

_OPTIONS = {"latents": "--latent-shape", "classes": "--latent-classes"}
"""Of the shell, where they have other names than in Python."""


def _latent_shape(shape: Any) -> tuple[int, ...]:
    sides = (shape,) if isinstance(shape, Integral) else tuple(shape) if isinstance(shape, Sequence) else ()
    if not sides or not all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides):
        raise UnitlensError(
            f"latents is {shape!r}; it is the shape of one latent, such as (100, 1, 1), or 512 for a vector."
        )
    return tuple(int(side) for side in sides)


def _two(rescale: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in rescale)
    except (TypeError, ValueError):
        raise UnitlensError(
            f"rescale is {rescale!r}; it is two numbers, the outputs that are black and white, such as (-1, 1)."
        ) from None
    return low, high


def _check_no_images(spec: str, given: Sequence[str]) -> None:
    if given:
        raise UnitlensError(
            f"{argument(given[0])} says how images are prepared, and {spec} is a generator, which takes latents: leave "
            "it out."
        )


Origin = Literal["bundled", "torchvision", "timm", "hf", "code"]


def origin(spec: str) -> Origin:
    """Say what opens the network of a name; "code" is whatever the name says to import and call."""
    source, _, attribute = spec.rpartition(":")
    if source == "bundled" or spec == "bundled":
        return "bundled"
    hub, _, name = spec.partition(":")
    if name and hub == "timm":
        return "timm"
    if name and hub == "hf":
        return "hf"
    return "torchvision" if source == "" or _is_torchvisions(source, attribute) else "code"


def build(spec: str, *, weights: str | None, seed: int) -> OpenedModel:
    """Build the network that ``spec`` names; see `load`.

    Weights that are drawn at random are drawn under ``seed``; PyTorch's own generator is as before afterwards.
    """
    source, _, attribute = spec.rpartition(":")
    kind = origin(spec)
    if kind == "bundled":
        return open_bundled(spec, weights, seed)
    with _seeded(seed):
        if kind in HUBS:
            return hub_network(kind, spec.partition(":")[2], weights)
        if kind == "torchvision":
            name = _zoo_name(attribute if "quantization" not in source else f"quantized_{attribute}")
            return zoo_network(name, weights)
        model = import_network(spec)
    if weights == "DEFAULT":
        raise UnitlensError(
            f"DEFAULT weights are there for networks of torchvision, timm and Hugging Face, not for {spec}: give a "
            "file of weights, or nothing to take the network as it is returned."
        )
    if weights not in (None, "none"):
        put_weights(model, read_weights(weights), weights)
    return OpenedModel(model, spec, declared_by(model))


def _is_torchvisions(source: str, attribute: str) -> bool:
    in_torchvision = source.split(".")[:2] == ["torchvision", "models"]
    return in_torchvision and (attribute in zoo_names() or attribute in other_names())


def _zoo_name(name: str) -> str:
    if name in zoo_names():
        return name
    if name.endswith(_FILES):
        raise UnitlensError(
            f"{name} is not the name of a network; give a file of weights as {argument('weights')} of their network, "
            "and load TorchScript or an exported program in a function of yours: path/to/file.py:callable."
        )
    if name.endswith(".py"):
        raise UnitlensError(f"{name} is a file; say which function of it returns the network: {name}:NAME.")
    if name in other_names():
        raise UnitlensError(
            f"{name} of torchvision is left out, as it {other_names()[name]}: unitlens shows a network single "
            "images, in floating-point numbers."
        )
    raise UnitlensError(
        f"There is no network {name!r} in torchvision{did_you_mean(name, zoo_names())}; a network of another origin "
        "is given as package.module:callable or path/to/file.py:callable."
    )


_FILES = (".pt", ".pth", ".pt2", ".bin", ".onnx", ".safetensors", ".ckpt")


def moved(model: nn.Module, device: str | torch.device) -> nn.Module:
    """Return a module on a device; an error if there is none, or it has no room."""
    try:
        target = torch.device(device)
        if target.type == "meta":
            raise NotImplementedError("nothing is computed there")
        return model.to(target)
    except torch.OutOfMemoryError:
        raise UnitlensError(
            f"The network does not fit in the memory of {device}: choose another {argument('device')}."
        ) from None
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise UnitlensError(f"The device {str(device)!r} cannot be used here; there is {', '.join(there)}.") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        yield
