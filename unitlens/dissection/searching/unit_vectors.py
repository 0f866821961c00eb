"""Units in the space of an encoder of images and words, so that they are found by any words, and by images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from unitlens.data.inmemory.images import pixels_of
from unitlens.errors import UnitlensError, argument, spelled
from unitlens.files import read_arrays
from unitlens.models.words.encoder import Encoder, TextImageEncoder
from unitlens.models.words.opening import BUNDLED
from unitlens.models.words.opening import encoder as opened_encoder
from unitlens.stats.scores import share

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.floating]

VECTORS = "labels.safetensors"
_ABOUT, _WORDS, _SPREAD, _UNITS = "about", "words", "spread", "units/"


@dataclass(frozen=True, eq=False, repr=False)
class UnitVectors:
    """The units of a run in the space of an encoder.

    With these, the correlation over all images of a unit's peak with the cosine of image and query is known for any
    query: ``units @ query / sqrt(query @ spread @ query)``.

    Attributes
    ----------
    encoder : str
        Its name.
    weights : str or None
        SHA-256 of its weights, where it is known.
    words : tuple of str
        A list of words.
    word_vectors : float32 array, (W, D)
        Theirs, of length 1.
    spread : float32 array, (D, D)
        Covariance of the images' vectors.
    units : mapping of str to float32 array, (U, D)
        Of each layer: covariance of the images' vectors with each unit's peaks, which are brought to variance 1; 0 of
        units whose peaks are all the same.
    """

    encoder: str
    weights: str | None
    words: tuple[str, ...]
    word_vectors: Floats
    spread: Floats
    units: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        words: Sequence[str],
        word_vectors: Floats,
        image_vectors: Floats,
        peaks: Mapping[str, Floats],
    ) -> "UnitVectors":
        """Sum up the images of a run.

        Parameters
        ----------
        encoder : Encoder
        words : sequence of str
        word_vectors : float array, (W, D)
        image_vectors : float array, (N, D)
        peaks : mapping of str to float array, (N, U)
            Largest activation of each image, by layer.
        """
        centred = image_vectors.astype(np.float64) - image_vectors.mean(0, dtype=np.float64)
        units = {}
        for layer, values in peaks.items():
            above = values.astype(np.float64) - values.mean(0, dtype=np.float64)
            units[layer] = share(centred.T @ above, len(centred) * above.std(0)[None]).T.astype(np.float32)
        spread = (centred.T @ centred / len(centred)).astype(np.float32)
        return cls(encoder.name, encoder.weights, tuple(words), word_vectors.astype(np.float32), spread, units)

    def scores(self, queries: Floats) -> dict[str, Floats]:
        """Correlation of each unit's peaks with each query's cosines, (U, Q), by layer; 0 where one is constant.

        Parameters
        ----------
        queries : float array, (Q, D)
        """
        vectors = queries.astype(np.float64)
        length = np.sqrt(((vectors @ self.spread) * vectors).sum(1).clip(0))
        return {layer: share(units @ vectors.T, length[None]) for layer, units in self.units.items()}

    def query_vector(self, query: Any, encoder: TextImageEncoder | str | None = None) -> Floats:
        """The vector of words or an image, (D,).

        Parameters
        ----------
        query : str, or image
            Words; or an image: Pillow's, an array, a tensor, or a Path.
        encoder : optional
            Of these vectors, as for `unitlens.encoder`; needed for words of no list, but for the bundled encoder's.

        Raises
        ------
        UnitlensError
            If the encoder is needed, or another one.
        """
        if isinstance(query, str) and query in self.words and encoder is None:
            return np.asarray(self.word_vectors[self.words.index(query)])
        opened = self.open_encoder(encoder)
        if isinstance(query, str):
            return np.asarray(opened.encode_words([query])[0].numpy())
        pixels = pixels_of(query, "to search by")
        rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
        return np.asarray(opened.encode_images(image)[0].numpy())

    def search(self, query: Any, *, n: int = 10, encoder: TextImageEncoder | str | None = None) -> "pd.DataFrame":
        """The units whose peaks go most with words, or with an image: layer, unit, score, the highest first.

        Parameters
        ----------
        query, encoder
            As for `query_vector`.
        n : int
            How many.

        Raises
        ------
        UnitlensError
            As `query_vector`, and if n is not 1 or more.

        Examples
        --------
        >>> import unitlens as ul
        >>> net, data = ul.load("bundled:scenes"), ul.Scenes(60)
        >>> d = ul.dissect(net, "relu6", data, exemplars=0)
        >>> labels = ul.words(d, net=net, data=data, methods=["correlation"])
        >>> d.search("striped animal", labels.vectors, n=3).columns.tolist()
        ['layer', 'unit', 'score', 'concept', 'iou']
        """
        import pandas as pd

        if n < 1:
            raise UnitlensError(f"n is {n}; it is a number of units, 1 or more.")
        found = self.scores(self.query_vector(query, encoder)[None])
        rows = [
            {"layer": layer, "unit": unit, "score": float(score)}
            for layer, scores in found.items()
            for unit, score in enumerate(scores[:, 0])
        ]
        table = pd.DataFrame(rows).sort_values("score", ascending=False, kind="stable")
        return table.head(n).reset_index(drop=True)

    def of_layers(self, layers: Sequence[str]) -> "UnitVectors":
        """Those of some layers.

        Raises
        ------
        UnitlensError
            If there are none of one.
        """
        missing = next((layer for layer in layers if layer not in self.units), None)
        if missing is not None:
            raise UnitlensError(f"The units of {missing} have no vectors; those of {', '.join(self.units)} have some.")
        return replace(self, units={layer: self.units[layer] for layer in layers})

    def to_bytes(self) -> bytes:
        """What labels.safetensors holds."""
        from safetensors.numpy import save

        about = json.dumps({"encoder": self.encoder, "weights": self.weights, "words": list(self.words)})
        arrays = {
            _ABOUT: np.frombuffer(about.encode(), np.uint8),
            _WORDS: self.word_vectors,
            _SPREAD: self.spread,
            **{f"{_UNITS}{layer}": vectors for layer, vectors in self.units.items()},
        }
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})

    def open_encoder(self, encoder: TextImageEncoder | str | None = None) -> Encoder:
        """Open the encoder of these vectors; one that a file names is opened only where it is the bundled one.

        Raises
        ------
        UnitlensError
            If it has to be given, or another one is.
        """
        if encoder is None and self.encoder != BUNDLED:
            raise UnitlensError(
                f"The units were placed among words by {self.encoder}, which is not opened unasked: give it with "
                f"{argument('encoder')}, or search by a word of the list."
            )
        opened = opened_encoder(self.encoder if encoder is None else encoder)
        if self.weights is not None and opened.weights != self.weights:
            raise UnitlensError(
                f"{opened.name} is another encoder than the one that placed the units among words, {self.encoder}: "
                "their vectors are not of one space."
            )
        return opened

    def __repr__(self) -> str:
        units = sum(map(len, self.units.values()))
        return f"<UnitVectors of {units} units and {len(self.words)} words by {self.encoder}>"


def kept_vectors(folder: Path) -> Path | None:
    """The file of a run that has its units in the space of words; None where no words named them."""
    return folder / VECTORS if (folder / VECTORS).is_file() else None


def given_or_read(vectors: UnitVectors | None, path: Path | None) -> UnitVectors:
    """Vectors that are given, or else those of a run.

    Raises
    ------
    UnitlensError
        If there are none.
    """
    if vectors is not None:
        return vectors
    if path is None:
        raise UnitlensError(
            "Words have not named the units of this run, so that they cannot be searched by them: "
            + spelled(python="give the vectors of ul.words(...).", shell="label the run with --words first.")
        )
    return read_vectors(path)


def read_vectors(path: Path) -> UnitVectors:
    """Read labels.safetensors.

    Raises
    ------
    UnitlensError
        If it is not there, or damaged.
    """
    try:
        arrays = read_arrays(path)
        about = json.loads(bytes(arrays[_ABOUT].astype(np.uint8)).decode())
        words = tuple(about["words"])
        name, weights = about["encoder"], about["weights"]
        texts = (*words, name, *(() if weights is None else (weights,)))
        units = {key.removeprefix(_UNITS): array for key, array in arrays.items() if key.startswith(_UNITS)}
        size = arrays[_SPREAD].shape[0]
        shapes = [arrays[_WORDS].shape == (len(words), size), arrays[_SPREAD].shape == (size, size)]
        shapes += [array.ndim == 2 and array.shape[1] == size for array in units.values()]
        numbers = [arrays[_WORDS], arrays[_SPREAD], *units.values()]
        sound = all(shapes) and all(isinstance(text, str) for text in texts) and bool(units)
        if not sound or not all(array.dtype == np.float32 and np.isfinite(array).all() for array in numbers):
            raise ValueError("its arrays do not fit together")
    except (KeyError, ValueError, TypeError, IndexError, RecursionError, UnitlensError) as error:
        raise UnitlensError(f"{path} is damaged ({error}): label the run with words again.") from None
    return UnitVectors(name, weights, words, arrays[_WORDS], arrays[_SPREAD], units)
