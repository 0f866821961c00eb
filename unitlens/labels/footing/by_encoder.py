"""Labels that are no concept of the run, weighed by an encoder of images and words in place of masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.layers import LayerMaps
from unitlens.errors import UnitlensError
from unitlens.labels.by_words.vectors import Sight
from unitlens.labels.footing.meanings import ConceptNames, meanings_of
from unitlens.labels.footing.simulation import UNKNOWN, Simulation, correlation, simulation
from unitlens.labels.footing.weighing import held_out_halves, unweighed, weigh
from unitlens.labels.result import Labels
from unitlens.models.words.encoder import Encoder
from unitlens.plurals import counted
from unitlens.stats.draws.partners import Partners
from unitlens.stats.scores import AnyInts, Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.floating]


class Texts(NamedTuple):
    """Labels as an encoder reads them.

    Attributes
    ----------
    vectors : mapping of str to float array, (D,)
        Of the labels that it can read, of length 1.
    refused : UnitlensError or None
        What it says of the first that it cannot read; None where it reads all.
    """

    vectors: Mapping[str, Vectors]
    refused: UnitlensError | None


def read_texts(encoder: Encoder, labels: Sequence[str]) -> Texts:
    """Read labels; where some cannot be read, as they hold words that the encoder does not know, the others are."""
    try:
        return Texts(dict(zip(labels, encoder.encode_words(labels).numpy(), strict=True)), None)
    except UnitlensError as error:
        first = error
    vectors = {}
    for label in labels:
        try:
            vectors[label] = encoder.encode_words([label])[0].numpy()
        except UnitlensError:
            continue
    return Texts(vectors, first)


def waiting(labels: Labels, names: ConceptNames) -> list[str]:
    """The labels that have no evidence and are no concept of the run: those that an encoder can weigh."""
    rows = labels.rows
    open_to = [any(held_out_halves(labels, method)) for method in rows["method"]]
    texts = list(dict.fromkeys(rows["label"][unweighed(rows) & np.array(open_to, bool)]))
    meanings = meanings_of(texts, names)
    return [text for text in texts if text not in meanings]


def check_texts(labels: Labels, names: ConceptNames, encoder: Encoder) -> None:
    """Make sure before a pass that an encoder can read some of the labels that it is to weigh, if there are any.

    Raises
    ------
    UnitlensError
        If it can read none.
    """
    texts = waiting(labels, names)
    found = read_texts(encoder, texts) if texts else Texts({}, None)
    if found.refused is not None and not found.vectors:
        raise UnitlensError(f"{encoder.name} can read none of the labels that are no concept: {found.refused}")


def weigh_by_encoder(
    labels: Labels,
    among: Ints,
    sight: Sight,
    partners: Partners,
    *,
    fdr: float,
) -> Labels:
    """Weigh labels that no masks can weigh: by the correlation of units' peaks with how near images are to the label.

    Parameters
    ----------
    labels : Labels
    among : int64 array
        Places of rows that may be weighed; those that have evidence, or of which nothing says what chose them, are not.
    sight : Sight
        The images of the run as an encoder sees them.
    partners : Partners
        The image whose vector each image is given in each draw.
    fdr : float

    Returns
    -------
    Labels
        With simulation, evidence and verdict of these rows. Their score is the correlation over all images, unless they
        have one.
    """
    rows = labels.rows.copy()
    held_out = {method: held_out_halves(labels, method) for method in labels.methods}
    open_to = np.array([any(held_out[method]) for method in rows.loc[among, "method"]], bool)
    chosen = among[unweighed(rows.loc[among]) & open_to]
    if not len(chosen):
        return labels
    texts = read_texts(sight.encoder, list(dict.fromkeys(rows.loc[chosen, "label"])))
    known = chosen[rows.loc[chosen, "label"].isin(list(texts.vectors)).to_numpy(bool)]
    images, stored = sight.vectors.astype(np.float64), sight.stored
    for layer in dict.fromkeys(rows.loc[known, "layer"]):
        own = known[(rows.loc[known, "layer"] == layer).to_numpy(bool)]
        seen = _Seen(stored.layers[layer], stored.folds, images, partners)
        for method in dict.fromkeys(rows.loc[own, "method"]):
            some = own[(rows.loc[own, "method"] == method).to_numpy(bool)]
            _fill(rows, some, seen, texts, np.asarray(held_out[method], bool), fdr=fdr)
    return _noted(replace(labels, rows=rows), chosen, known, sight.encoder, texts)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A layer, and the images as an encoder sees them, (N, D)."""

    layer: LayerMaps
    folds: AnyInts
    images: Floats
    partners: Partners


def _fill(rows: "pd.DataFrame", some: Ints, seen: _Seen, texts: Texts, held_out: Bools, *, fdr: float) -> None:
    """Fill in what is found of the labels of one method and layer."""
    counted_images, labels = held_out[seen.folds % 2], rows.loc[some, "label"].tolist()
    found: list[Simulation] = [UNKNOWN] * len(some)
    scores, drawn = np.full(len(some), np.nan), np.full((len(some), len(seen.partners)), np.nan)
    units = rows.loc[some, "unit"].tolist()
    by_unit = seen.layer.peaks_by_unit(units)
    for place, unit in enumerate(units):
        peaks = by_unit.read(unit).astype(np.float64)
        near = seen.images @ texts.vectors[labels[place]].astype(np.float64)
        found[place] = simulation(near, peaks, seen.folds, counted_images)
        scores[place] = correlation(near, peaks, np.ones(len(near), bool))
        drawn[place] = [correlation(near[others], peaks, counted_images) for others in seen.partners]
    rows.loc[some, ["simulation", "simulation_low", "simulation_high"]] = np.array(found)
    values = np.array([one.value for one in found])
    weigh(rows, some, values, drawn, np.isnan(values), fdr=fdr)
    rows.loc[some, "score"] = np.where(rows.loc[some, "score"].isna(), scores, rows.loc[some, "score"])


def _noted(labels: Labels, chosen: Ints, known: Ints, encoder: Encoder, texts: Texts) -> Labels:
    """Labels whose methods say which encoder weighed them, and what it could not read."""
    methods = dict(labels.methods)
    for method in dict.fromkeys(labels.rows.loc[chosen, "method"]):
        asked, read = (int((labels.rows.loc[part, "method"] == method).sum()) for part in (chosen, known))
        notes = [f"{encoder.name} weighs {counted(read, 'label')} by {method} that masks cannot weigh."] if read else []
        if read < asked:
            notes.append(f"{encoder.name} cannot read {counted(asked - read, 'label')} by {method}: {texts.refused}")
        record = methods[method]
        by = {"encoder": encoder.name, "encoder_weights": encoder.weights} if read else {}
        methods[method] = replace(
            record, settings={**record.settings, **by}, notes=tuple(dict.fromkeys((*record.notes, *notes)))
        )
    return replace(labels, methods=methods)
