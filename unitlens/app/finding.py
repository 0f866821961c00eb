"""Units that go with any words, or with an image: what the page searches by, where words have named units."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.searching.unit_vectors import Floats, UnitVectors
from unitlens.errors import UnitlensError
from unitlens.models.words.encoder import Encoder
from unitlens.records import check_types

MOST_LETTERS = 200
"""Of the words that are searched by."""

NAMED = 3
"""So many units are named in a sentence."""


@dataclass(frozen=True)
class Query:
    """What units of a layer are searched by: words or an image, one of the two.

    Attributes
    ----------
    layer : str
    words : str or None
    image : str or None
        As of `unitlens.app.exploring.SeenImage`; of a generator the number of a scene.
    """

    layer: str
    words: str | None
    image: str | None

    def __post_init__(self) -> None:
        check_types(self)
        if (self.words is None) == (self.image is None):
            raise UnitlensError("Units are searched by words or by an image, one of the two.")
        if self.words is not None and not 0 < len(self.words.strip()) <= MOST_LETTERS:
            raise UnitlensError(f"Units are searched by words of 1 to {MOST_LETTERS} letters, not {len(self.words)}.")


@dataclass(frozen=True)
class UnitSearch:
    """Units in the space of an encoder.

    Attributes
    ----------
    vectors : UnitVectors
    encoder : Encoder or None
        Theirs; without it, units are found by the words of the list alone.
    """

    vectors: UnitVectors
    encoder: Encoder | None

    def scores(self, layer: str, query: str | npt.NDArray[np.uint8]) -> Floats:
        """Correlation of each unit's peaks with the query over the run's images, (U,).

        Parameters
        ----------
        layer : str
        query : str, or uint8 array, (height, width, 3)
            Words; or an image.

        Raises
        ------
        UnitlensError
            If the layer's units have no vectors, or the encoder is needed and was not named.
        """
        vectors = self.vectors.of_layers([layer])
        if isinstance(query, str):
            query = query.strip() if self.encoder is not None else self._listed(query.strip())
        return vectors.scores(vectors.query_vector(query, self.encoder)[None])[layer][:, 0]

    def found(self, asked: Query, pixels: Callable[[str], npt.NDArray[np.uint8]]) -> dict[str, Any]:
        """What the page is told of a query.

        Parameters
        ----------
        asked : Query
        pixels : function
            From the name of an image to the image, (height, width, 3).
        """
        scores = self.scores(asked.layer, asked.words or pixels(asked.image or ""))
        return {"scores": scores, "sentence": self.sentence(asked.layer, asked.words, scores)}

    def described(self) -> dict[str, Any]:
        """What the page is told."""
        return {
            "encoder": self.vectors.encoder,
            "any": self.encoder is not None,
            "words": self.vectors.words[:NAMED],
        }

    def sentence(self, layer: str, words: str | None, scores: Floats) -> str:
        """Say which units go with words or, without, with the image."""
        quoted = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"
        query = "this image" if words is None else words.strip().join(quoted)
        seen = f"as {self.vectors.encoder} sees the run's images"
        first = [unit for unit in np.argsort(-scores, kind="stable")[:NAMED].tolist() if scores[unit] > 0]
        if not first:
            return f"No unit of {layer} goes with {query}, {seen}."
        units = ", ".join(f"{unit} ({scores[unit]:.2f})" for unit in first)
        return f"The units of {layer} that go most with {query}, {seen}, and their correlation: {units}."

    def _listed(self, query: str) -> str:
        """The word of the list that a query is, whatever its case."""
        known = {word.lower(): word for word in self.vectors.words}
        return known.get(query.lower(), query)


def search_of(search: UnitSearch | None) -> UnitSearch:
    """The search of a page.

    Raises
    ------
    UnitlensError
        If words have not named the units of its run.
    """
    if search is None:
        raise UnitlensError("Words have not named the units of this run: label it by words to search it by them.")
    return search
