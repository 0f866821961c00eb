"""Which words are asked for, and by which encoder and methods."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, argument, did_you_mean, spelled
from unitlens.labels.by_words.lists import word_list
from unitlens.models.words.encoder import Encoder, TextImageEncoder
from unitlens.models.words.opening import encoder as open_encoder

METHODS = ("soft_wpmi", "crops", "correlation")
"""How words are chosen by an encoder; see docs/labels.md."""

FEWEST, MOST = 10, 100
"""Exemplars by which `soft_wpmi` names a unit: a twentieth of the images, within these."""
_PART = 20


@dataclass(frozen=True, kw_only=True)
class WordSettings:
    """How words are chosen for units.

    Attributes
    ----------
    encoder : str
    encoder_weights : str or None
        SHA-256 of its weights, where it is known.
    words : tuple of str
    methods : tuple of str
    exemplars : int
        By which soft_wpmi names a unit; half as many on each half of the images.
    crops : int
        By which crops does.
    pooling : {"max", "mean"}
        What of a unit's activations in an image counts: the largest, or the mean.
    """

    encoder: str
    encoder_weights: str | None
    words: tuple[str, ...]
    methods: tuple[str, ...]
    exemplars: int
    crops: int
    pooling: str

    def recorded(self) -> dict[str, Any]:
        """As labels.json has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class AskedWords:
    """Words, and what names units by them.

    Attributes
    ----------
    encoder : Encoder
    words : tuple of str
    vectors : float array, (W, D)
        Of the words.
    methods : tuple of str
    exemplars : int or None
    crops : int
    pooling : {"max", "mean"}
    """

    encoder: Encoder
    words: tuple[str, ...]
    vectors: npt.NDArray[np.floating]
    methods: tuple[str, ...]
    exemplars: int | None
    crops: int
    pooling: str

    def settings(self, images: int) -> WordSettings:
        """The settings for so many images."""
        return WordSettings(
            encoder=self.encoder.name,
            encoder_weights=self.encoder.weights,
            words=self.words,
            methods=self.methods,
            exemplars=_exemplars(self.exemplars, images),
            crops=min(self.crops, images // 2),
            pooling=self.pooling,
        )


def asked_words(
    run: Dissection,
    encoder: str | TextImageEncoder,
    words: str | Path | Iterable[str],
    *,
    methods: Sequence[str] = METHODS,
    exemplars: int | None = None,
    crops: int = 10,
    pooling: str = "max",
) -> AskedWords:
    """Open the encoder and the words, if the settings are possible; see `unitlens.words`."""
    _check(methods, exemplars, crops, pooling)
    opened = open_encoder(encoder)
    known = listed_words(run, words)
    vectors = opened.encode_words(known).numpy()
    return AskedWords(opened, known, vectors, tuple(methods), exemplars, crops, pooling)


def listed_words(run: Dissection, words: str | Path | Iterable[str]) -> tuple[str, ...]:
    """The words that are meant for the units of a run; see `word_list`."""
    return word_list(words, [Concept(c["category"], c["label"], c["name"]) for c in run.info["data"]["concepts"]])


def _check(methods: Sequence[str], exemplars: int | None, crops: int, pooling: str) -> None:
    named = [methods] if isinstance(methods, str) else list(methods)
    unknown = next((method for method in named if method not in METHODS), None)
    if unknown is not None or isinstance(methods, str) or not named or len(set(named)) < len(named):
        near = "" if unknown is None else did_you_mean(unknown, METHODS)
        shown = spelled(python=repr(methods), shell=repr(",".join(named)))
        raise UnitlensError(
            f"{argument('methods', option='--word-methods')} is {shown}{near}; it is a list of some of "
            f"{', '.join(METHODS)}, each once."
        )
    if pooling not in ("max", "mean"):
        raise UnitlensError(f"{argument('pooling')} is {pooling!r}; it is max or mean.")
    for name, value in (("exemplars", exemplars), ("crops", crops)):
        if value is not None and value < 1:
            raise UnitlensError(f"{argument(name, option=f'--word-{name}')} is {value}; it is 1 or more.")


def _exemplars(given: int | None, images: int) -> int:
    """By how many images soft_wpmi names a unit."""
    if given is not None and given > images // 2:
        raise UnitlensError(
            f"{argument('exemplars', given, option='--word-exemplars')} are more than half of the {images} images: "
            "nothing would stand out; ask for fewer, or leave it out."
        )
    return min(MOST, max(FEWEST, images // _PART), images) if given is None else given
