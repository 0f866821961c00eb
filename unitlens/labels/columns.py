"""The columns of labels.csv, which holds the labels of all methods."""

import unicodedata
from collections.abc import Mapping

COLUMNS: Mapping[str, str] = {
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "method": "what named it: see docs/labels.md",
    "rank": "1 for the best label that the method has for the unit, or for a range of its activation",
    "label": "the label: a word, a formula (apple AND NOT basket) or any text",
    "also": "other labels of the method that fit as well, as a JSON list; empty where there are none",
    "range_low": "of a range of activation: values above this; empty where the label is of the unit's mask",
    "range_high": "of a range of activation: values up to this",
    "share": "share of the positions of the range that the label holds, in [0, 1]",
    "score": "the method's own score of the label, in all images",
    "bound": "of a formula: none of its length has a higher score; the score itself, where that is proven",
    "heldout_score": "the same in images that did not choose the label; empty where there are too few",
    "chance_score": "mean of what the method reaches with the labels of other images",
    "chance_sd": "standard deviation of that over draws",
    "p_value": "of a score as high with the labels of other images",
    "q_value": "Benjamini and Hochberg's, over the units of the layer and the labels of the method",
    "verdict": "what the evidence says: see docs/labels.md",
    "iou": "IoU of the unit's mask and what the label means, where masks say what that is",
    "auprc": "area under the precision-recall curve of the unit's activation as a test of where that is",
    "correlation": "correlation of the unit's activation with where that is",
    "even_label": "the label that images of the even folds choose, by which the unit is simulated in the others; empty "
    "where images of the run do not choose the label",
    "simulation": "correlation of the unit's peaks with what the label predicts, in images that did not choose it: by "
    "even_label, in those of the odd folds",
    "simulation_low": "lower end of its 95 % interval (jackknife); empty below 8 folds of such images",
    "simulation_high": "its upper end",
    "effect": "mean change of the logit of an image's class when the unit is removed, in images that hold the concept",
    "effect_low": "lower end of its 95 % interval (jackknife); empty below 8 folds of such images",
    "effect_high": "its upper end",
}
"""Name and meaning of every column, in their order."""

TEXT = ("layer", "method", "label", "also", "verdict", "even_label")
"""Columns that are text; all others are numbers."""

WHOLE = ("unit", "rank")
"""Columns of whole numbers; all other numbers are float64, and may be missing."""

VERDICTS: Mapping[str, str] = {
    "supported": "fits images that did not choose it, more than the labels of other images do",
    "no gain": "a formula, of which a part alone fits as well, as far as chance can tell",
    "chance": "not distinguishable from what the method finds with the labels of other images",
    "untested": "nothing says what the label means in these images, or they are too few for a test",
}
"""What each says of a label, best first."""

ABOVE_CHANCE = ("supported", "no gain")
"""Verdicts of labels that fit more than the labels of other images do."""

DISSECTION = "dissection"
"""The method of the concepts in units.csv."""

BASELINES = ("baseline: most common concept", "baseline: random concept", "baseline: concept of another unit")
"""Methods that look at no unit."""

REFERENCES = (DISSECTION, *BASELINES)
"""Methods with which others are compared; cards do not show them."""

BUILT_IN = ("formulas", "ranges", "soft_wpmi", "crops", "correlation", *REFERENCES)
"""Methods of unitlens itself, whose names labels from elsewhere cannot have."""


def one_line(text: str) -> str:
    r"""A label or name as one line of text: line ends and other control characters become blanks.

    Examples
    --------
    >>> one_line("a green\r\nthing")
    'a green  thing'
    """
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def is_unicode(text: str) -> bool:
    """Whether a file can hold a text: not where it has halves of characters (surrogates)."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
