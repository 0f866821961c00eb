"""Open an encoder of images and words: by its name, from code, or as it is passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.importing import called, imported
from unitlens.models.loading import moved
from unitlens.models.words.encoder import Encoder, TextImageEncoder, encoder_of
from unitlens.models.words.towers import OPTION, hugging_face_towers, open_clip_towers

BUNDLED = "bundled:scenes-words"
"""The encoder that comes along."""
EXAMPLES = (BUNDLED, "open_clip:ViT-B-32", "hf:openai/clip-vit-base-patch32", "hf:google/siglip-base-patch16-224")


def encoder(
    spec: str | TextImageEncoder | tuple[Callable[[Tensor], Tensor], Callable[[list[str]], Tensor]],
    *,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Encoder:
    """Open an encoder of images and words into one space.

    Parameters
    ----------
    spec : str, TextImageEncoder, or (callable, callable)
        "bundled:scenes-words", trained on drawn scenes with captions; "open_clip:NAME" or "open_clip:NAME:TAG";
        "hf:NAME_OR_FOLDER" for CLIP, SigLIP and their like (both need the extra ``unitlens[clip]``);
        "package.module:callable" or "path/to/file.py:callable" for a function without arguments that gives an encoder.
        Or an encoder itself: anything with ``encode_images`` and ``encode_words``, or the two functions.
    weights : str or Path, optional
        As in `unitlens.load`: "DEFAULT" allows a download; a ``.safetensors`` file, or one with a state dict; "none"
        for untrained. Without it, those that are on this machine; nothing is downloaded.
    device : str or torch.device
        Where an encoder by name goes.

    Returns
    -------
    Encoder

    Raises
    ------
    UnitlensError
        If there is no such encoder, package, file or device, the weights do not fit, or it has not both methods.

    Examples
    --------
    >>> import unitlens as ul
    >>> ul.encoder("bundled:scenes-words")
    <Encoder bundled:scenes-words>
    >>> ul.encoder("bundled:scenes-words").encode_words(["red car"]).shape
    torch.Size([1, 160])
    """
    if isinstance(spec, Encoder):
        return spec
    if not isinstance(spec, str):
        _check_unneeded(weights)
        pair = isinstance(spec, tuple) and len(spec) == 2 and all(map(callable, spec))
        return _named(Pair(*spec) if pair else spec, type(spec).__name__)  # type: ignore[misc]
    given = _by_name(spec, weights)
    return _named(moved(given, device) if isinstance(given, nn.Module) else given, spec)


@dataclass(frozen=True)
class Pair:
    """Two functions as an encoder.

    Attributes
    ----------
    encode_images, encode_words : callable
    """

    encode_images: Callable[[Tensor], Tensor]
    encode_words: Callable[[list[str]], Tensor]


def _by_name(spec: str, weights: str | Path | None) -> Any:
    hub, _, name = spec.partition(":")
    if hub == "open_clip":
        return open_clip_towers(name, weights=weights)
    if hub == "hf":
        return hugging_face_towers(name, weights=weights)
    if hub == "bundled":
        from unitlens.models.bundled.scenes_words import scenes_words

        if spec != BUNDLED:
            raise UnitlensError(f"There is no encoder {spec!r}{did_you_mean(spec, [BUNDLED])}; there is {BUNDLED}.")
        return scenes_words(weights=None if weights in (None, "DEFAULT") else str(weights))
    if not name:
        raise UnitlensError(
            f"There is no encoder {spec!r}{did_you_mean(spec, EXAMPLES)}; encoders are {', '.join(EXAMPLES)} and "
            "others of open_clip and Hugging Face, or path/to/file.py:callable."
        )
    _check_unneeded(weights)
    with imported(spec) as target:
        return target if _has_both(target) and not isinstance(target, type) else called(spec, target)


def _named(given: Any, name: str) -> Encoder:
    if isinstance(given, Encoder):
        return given
    if not _has_both(given):
        raise UnitlensError(
            f"{name} gives a {type(given).__name__}, which is no encoder: it has the methods encode_images (images to "
            "images x numbers) and encode_words (words to words x numbers), or is a pair of such functions."
        )
    return encoder_of(given, name)


def _has_both(given: Any) -> bool:
    return all(callable(getattr(given, method, None)) for method in ("encode_images", "encode_words"))


def _check_unneeded(weights: str | Path | None) -> None:
    if weights is not None:
        raise UnitlensError(
            f"An encoder from code brings its own weights: leave {argument('weights', weights, option=OPTION)} out."
        )
