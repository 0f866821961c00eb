"""Networks of timm (``timm:NAME``) and of Hugging Face (``hf:NAME_OR_FOLDER``), both optional."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.layers import describe_error
from unitlens.models.preprocessing import Said, Triple, said_by
from unitlens.models.weights import put_weights, read_weights

HUBS = ("timm", "hf")
_BICUBIC = 3  # Pillow's number of it, as files of Hugging Face give it


class HubNetwork(NamedTuple):
    """A network of a hub, what it says about images, and the names of its outputs where it is trained."""

    model: nn.Module
    said: Said
    classes: tuple[str, ...] | None


def hub_network(hub: str, name: str, weights: str | None) -> HubNetwork:
    """Build a network of timm or Hugging Face.

    Parameters
    ----------
    hub : {"timm", "hf"}
    name : str
        Of timm's list, as ``vit_tiny_patch16_224``; a model of Hugging Face, as ``google/vit-base-patch16-224``, or a
        folder that ``save_pretrained`` wrote.
    weights : str or None
        "DEFAULT": the published ones, downloaded if they are not on this machine yet. A file. "none": untrained. None:
        what is on this machine, for Hugging Face's; an error for timm's.

    Returns
    -------
    HubNetwork
        In evaluation mode.

    Raises
    ------
    UnitlensError
        If the package is not installed, there is no such network, or the weights cannot be had.
    """
    model, said, classes = (_timm if hub == "timm" else _hugging_face)(name, weights)
    return HubNetwork(model.eval(), said, None if weights == "none" else classes)


def _package(name: str, spec: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UnitlensError(
            f"{spec} needs the package {name} ({describe_error(error)}): pip install 'unitlens[{extra}]'."
        ) from None


def _untrained(name: str) -> UnitlensError:
    return UnitlensError(
        f"{name} without weights would be untrained: ask for the published ones with "
        f"{argument('weights', 'DEFAULT')} (downloaded), give a file of weights, or say "
        f"{argument('weights', 'none')} if untrained is what you want."
    )


def _unavailable(name: str, error: Exception) -> UnitlensError:
    return UnitlensError(
        f"The published weights of {name} could not be had ({describe_error(error)}); try again with a connection, or "
        f"give a file with {argument('weights')}."
    )


def _timm(name: str, weights: str | None) -> HubNetwork:
    timm = _package("timm", f"timm:{name}", "timm")
    if not timm.is_model(name):
        raise UnitlensError(f"There is no network {name!r} in timm{did_you_mean(name, timm.list_models())}.")
    if weights is None:
        raise _untrained(f"timm:{name}")
    try:
        model = timm.create_model(name, pretrained=weights == "DEFAULT")
    except Exception as error:  # network, proxy, disk, no such weights: all end here
        raise _unavailable(f"timm:{name}", error) from error
    if weights not in ("none", "DEFAULT"):
        put_weights(model, read_weights(weights), weights)
    return HubNetwork(model, said_by(model), _timm_classes(model))


def _timm_classes(model: nn.Module) -> tuple[str, ...] | None:
    """ImageNet's names, where timm says that the outputs are ImageNet's."""
    data = import_module("timm.data")
    subset = data.infer_imagenet_subset(model)
    if not subset:
        return None
    info = data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _hugging_face(name: str, weights: str | None) -> HubNetwork:
    transformers = _package("transformers", f"hf:{name}", "hf")
    local = weights != "DEFAULT"
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    except Exception as error:  # no folder, not in the cache, no connection, a damaged file
        raise _not_here(name, error, local=local) from error
    kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
    try:
        if weights in (None, "DEFAULT"):
            model = kind.from_pretrained(name, config=config, local_files_only=local, use_safetensors=True)
        else:
            model = kind._from_config(config) if kind is not transformers.AutoModel else kind.from_config(config)
    except Exception as error:
        raise _not_here(name, error, local=local) from error
    if weights not in (None, "none", "DEFAULT"):
        put_weights(model, read_weights(str(weights)), str(weights))
    whole: nn.Module = getattr(model, "vision_model", model)  # of CLIP and its like, which take text beside images
    return HubNetwork(whole, _hugging_face_said(name, config, local=local), _hugging_face_classes(config))


def _not_here(name: str, error: Exception, *, local: bool) -> UnitlensError:
    if not local:
        return _unavailable(f"hf:{name}", error)
    what = "is no folder that save_pretrained wrote" if Path(name).exists() else "is neither a folder nor in the cache"
    return UnitlensError(
        f"hf:{name} {what} ({describe_error(error)}); nothing is downloaded unless "
        f"{argument('weights', 'DEFAULT')} asks for it, and weights are read from safetensors only."
    )


def _hugging_face_classes(config: Any) -> tuple[str, ...] | None:
    names = getattr(config, "id2label", None)
    if not isinstance(names, Mapping) or not names or all(str(name).startswith("LABEL_") for name in names.values()):
        return None
    return tuple(str(names[index]) for index in sorted(names))


def _hugging_face_said(name: str, config: Any, *, local: bool) -> Said:
    """What preprocessor_config.json says; without it, the size that the network is built for."""
    from transformers.image_processing_base import ImageProcessingMixin

    side = getattr(getattr(config, "vision_config", config), "image_size", None)
    try:
        found, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=local)
    except OSError:
        return Said(image_size=_sides(side))
    return said_by_processor(found, _sides(side))


def said_by_processor(found: Mapping[str, Any], default: tuple[int, int] | None = None) -> Said:
    """Read a ``preprocessor_config.json``.

    Parameters
    ----------
    found : mapping
        Its content: size, crop_size, crop_pct, do_center_crop, do_normalize, image_mean, image_std, resample.
    default : (int, int), optional
        Height and width, if it gives none.

    Examples
    --------
    >>> said_by_processor({"size": {"shortest_edge": 256}, "crop_size": 224, "do_normalize": False}).resize
    256
    """
    size, crop = found.get("size"), _sides(found.get("crop_size")) if found.get("do_center_crop", True) else None
    shorter = size.get("shortest_edge") if isinstance(size, Mapping) else None
    image_size, resize = crop or _sides(size) or default, shorter
    if shorter and not crop:  # ConvNeXt and its like: a share of the resized image is cropped, up to 384 pixels
        image_size = (shorter, shorter)
        resize = int(shorter / found.get("crop_pct", 1)) if shorter < 384 else shorter
    elif crop and not shorter:
        resize = min(_sides(size) or crop)
    if image_size and resize and resize < max(image_size):
        resize = None
    plain = found.get("do_normalize", True) is False
    mean: Triple | None = (0.0, 0.0, 0.0) if plain else _triple(found.get("image_mean"))
    std: Triple | None = (1.0, 1.0, 1.0) if plain else _triple(found.get("image_std"))
    return Said(image_size, resize, mean, std, "bicubic" if found.get("resample") == _BICUBIC else "bilinear")


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        return (int(size["height"]), int(size["width"])) if {"height", "width"} <= size.keys() else None
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[-1])) if isinstance(size, list | tuple) and size else None


def _triple(values: Any) -> Triple | None:
    return (float(values[0]), float(values[1]), float(values[2])) if values else None
