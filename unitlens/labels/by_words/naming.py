"""Words for units: three methods by an encoder of images and words, under the evidence that all labels have."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import numpy.typing as npt
from torch import nn

from unitlens.data.concepts import Data
from unitlens.dissection.draws import plain_draws
from unitlens.dissection.exemplars.strongest import Variety
from unitlens.dissection.result import Dissection
from unitlens.dissection.searching.unit_vectors import UnitVectors
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.run_pass import PassOptions, activations
from unitlens.labels.by_words import scores
from unitlens.labels.by_words.settings import METHODS, AskedWords, WordSettings, asked_words
from unitlens.labels.by_words.vectors import Sight, crop_vectors, first_exemplars
from unitlens.labels.footing.simulation import simulation
from unitlens.labels.halves import one_half_note
from unitlens.labels.result import Labels
from unitlens.models.network import Network
from unitlens.models.words.encoder import Encoder, TextImageEncoder
from unitlens.stats.chance import association
from unitlens.stats.draws.partners import Partners
from unitlens.stats.scores import Bools

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

_FEWEST_DRAWS = 2
_ALSO = 4
"""Words beside the best that are named at most."""


def words(
    run: Dissection,
    encoder: "str | TextImageEncoder" = "bundled:scenes-words",
    words: "str | Path | Iterable[str]" = "concepts",
    *,
    net: Network | nn.Module | None = None,
    data: "Data | str | Path | None" = None,
    methods: Sequence[str] = METHODS,
    exemplars: int | None = None,
    crops: int = 10,
    pooling: Literal["max", "mean"] = "max",
    **passing: Unpack[PassOptions],
) -> Labels:
    """Name the units of a run by words, with an encoder of images and words in place of masks.

    Parameters
    ----------
    run : Dissection
    encoder : str or TextImageEncoder
        As for `unitlens.encoder`.
    words : str, Path or iterable of str
        "concepts" (of the run), "imagenet", "nouns", a file with a word a line, or the words; see
        `unitlens.labels.by_words.lists.word_list`.
    net, data : optional
        Those of the run; needed where it did not keep its activations with its images.
    methods : sequence of {"soft_wpmi", "crops", "correlation"}
        By the images of highest activation (CLIP-Dissect), by what the unit's mask holds of its exemplars, and by all
        images.
    exemplars : int, optional
        Images of highest activation that soft_wpmi takes; a twentieth of the images, 10 to 100, unless given.
    crops : int
        Exemplars of which crops are taken.
    pooling : {"max", "mean"}
        What of a unit's activations in an image counts.
    **passing
        ``basis``, ``batch_size``, ``workers``, ``store_limit`` and ``progress``, as for `unitlens.activations`.

    Returns
    -------
    Labels
        A row for each unit that is not silent and each method: the word, its score on all images, and as evidence the
        score on one half of the folds of the word that the other half chose, both ways, averaged, compared with the
        same where images have the vectors of other images (crops: those of other units). ``vectors`` are of the units
        in the space of words, for `Labels.search`.

    Raises
    ------
    UnitlensError
        If there is no such encoder, list or method, the encoder does not know a word, or images are too few or missing.

    References
    ----------
    Oikarinen and Weng, "CLIP-Dissect: Automatic description of neuron representations in deep vision networks", ICLR
    2023.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(60)
    >>> run = ul.dissect(net, "relu6", data)
    >>> labels = ul.words(run, "bundled:scenes-words", ["sea", "tree", "red car"], net=net, data=data)
    >>> sorted(labels.methods)
    ['correlation', 'crops', 'soft_wpmi']
    """
    # Before a pass is made, as there may be no such words, or settings.
    asked = asked_words(run, encoder, words, methods=methods, exemplars=exemplars, crops=crops, pooling=pooling)
    with activations(run, net, data, images=True, **passing) as stored:
        progress = passing.get("progress", False)
        return words_of(run, Sight(stored, asked.encoder, progress), asked, progress=progress)


def words_of(run: Dissection, sight: Sight, asked: AskedWords, *, progress: bool = False) -> Labels:
    """Do the same with activations that are open, as the encoder sees them; see `words`."""
    began, stored = time.perf_counter(), sight.stored
    settings, vectors = asked.settings(stored.images), sight.vectors
    partners = plain_draws(stored, replace(run.settings, evidence=True)).partners
    seen = _Seen(stored, vectors, asked.vectors, partners)
    peaks = {layer: _pooled(stored.layers[layer], settings.pooling) for layer in run.layers}
    labels = [
        _labels(run, method, settings, seen, peaks, asked.encoder, began=began, show=progress)
        for method in settings.methods
    ]
    of_units = UnitVectors.of(asked.encoder, asked.words, asked.vectors, vectors, peaks)
    return replace(labels[0].joined(*labels[1:]), vectors=of_units)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A pass as an encoder sees it.

    Attributes
    ----------
    stored : StoredPass
    images : float32 array, (N, D)
    words : float32 array, (W, D)
    partners : Partners
        The image whose vector each image is given in each draw.
    """

    stored: StoredPass
    images: Floats
    words: Floats
    partners: Partners

    @property
    def similarity(self) -> Floats:
        """Cosine of each image with each word, (N, W)."""
        return np.asarray(self.images @ self.words.T)

    @property
    def halves(self) -> tuple[Bools, Bools]:
        """The images of the even and of the odd folds."""
        even = self.stored.folds % 2 == 0
        return even, ~even


@dataclass(frozen=True, eq=False)
class _Scored:
    """Scores of a method, units x words.

    Attributes
    ----------
    whole : float array, (U, W)
        On all images.
    halves : float array, (2, U, W)
        On the even and on the odd folds.
    drawn : iterator of float array, (2, U, W)
        The same as halves, where the vectors are those of other images.
    """

    whole: Floats
    halves: Floats
    drawn: Iterator[Floats]


def _labels(
    run: Dissection,
    method: str,
    settings: WordSettings,
    seen: _Seen,
    peaks: Mapping[str, Floats],
    encoder: Encoder,
    *,
    began: float,
    show: bool,
) -> Labels:
    """The labels of one method, of all layers."""
    rows: list[dict[str, Any]] = []
    table = run.table()
    for name in run.layers:
        of_layer = table[table["layer"] == name]
        speaking = np.flatnonzero(~(of_layer["silent"] | (of_layer["nonfinite"] > 0)).to_numpy(bool))
        if not len(speaking):
            continue
        if method == "crops":
            threshold = of_layer["threshold"].to_numpy(np.float64)
            layer = seen.stored.layers[name]
            scored = _by_crops(seen, layer, peaks[name], speaking, threshold, settings, encoder, show=show)
        elif method == "correlation":
            scored = _by_correlation(seen, peaks[name][:, speaking])
        else:
            scored = _by_soft_wpmi(seen, peaks[name][:, speaking], settings.exemplars)
        iou = _iou(run, name, settings.words)
        named = _rows(name, speaking, scored, settings.words, iou, fdr=run.settings.fdr)
        rows += [row | _simulated(row, seen, peaks[name], settings.words) for row in named]
    seconds = time.perf_counter() - began
    return Labels.of(
        run, method, rows, settings=settings.recorded(), seconds=seconds, notes=one_half_note(seen.stored.folds)
    )


def _simulated(row: Mapping[str, Any], seen: _Seen, peaks: Floats, words: Sequence[str]) -> dict[str, float]:
    """How well the similarity to the word that the even folds choose predicts the unit's peaks in the odd ones."""
    if not row["even_label"]:
        return {}
    similarity = np.asarray(seen.images @ seen.words[words.index(row["even_label"])], np.float64)
    found = simulation(similarity, peaks[:, row["unit"]].astype(np.float64), seen.stored.folds, seen.halves[1])
    return dict(zip(("simulation", "simulation_low", "simulation_high"), found, strict=True))


def _by_soft_wpmi(seen: _Seen, peaks: Floats, count: int) -> _Scored:
    likely, half = scores.word_probabilities(seen.similarity), max(1, count // 2)
    whole = first_exemplars(peaks, np.ones(len(peaks), bool), count)
    halves = [first_exemplars(peaks, images, half) for images in seen.halves]

    def on_halves(given: Floats) -> Floats:
        return np.stack([scores.soft_wpmi(given, exemplars) for exemplars in halves])

    drawn = (on_halves(likely[partners]) for partners in seen.partners)
    return _Scored(scores.soft_wpmi(likely, whole), on_halves(likely), drawn)


def _by_correlation(seen: _Seen, peaks: Floats) -> _Scored:
    similarity = seen.similarity

    def on_halves(given: Floats) -> Floats:
        return np.stack([scores.correlations(given[images], peaks[images]) for images in seen.halves])

    drawn = (on_halves(similarity[partners]) for partners in seen.partners)
    return _Scored(scores.correlations(similarity, peaks), on_halves(similarity), drawn)


def _by_crops(
    seen: _Seen,
    layer: LayerMaps,
    peaks: Floats,
    speaking: Ints,
    threshold: Floats,
    settings: WordSettings,
    encoder: Encoder,
    *,
    show: bool,
) -> _Scored:
    """Half of the crops are from the even folds; those that other units have stand in for those of other images."""
    variety = Variety.of(seen.stored)
    halves = [first_exemplars(peaks, images, settings.crops, variety) for images in seen.halves]
    both = crop_vectors(seen.stored, layer, np.concatenate(halves, axis=1), threshold, encoder, show=show)[speaking]
    parts = np.split(both, [halves[0].shape[1]], axis=1)  # a half that has few images has fewer crops
    random = np.random.default_rng((len(seen.partners), seen.partners.images))

    def on_halves(given: Sequence[Floats]) -> Floats:
        return np.stack([scores.above_others(scores.mean_crops(part), seen.words) for part in given])

    drawn = (on_halves([_exchanged(part, random) for part in parts]) for _ in seen.partners)
    return _Scored(scores.above_others(scores.mean_crops(both), seen.words), on_halves(parts), drawn)


def _exchanged(crops: Floats, random: np.random.Generator) -> Floats:
    """The same crops, dealt to the units anew."""
    flat = crops.reshape(-1, crops.shape[2])
    return np.asarray(flat[random.permutation(len(flat))].reshape(crops.shape))


def _iou(run: Dissection, layer: str, words: Sequence[str]) -> Floats:
    """IoU of each unit with the concept that a word is the name of, (U, W); NaN where it is that of none."""
    iou, known = run[layer].counts.iou, run.concepts
    columns = [known.index(word) if word in known else -1 for word in words]
    return np.where(np.array(columns) >= 0, iou[:, columns], np.nan)


def _rows(
    layer: str, units: Ints, scored: _Scored, words: Sequence[str], iou: Floats, *, fdr: float
) -> list[dict[str, Any]]:
    """The best word of each unit, and the evidence for it."""
    heldout = held_out(scored.halves)
    of_draws = [held_out(halves) for halves in scored.drawn]
    drawn = np.stack(of_draws, axis=1) if of_draws else np.empty((len(units), 0))
    nothing = np.isnan(heldout)
    tested = association(np.nan_to_num(heldout), np.nan_to_num(drawn), nothing, fdr=fdr)
    chance, chance_sd = np.where(nothing, np.nan, tested[:2])
    untested = nothing | (drawn.shape[1] < _FEWEST_DRAWS)
    best, even = scored.whole.argmax(1), scored.halves[0].argmax(1)
    rows = []
    for place, unit in enumerate(units.tolist()):
        row = scored.whole[place]
        rows.append(
            {
                "layer": layer,
                "unit": unit,
                "label": words[best[place]],
                "also": _also(row, chance_sd[place], words),
                "score": row[best[place]],
                "heldout_score": heldout[place],
                "chance_score": chance[place],
                "chance_sd": chance_sd[place],
                "p_value": tested.p_value[place],
                "q_value": tested.q_value[place],
                "even_label": "" if nothing[place] else words[even[place]],
                "iou": iou[unit, best[place]],
                "verdict": "untested" if untested[place] else _verdict(tested.q_value[place], fdr),
            }
        )
    return rows


def _verdict(q_value: float, fdr: float) -> str:
    return "supported" if q_value <= fdr else "chance"


def _also(row: Floats, chance_sd: float, words: Sequence[str]) -> str:
    """Words whose score lies within the standard deviation of chance below the best, as a JSON list."""
    order = np.argsort(-row, kind="stable")[: 1 + _ALSO]
    near = [words[word] for word in order[1:] if row[order[0]] - row[word] <= chance_sd]
    return json.dumps(near, ensure_ascii=False) if near else ""


def _pooled(layer: LayerMaps, pooling: str) -> Floats:
    """Largest or mean activation of each unit in each image, (N, U)."""
    images = range(layer.peaks.count)
    if pooling == "max" or layer.sums is None:
        return np.asarray(layer.peaks.read(images))
    return np.asarray(layer.sums.read(images))  # as many positions in each: what the mean ranks


def held_out(halves: Floats) -> Floats:
    """The score on one half of the word that the other half chose; both ways, averaged, (U,).

    Parameters
    ----------
    halves : float array, (2, U, W)
        Scores on the even and on the odd folds.
    """
    chosen = halves.argmax(2)[::-1]
    return np.asarray(np.take_along_axis(halves, chosen[:, :, None], 2)[:, :, 0].mean(0))
