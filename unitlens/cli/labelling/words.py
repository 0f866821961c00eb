"""Options of `unitlens label` for words, and what they ask for."""

from pathlib import Path
from typing import Any

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
        help="open_clip:NAME[:TAG], hf:NAME_OR_FOLDER, path/to/file.py:callable; with --words. [bundled:scenes-words]",
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
)


def take_word_options(given: dict[str, Any]) -> dict[str, Any] | None:
    """Take the options of words out of those of the command; None where no words were asked for.

    Raises
    ------
    UnitlensError
        If some of them were given without --words.
    """
    from unitlens.labels.by_words.settings import METHODS

    taken = {
        name: given.pop(name) for name in ("words", "encoder", "encoder_weights", "word_methods", "word_exemplars")
    }
    if taken["words"] is None:
        alone = next((name for name, value in taken.items() if value is not None), None)
        if alone is not None:
            raise UnitlensError(
                f"--{alone.replace('_', '-')} is for words: add --words concepts, imagenet, nouns or a file of words."
            )
        return None
    asked = taken.pop("word_methods")
    taken["methods"] = METHODS if asked is None else [name.strip() for name in asked.split(",")]
    return taken


def asked_words(dissection: Any, asked: dict[str, Any]) -> Any:
    """Open the encoder and the words that were asked for, for the units of a run."""
    from unitlens.labels.by_words.settings import asked_words
    from unitlens.models.words.opening import BUNDLED, encoder

    return asked_words(
        dissection,
        encoder(asked["encoder"] or BUNDLED, weights=asked["encoder_weights"]),
        asked["words"] if asked["words"] in ("concepts", "imagenet", "nouns") else Path(asked["words"]),
        methods=asked["methods"],
        exemplars=asked["word_exemplars"],
    )
