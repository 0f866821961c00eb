"""Every table of a run folder, and what its columns mean. docs/tables.md says the same, and a test compares them."""

from collections.abc import Mapping
from typing import NamedTuple

from unitlens.ablation import agreement, random_sets
from unitlens.ablation import table as effects
from unitlens.ablation.outcomes import result as outcomes
from unitlens.comparison import columns as comparison
from unitlens.dissection import table as units
from unitlens.editing import tables as editing
from unitlens.explaining import confusions_result, explanation
from unitlens.explaining.pairs import attack_result, causal_labels_result, image_changes
from unitlens.explaining.subgroups import result as subgroups
from unitlens.labels import columns as labels


class TableDescription(NamedTuple):
    """A table of a run.

    Attributes
    ----------
    made_by : str
        The command that writes it, and the option that it takes.
    row : str
        What a row is.
    columns : mapping of str to str
        Name and meaning of each column, in their order.
    in_paper : tuple of str
        The columns that a paper's table has.
    """

    made_by: str
    row: str
    columns: Mapping[str, str]
    in_paper: tuple[str, ...]


_EXEMPLARS = {
    "layer": "the layer's name",
    "unit": "number of the unit",
    "rank": "1 for the image that excites it most",
    "image": "the image's name",
    "value": "the unit's largest activation in it",
    "peak_y": "where, as a share of the height of the network's input, in [0, 1]",
    "peak_x": "where, as a share of its width, in [0, 1]",
}
_GROUPS = {"image": "the image's name", "group": "the group that it belongs to: one draw in every statistic"}
_CONTROLS = {
    "control": "none for the network itself, else untrained (several: untrained seed 1, ...), rotated, "
    "random-dictionary or shuffled-dictionary"
}
_EFFECT = ("class", "measure", "before", "after", "effect", "low", "high")
_UNIT = ("unit", "concept", "iou", "iou_low", "iou_high", "heldout_iou")

TABLES: Mapping[str, TableDescription] = {
    "units.csv": TableDescription("dissect", "a unit", units.COLUMNS, _UNIT),
    "exemplars.csv": TableDescription("dissect", "a unit and image", _EXEMPLARS, tuple(_EXEMPLARS)),
    "controls.csv": TableDescription(
        "dissect (control)", "a unit of the network or a control", {**_CONTROLS, **units.COLUMNS}, ("control", *_UNIT)
    ),
    "groups.csv": TableDescription("dissect", "an image, where images belong together", _GROUPS, tuple(_GROUPS)),
    "causal_labels.csv": TableDescription(
        "dissect (pairs)",
        "a unit",
        causal_labels_result.COLUMNS,
        ("unit", "concept", "area_change", "other", "selectivity", "causal_verdict"),
    ),
    "labels.csv": TableDescription(
        "label", "a label of a unit", labels.COLUMNS, ("unit", "method", "label", "score", "heldout_score", "verdict")
    ),
    "effects.csv": TableDescription("ablate", "a set of units, class and measure", effects.COLUMNS, _EFFECT),
    "effects.random_sets.csv": TableDescription(
        "ablate",
        "a kind of sets that are drawn, measure and class",
        random_sets.COLUMNS,
        ("kind", "class", "measure", "effect", "mean", "low", "high"),
    ),
    "effects.attributions.csv": TableDescription(
        "ablate (attributions)",
        "a method of captum and class",
        agreement.AGREEMENT_COLUMNS,
        ("method", "class", "spearman", "overlap", "chance"),
    ),
    "outcomes.csv": TableDescription(
        "ablate (outcome)",
        "a set of units and outcome",
        outcomes.COLUMNS,
        ("outcome", "before", "after", "effect", "low", "high"),
    ),
    "audit.csv": TableDescription(
        "audit", "a unit and check", comparison.AUDIT_COLUMNS, ("unit", "concept", "check", "check_concept")
    ),
    "interventions.csv": TableDescription(
        "intervene",
        "a set of units and concept",
        editing.INTERVENTION_COLUMNS,
        ("units", "concept", "before", "after", "effect", "low", "high"),
    ),
    "interventions.what_changed.csv": TableDescription(
        "intervene", "a concept before and one after", editing.CHANGED_COLUMNS, tuple(editing.CHANGED_COLUMNS)
    ),
    "causal_effects.csv": TableDescription(
        "intervene (sweep)",
        "a unit and concept",
        editing.CAUSAL_COLUMNS,
        ("unit", "concept", "average_causal_effect", "low", "high"),
    ),
    "causal_effects.rankings.csv": TableDescription(
        "intervene (sweep)", "a concept", editing.RANKING_COLUMNS, ("concept", "rank_correlation", "shared")
    ),
    "insertions.csv": TableDescription(
        "intervene (map)",
        "a place and concept",
        editing.INSERTION_COLUMNS,
        ("concept", "places", "appeared", "random_appeared"),
    ),
    "concept_sets.csv": TableDescription(
        "intervene (share)",
        "a number of units",
        editing.SET_COLUMNS,
        ("units", "removed", "low", "high", "others_lost"),
    ),
    "drawn_detectors.csv": TableDescription(
        "intervene (detectors)",
        "a unit",
        editing.DETECTOR_COLUMNS,
        ("unit", "balanced_accuracy", "low", "high", "recall", "specificity"),
    ),
    "explanation.csv": TableDescription(
        "explain", "an image and unit", explanation.COLUMNS, ("image", "unit", "concept", "logit_effect")
    ),
    "explanation.concepts.csv": TableDescription(
        "explain", "an image and concept", explanation.CONCEPT_COLUMNS, ("image", "concept", "logit_effect")
    ),
    "explanation.sets.csv": TableDescription(
        "explain", "an image and set of units", explanation.SET_COLUMNS, ("image", "set", "size", "prediction")
    ),
    "explanation.attributions.csv": TableDescription(
        "explain (attributions)",
        "an image and method of captum",
        explanation.AGREEMENT_COLUMNS,
        ("image", "method", "spearman", "overlap"),
    ),
    "confusions.csv": TableDescription(
        "explain (errors)",
        "a class, the class that it is taken for, and a concept",
        confusions_result.COLUMNS,
        ("class", "predicted", "concept", "pull", "low", "high"),
    ),
    "pairs.csv": TableDescription(
        "compare-images", "a unit", image_changes.COLUMNS, ("unit", "concept", "peak_change", "peak_low", "peak_high")
    ),
    "pairs.images.csv": TableDescription(
        "compare-images", "a pair of images", image_changes.PAIR_COLUMNS, tuple(image_changes.PAIR_COLUMNS)
    ),
    "pairs.concepts.csv": TableDescription(
        "compare-images", "a concept", image_changes.CONCEPT_COLUMNS, ("concept", "change", "area_change")
    ),
    "pairs.matter.csv": TableDescription(
        "compare-images",
        "a way to rank the units that change",
        image_changes.MATTER_COLUMNS,
        tuple(image_changes.MATTER_COLUMNS),
    ),
    "attack.csv": TableDescription(
        "attack", "an image", attack_result.COLUMNS, ("image", "class", "target", "success", "linf", "l2")
    ),
    "attack.units.csv": TableDescription(
        "attack", "a unit", image_changes.COLUMNS, ("unit", "concept", "peak_change", "peak_low", "peak_high")
    ),
    "attack.concepts.csv": TableDescription(
        "attack", "a concept", image_changes.CONCEPT_COLUMNS, ("concept", "change", "area_change")
    ),
    "attack.matter.csv": TableDescription(
        "attack",
        "a way to rank the units that change",
        image_changes.MATTER_COLUMNS,
        tuple(image_changes.MATTER_COLUMNS),
    ),
    "shortcuts.csv": TableDescription(
        "shortcuts",
        "a set of units and subgroup",
        subgroups.COLUMNS,
        ("units", "subgroup", "before", "after", "effect"),
    ),
    "shortcuts.accuracy.csv": TableDescription(
        "shortcuts", "a subgroup", subgroups.ACCURACY_COLUMNS, tuple(subgroups.ACCURACY_COLUMNS)
    ),
    "shortcuts.images.csv": TableDescription(
        "shortcuts", "an image", subgroups.IMAGE_COLUMNS, tuple(subgroups.IMAGE_COLUMNS)
    ),
}
"""By the names of the files, in the order of the docs."""

TEXT = frozenset(
    (
        *(
            "layer",
            "method",
            "class",
            "units",
            "measure",
            "kind",
            "outcome",
            "category",
            "concept",
            "change",
            "verdict",
        ),
        *("check", "check_concept", "check_category", "second_concept", "second_category", "needed_concepts"),
        *("concept_set", "evaluated_on", "chosen_for", "by_effect", "by_iou", "added", "predicted", "image", "other"),
        *("prediction", "target", "causal_verdict", "prediction_before", "prediction_after", "by", "subgroup", "set"),
        *("control", "group", "verdict", "change", "label", "also", "even_label"),
    )
)
"""Columns that are text, also where all of it looks like numbers; the others are numbers, or True and False."""
