"""Options of `unitlens label` for words, and what they ask for."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import click

from unitlens.cli.options import options
from unitlens.errors import UnitlensError

word_options = options(
    click.option(
        "--words",
        metavar="LIST",
        help="Name units by words with an encoder of images and words: concepts (of the run), imagenet, nouns, or a "
        "file with a word a line.",
    ),
    click.option(
        "--encoder",
        metavar="ENCODER",
        help="open_clip:NAME[:TAG], hf:NAME_OR_FOLDER, path/to/file.py:callable: names units by --words, and weighs "
        "labels from elsewhere that are no concept. [bundled:scenes-words]",
    ),
    click.option(
        "--encoder-weights",
        metavar="W",
        help="DEFAULT allows a download; a file, or none. [those on this machine]",
    ),
    click.option(
        "--word-methods", metavar="M,...", help="Of soft_wpmi, crops and correlation, those that count. [all three]"
    ),
    click.option(
        "--word-exemplars",
        type=click.IntRange(1),
        metavar="N",
        help="Images of highest activation that soft_wpmi takes. [a twentieth of all, 10 to 100]",
    ),
    click.option(
        "--word-crops", type=click.IntRange(1), metavar="N", help="Exemplars of which crops takes what is marked. [10]"
    ),
    click.option(
        "--word-pooling",
        type=click.Choice(["max", "mean"]),
        help="What of a unit's activations in an image counts for words. [max]",
    ),
)

_OF_WORDS = {"word_methods": "methods", "word_exemplars": "exemplars", "word_crops": "crops", "word_pooling": "pooling"}
"""Options that are for words alone, and what they are called in Python."""


class EncoderOptions(NamedTuple):
    """What is asked of an encoder of images and words.

    Attributes
    ----------
    words : str or None
        The list of words by which it names units.
    settings : dict
        How.
    encoder, weights : str or None
        As typed.
    """

    words: str | None
    settings: dict[str, Any]
    encoder: str | None
    weights: str | None

    @property
    def methods(self) -> tuple[str, ...]:
        """By which units are named."""
        from unitlens.labels.by_words.settings import METHODS

        return () if self.words is None else tuple(self.settings.get("methods", METHODS))

    def open_encoder(self) -> Any:
        """Open the encoder; None where it is neither named nor needed for words."""
        from unitlens.models.words.opening import BUNDLED, encoder

        if self.words is None and self.encoder is None:
            return None
        return encoder(self.encoder or BUNDLED, weights=self.weights)

    def kept_in(self, labels: Any, dissection: Any) -> list[str]:
        """Methods by which labels are there already that were made with these settings; all of them, or none."""
        from unitlens.labels.by_words.settings import listed_words

        there = [labels.methods.get(method) for method in self.methods]
        if not there or None in there:
            return []
        words = list(listed_words(dissection, self._listed))
        if any(record.settings.get("words") != words for record in there):
            return []  # which no encoder has to be opened for
        asked = self.asked_words(dissection, self.open_encoder()).settings(dissection.info["data"]["images"])
        known = asked.encoder_weights is not None
        kept = known and all(
            labels.made_with(method, asked.recorded(), layers=dissection.layers) for method in self.methods
        )
        return list(self.methods) if kept else []

    def without(self, methods: Collection[str], *, weighing: bool) -> "EncoderOptions":
        """The same without words, where their labels are by some methods; the encoder stays if it weighs others."""
        from unitlens.models.words.opening import BUNDLED

        if set(self.methods) & set(methods):
            encoder, weights = (self.encoder or BUNDLED, self.weights) if weighing else (None, None)
            return EncoderOptions(None, {}, encoder, weights)
        return self if weighing or self.words is not None else EncoderOptions(None, {}, None, None)

    def asked_words(self, dissection: Any, encoder: Any) -> Any:
        """The words for the units of a run, as an open encoder knows them; None where none were asked for."""
        from unitlens.labels.by_words.settings import asked_words

        if self.words is None:
            return None
        return asked_words(dissection, encoder, self._listed, **self.settings)

    @property
    def _listed(self) -> Any:
        return self.words if self.words in (None, "concepts", "imagenet", "nouns") else Path(self.words)


def take_word_options(given: dict[str, Any]) -> EncoderOptions:
    """Take the options of words and encoders out of those of the command.

    Raises
    ------
    UnitlensError
        If some of them were given without what they are for.
    """
    taken = {python: given.pop(name) for name, python in _OF_WORDS.items()}
    words, encoder, weights = (given.pop(name) for name in ("words", "encoder", "encoder_weights"))
    alone = next((name for name, python in _OF_WORDS.items() if taken[python] is not None), None)
    if words is None and alone is not None:
        raise UnitlensError(
            f"--{alone.replace('_', '-')} is for words: add --words concepts, imagenet, nouns or a file of words."
        )
    if words is None and encoder is None and weights is not None:
        raise UnitlensError("--encoder-weights are those of an encoder: add --encoder ENCODER, or --words LIST.")
    if taken["methods"] is not None:
        taken["methods"] = [name.strip() for name in taken["methods"].split(",")]
    return EncoderOptions(words, {name: value for name, value in taken.items() if value is not None}, encoder, weights)
