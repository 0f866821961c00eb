"""What every table of labels is read beside: the concepts of the dissection, and labels that cost nothing."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from unitlens.dissection.result import Dissection
from unitlens.labels.columns import BASELINES, DISSECTION
from unitlens.labels.result import Labels
from unitlens.stats.folds import iou_in

_VERDICTS = {"chance": "chance", "silent": "untested", "nonfinite": "untested"}


def dissection_labels(run: Dissection) -> Labels:
    """The concepts of units.csv as labels of the method ``dissection``, with the evidence that is there for them.

    Parameters
    ----------
    run : Dissection

    Returns
    -------
    Labels
        Held out is as in units.csv: the concept is chosen on each half of the folds and scored on the other.
        ``even_label`` is what the even folds choose.
    """
    table = run.table()
    table = table[table["concept"].notna() & (table["concept"] != "")]
    names = dict(zip(_pairs(run), run.concepts, strict=True))
    even = {layer: _even_concepts(run, layer) for layer in run.layers}
    columns = {"heldout_score": "heldout_iou", "chance_score": "chance_iou"}
    columns |= {name: name for name in ("chance_sd", "p_value", "q_value")}
    rows = []
    for unit in table.to_dict("records"):
        row: dict[str, Any] = {"layer": unit["layer"], "unit": unit["unit"], "score": unit["iou"]}
        row["label"] = names[f"{unit['category']}/{unit['concept']}"]
        row["even_label"] = even[unit["layer"]][unit["unit"]]
        row |= {name: unit[column] for name, column in columns.items()}
        tested = np.isfinite(unit["q_value"] if unit["q_value"] is not None else np.nan)
        row["verdict"] = _VERDICTS.get(unit["verdict"], "supported") if tested else "untested"
        rows.append(row)
    return Labels.of(run, DISSECTION, rows, settings={"chosen_on": "these"})


def _even_concepts(run: Dissection, layer: str) -> list[str]:
    """The concept of each unit that the images of the even folds choose; empty where its mask meets none there."""
    iou = iou_in(run[layer].counts, "even")
    return [run.concepts[column] if best > 0 else "" for column, best in zip(iou.argmax(1), iou.max(1), strict=True)]


def baseline_labels(run: Dissection, *, seed: int = 0) -> Labels:
    """Labels that look at no unit, beside which those of a method have to be better.

    Parameters
    ----------
    run : Dissection
    seed : int
        Of the random concepts.

    Returns
    -------
    Labels
        By three methods: every unit the concept that is marked at most positions of the run; a random concept each; and
        the concept of another unit of the layer, so that all units together have the words that the dissection found.

    Examples
    --------
    >>> import unitlens as ul
    >>> run = ul.dissect(ul.load("bundled:scenes"), None, ul.Scenes(24), evidence=False, exemplars=0)
    >>> list(ul.baseline_labels(run).methods)[0]
    'baseline: most common concept'
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in BASELINES}
    for layer in run.layers:
        counts = run[layer].counts
        units = np.arange(len(counts.active))
        chosen = (
            np.full(len(units), int(counts.concept.argmax())),
            rng.integers(0, len(run.concepts), len(units)),
            _of_others(run[layer], rng),
        )
        for method, columns in zip(BASELINES, chosen, strict=True):
            rows[method] += list(_rows(layer, columns.tolist(), run.concepts))
    settings = {"seed": seed, "chosen_on": "other"}
    made = [Labels.of(run, method, rows[method], settings=settings) for method in BASELINES]
    return made[0].joined(*made[1:])


def _rows(layer: str, columns: list[int], concepts: list[str]) -> Iterator[dict[str, Any]]:
    for unit, column in enumerate(columns):
        if column >= 0:
            yield {"layer": layer, "unit": unit, "label": concepts[column], "verdict": "untested"}


def _of_others(run: Dissection, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each unit that has a concept that of the unit which comes after it in a random order; -1 for the others."""
    table, pairs = run.table(), {pair: column for column, pair in enumerate(_pairs(run))}
    written = table["category"].fillna("") + "/" + table["concept"].fillna("")
    own = np.array([pairs.get(pair, -1) for pair in written], np.int64)
    order = rng.permutation(np.flatnonzero(own >= 0))
    out = np.full(len(own), -1, np.int64)
    out[order] = np.roll(own[order], 1)
    return out


def _pairs(run: Dissection) -> list[str]:
    return [f"{concept['category']}/{concept['name']}" for concept in run.info["data"]["concepts"]]
