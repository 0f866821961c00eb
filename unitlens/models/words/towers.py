"""Encoders of two packages, CLIP and its like: Hugging Face's (CLIP, SigLIP, ALIGN, ...) and open_clip's."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.hubs import hub_errors, hub_package, hugging_face_network
from unitlens.models.preprocessing import Declared
from unitlens.models.units.encoders import embedding
from unitlens.models.weights import put_weights, read_weights

OPTION = "--encoder-weights"
_FILES = ("open_clip_model.safetensors", "model.safetensors")
"""What files of weights are called in the repositories of open_clip."""
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Towers(nn.Module):
    """A network of two parts, one for images and one for texts, that takes images of any size.

    Parameters
    ----------
    model : nn.Module
    images, texts : callable
        The model's own methods, from prepared images, and from tokens, to vectors.
    tokens : callable
        From texts to what ``texts`` takes.
    declared : Declared
        The size, mean, std and interpolation that the model was trained with.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        images: Callable[[Tensor], Any],
        texts: Callable[[Any], Any],
        tokens: Callable[[list[str]], Any],
        declared: Declared,
    ) -> None:
        super().__init__()
        self.model = model
        self._images, self._texts, self._tokens = images, texts, tokens
        self._size = declared.image_size or (224, 224)
        self._mode = declared.interpolation
        for name, values in (("mean", declared.mean or _CLIP_MEAN), ("std", declared.std or _CLIP_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def encode_images(self, images: Tensor) -> Tensor:
        """Return a vector of each image, (N, D)."""
        images = images.to(self.mean.device)
        if tuple(images.shape[-2:]) != self._size:
            images = functional.interpolate(images, self._size, mode=self._mode, align_corners=False, antialias=True)
            images = images.clamp(0, 1)  # bicubic overshoots
        return embedding(self._images((images - self.mean) / self.std))

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """Return a vector of each text, (W, D)."""
        tokens = self._tokens(list(words))
        return embedding(self._texts(tokens.to(self.mean.device)))


def hugging_face_towers(name: str, *, weights: str | Path | None) -> Towers:
    """Open CLIP, SigLIP or another network of Hugging Face that takes images and texts.

    Parameters
    ----------
    name : str
        On the hub, taken from the cache of this machine, or a folder that ``save_pretrained`` wrote, with its
        tokenizer.
    weights : str, Path or None
        "DEFAULT" to allow a download; a file; "none" for untrained; None for those on this machine.

    Raises
    ------
    UnitlensError
        If the package is not installed, there is no such network, or it does not take texts.
    """
    spec, source = f"hf:{name}", None if weights is None else str(weights)
    transformers = hub_package("transformers", spec, "clip")
    opened = hugging_face_network(name, spec, source, option=OPTION)
    model: Any = opened.model
    if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
        raise UnitlensError(
            f"{spec} is a {type(model).__name__}, which has no vectors of texts: name CLIP, SigLIP or their like, such "
            "as hf:openai/clip-vit-base-patch32."
        )
    local = source != "DEFAULT"
    with hub_errors(spec, local=local, option=OPTION):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    if source not in (None, "DEFAULT", "none"):
        put_weights(model, read_weights(source), source)
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def tokens(texts: list[str]) -> Any:
        # SigLIP reads a text at its last position: it was trained with every text filled up to the same length
        return tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")

    def texts(filled: Any) -> Any:
        known = {key: filled[key] for key in ("input_ids", "attention_mask") if key in filled}
        if "siglip" in type(model).__name__.lower():  # trained without a mask
            known.pop("attention_mask", None)
        return model.get_text_features(**known)

    return Towers(
        model,
        images=lambda images: model.get_image_features(pixel_values=images),
        texts=texts,
        tokens=tokens,
        declared=opened.declared,
    )


def open_clip_towers(name: str, *, weights: str | Path | None) -> Towers:
    """Open a network of open_clip.

    Parameters
    ----------
    name : str
        Of its list, such as ``ViT-B-32``, and behind a colon the tag of its weights, such as
        ``ViT-B-32:laion2b_s34b_b79k``; without one, the first tag whose weights are on this machine.
    weights : str, Path or None
        As for `hugging_face_towers`.

    Raises
    ------
    UnitlensError
        If the package is not installed, there is no such network, tag or file of weights.
    """
    spec = f"open_clip:{name}"
    open_clip = hub_package("open_clip", spec, "clip")
    kind, _, tag = name.partition(":")
    if kind not in open_clip.list_models():
        known = open_clip.list_models()
        raise UnitlensError(f"There is no network {kind!r} in open_clip{did_you_mean(kind, known)}.")
    tags = open_clip.list_pretrained_tags_by_model(kind)
    if tag and tag not in tags:
        listed = ", ".join(tags) or "none at all"
        raise UnitlensError(f"open_clip has no weights {tag!r} of {kind}{did_you_mean(tag, tags)}; there are {listed}.")
    source = None if weights is None else str(weights)
    local = source != "DEFAULT"
    text = open_clip.get_model_config(kind)["text_cfg"]
    if local and "hf_model_name" in text:
        raise UnitlensError(
            f"open_clip fetches the part of {kind} that takes texts by itself: allow it with "
            f"{argument('weights', 'DEFAULT', option=OPTION)}, or name another network."
        )
    chosen: str | None = None
    path: str | Path | None = None if source == "none" else source
    if source in (None, "DEFAULT"):
        chosen, path = _published(spec, kind, [tag] if tag else tags, local=local)
    fetching = {"local_files_only": local} if "hf_tokenizer_name" in text else {}
    with hub_errors(spec, local=local, option=OPTION):
        settings = open_clip.get_pretrained_cfg(kind, chosen or tag) if chosen or tag else {}
        model = open_clip.create_model(
            kind, load_weights=False, pretrained_text=False, force_quick_gelu=bool(settings.get("quick_gelu", False))
        )
        tokenizer = open_clip.get_tokenizer(kind, **fetching)
    if path is not None:
        put_weights(model, read_weights(path), str(path))
    return Towers(
        model,
        images=model.encode_image,
        texts=model.encode_text,
        tokens=tokenizer,
        declared=_declared(model, settings),
    )


def _published(spec: str, kind: str, tags: Sequence[str], *, local: bool) -> tuple[str, Path]:
    """The tag and the file of published weights: the first that is on this machine, or one that is downloaded."""
    open_clip = hub_package("open_clip", spec, "clip")
    hub = hub_package("huggingface_hub", spec, "clip")
    wanted = None
    for tag in tags:
        repository, _, file = str(open_clip.get_pretrained_cfg(kind, tag).get("hf_hub", "")).rpartition("/")
        for name in (file,) if file.endswith(".safetensors") else _FILES if repository else ():
            found = hub.try_to_load_from_cache(repository, name)
            if isinstance(found, str):
                return tag, Path(found)
            wanted = wanted or (tag, repository)
    if wanted is None:
        raise UnitlensError(
            f"open_clip has no weights of {spec} as safetensors on the hub, and no others are read: give a file with "
            f"{argument('weights', option=OPTION)}, or name another."
        )
    with hub_errors(spec, local=local, option=OPTION):
        tag, repository = wanted
        return tag, Path(hub.hf_hub_download(repository, _FILES[0], local_files_only=local))


def _declared(model: Any, settings: Mapping[str, Any]) -> Declared:
    """What images open_clip's network was trained with."""
    side = model.visual.image_size
    mean, std = (
        tuple(map(float, settings.get(name) or getattr(model.visual, f"image_{name}", None) or default))
        for name, default in (("mean", _CLIP_MEAN), ("std", _CLIP_STD))
    )
    interpolation = settings.get("interpolation", "bicubic")
    size = (int(side), int(side)) if isinstance(side, int) else (int(side[0]), int(side[1]))
    return Declared(size, None, mean, std, "bicubic" if interpolation == "bicubic" else "bilinear")
