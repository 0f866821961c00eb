"""Networks of timm (``timm:NAME``) and of Hugging Face (``hf:NAME_OR_FOLDER``), both optional."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.layers import describe_error
from unitlens.models.opened import OpenedModel
from unitlens.models.preprocessing import Declared, Numbers, declared_by
from unitlens.models.units.encoders import images_part
from unitlens.models.weights import put_weights, read_weights, untrained_error

HUBS = ("timm", "hf")
_BICUBIC = 3  # Pillow's number of it, as files of Hugging Face give it


def hub_network(hub: str, name: str, weights: str | None) -> OpenedModel:
    """Build a network of timm or Hugging Face.

    Parameters
    ----------
    hub : {"timm", "hf"}
        Which of them.
    name : str
        Of timm's list, such as ``vit_tiny_patch16_224``; a model of Hugging Face, such as
        ``google/vit-base-patch16-224``, or a folder that ``save_pretrained`` wrote.
    weights : str or None
        "DEFAULT": the published ones, downloaded if they are not on this machine yet. A file. "none": untrained. None:
        those on this machine, for networks of Hugging Face; an error for those of timm.

    Returns
    -------
    OpenedModel
        In evaluation mode.

    Raises
    ------
    UnitlensError
        If the package is not installed, there is no such network, or the weights cannot be had.
    """
    spec = f"{hub}:{name}"
    opened = _timm(name, spec, weights) if hub == "timm" else hugging_face_network(name, spec, weights)
    if weights not in (None, "none", "DEFAULT"):
        put_weights(opened.model, read_weights(weights), weights)
    return opened._replace(
        model=images_part(opened.model).eval(), classes=None if weights == "none" else opened.classes
    )


def hub_package(name: str, spec: str, extra: str) -> Any:
    """Import the package that a network of a hub needs.

    Raises
    ------
    UnitlensError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UnitlensError(
            f"{spec} needs the package {name} ({describe_error(error)}): pip install 'unitlens[{extra}]'."
        ) from None


@contextmanager
def hub_errors(spec: str, *, local: bool, option: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while a network of a hub is opened into one sentence.

    Parameters
    ----------
    spec : str
        The network, as ``hf:NAME_OR_FOLDER``.
    local : bool
        Whether only this machine is searched, so that nothing is downloaded.
    option : str, optional
        The shell's option for weights, where it is not ``--weights``.
    """
    try:
        yield
    except UnitlensError:
        raise
    except Exception as error:  # no folder, not in the cache, no connection, no space, a damaged file
        if not local:
            raise UnitlensError(
                f"The published weights of {spec} could not be had ({describe_error(error)}); try again with a "
                f"connection, or give a file with {argument('weights', option=option)}."
            ) from error
        is_folder = Path(spec.partition(":")[2]).exists()
        what = "is no folder that save_pretrained wrote" if is_folder else "is neither a folder nor in the cache"
        raise UnitlensError(
            f"{spec} {what} ({describe_error(error)}); nothing is downloaded unless "
            f"{argument('weights', 'DEFAULT', option=option)} asks for it, and weights are read from safetensors only."
        ) from error


def _timm(name: str, spec: str, weights: str | None) -> OpenedModel:
    timm = hub_package("timm", spec, "timm")
    if not timm.is_model(name):
        raise UnitlensError(f"There is no network {name!r} in timm{did_you_mean(name, timm.list_models())}.")
    if weights is None:
        raise untrained_error(spec)
    with hub_errors(spec, local=False):
        model = timm.create_model(name, pretrained=weights == "DEFAULT")
    return OpenedModel(model, spec, declared_by(model), _timm_classes(model))


def _timm_classes(model: nn.Module) -> tuple[str, ...] | None:
    """Return ImageNet's names, where timm says that the outputs are ImageNet's."""
    data = import_module("timm.data")
    subset = data.infer_imagenet_subset(model)
    if not subset:
        return None
    info = data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def hugging_face_network(name: str, spec: str, weights: str | None, *, option: str | None = None) -> OpenedModel:
    """Build a network of Hugging Face, of CLIP and its like the part that takes text as well.

    Parameters
    ----------
    name, spec, weights
        As for `hub_network`; ``spec`` is what it is called in errors. A file of weights is not read.
    option : str, optional
        The shell's option for weights, where it is not ``--weights``.

    Raises
    ------
    UnitlensError
        As `hub_network`.
    """
    transformers = hub_package("transformers", spec, "hf")
    local = weights != "DEFAULT"
    with hub_errors(spec, local=local, option=option):
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=local, trust_remote_code=False)
        kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
        if weights in (None, "DEFAULT"):
            model = kind.from_pretrained(name, config=config, local_files_only=local, use_safetensors=True)
        else:
            model = kind._from_config(config) if kind is not transformers.AutoModel else kind.from_config(config)
    return OpenedModel(model, spec, _hugging_face_declared(name, config, local=local), _hugging_face_classes(config))


def _hugging_face_classes(config: Any) -> tuple[str, ...] | None:
    names = getattr(config, "id2label", None)
    if not isinstance(names, Mapping) or not names or all(str(name).startswith("LABEL_") for name in names.values()):
        return None
    return tuple(str(names[index]) for index in sorted(names))


def _hugging_face_declared(name: str, config: Any, *, local: bool) -> Declared:
    """Return what preprocessor_config.json declares; without it, the size that the network is built for."""
    from transformers.image_processing_base import ImageProcessingMixin

    side = getattr(getattr(config, "vision_config", config), "image_size", None)
    try:
        config, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=local)
    except OSError:
        return Declared(image_size=_sides(side))
    return declared_by_processor(config, _sides(side))


def declared_by_processor(config: Mapping[str, Any], default: tuple[int, int] | None = None) -> Declared:
    """Read a ``preprocessor_config.json``.

    Parameters
    ----------
    config : mapping
        Its content: size, crop_size, crop_pct, do_center_crop, do_normalize, image_mean, image_std, resample.
    default : (int, int), optional
        Height and width, if it gives none.

    Examples
    --------
    >>> declared_by_processor({"size": {"shortest_edge": 256}, "crop_size": 224, "do_normalize": False}).resize
    256
    """
    size, crop = config.get("size"), _sides(config.get("crop_size")) if config.get("do_center_crop", True) else None
    shorter = size.get("shortest_edge") if isinstance(size, Mapping) else None
    image_size, resize = crop or _sides(size) or default, shorter
    if shorter and not crop:  # ConvNeXt and its like: a share of the resized image is cropped, up to 384 pixels
        image_size = (shorter, shorter)
        resize = int(shorter / config.get("crop_pct", 1)) if shorter < 384 else shorter
    elif crop and not shorter:
        resize = min(_sides(size) or crop)
    if image_size and resize and resize < max(image_size):
        resize = None
    plain = config.get("do_normalize", True) is False
    mean: Numbers | None = (0.0, 0.0, 0.0) if plain else _numbers(config.get("image_mean"))
    std: Numbers | None = (1.0, 1.0, 1.0) if plain else _numbers(config.get("image_std"))
    return Declared(image_size, resize, mean, std, "bicubic" if config.get("resample") == _BICUBIC else "bilinear")


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        return (int(size["height"]), int(size["width"])) if {"height", "width"} <= size.keys() else None
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[-1])) if isinstance(size, list | tuple) and size else None


def _numbers(values: Any) -> Numbers | None:
    return tuple(float(value) for value in values) if values else None
