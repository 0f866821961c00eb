"""The tables of a comparison. This is the one place that says what their columns mean."""

ALL = "all"
"""Stands in the column category for all of them together."""

COLUMNS = {
    "entry": "one layer of one run, by the name that it has in this comparison",
    "network": "the network's name",
    "weights": "its weights, as they were given; empty where nothing was said",
    "layer": "the layer's name",
    "category": "a category of concepts, or all",
    "units": "units of the layer",
    "detectors": "units whose verdict is detector and whose label is of the category",
    "detectors_low": "lower end of its 95 % interval (halves of the folds; which units beat chance stays as it is)",
    "detectors_high": "its upper end; both are empty below 8 filled folds",
    "unique_concepts": "concepts of the category that are the label of a detector",
    "unique_low": "lower end of its 95 % interval",
    "unique_high": "its upper end",
    "above_min_iou": "units above the least IoU, the papers' rule, whose label is of the category",
    "above_low": "lower end of its 95 % interval",
    "above_high": "its upper end",
    "against": "the entry that it is compared with",
    "paired": "True where both saw the same images, so that the difference is taken on the same halves",
    "detectors_difference": "detectors less those of that entry",
    "detectors_difference_low": "lower end of its 95 % interval",
    "detectors_difference_high": "its upper end",
    "unique_difference": "unique concepts less those of that entry",
    "unique_difference_low": "lower end of its 95 % interval",
    "unique_difference_high": "its upper end",
}
"""Name and meaning of every column of ``compare.csv``, in its order."""

CONCEPT_COLUMNS = {
    "entry": "as in compare.csv",
    "category": "the concept's category",
    "concept": "the concept's name",
    "detectors": "detectors with this label",
    "change": "gained (a detector here and none in the other entry), lost, both or neither",
    "best_unit": "the unit of highest IoU with it, whether or not it is its label",
    "iou": "that unit's IoU with it",
    "iou_low": "lower end of its 95 % interval (jackknife over folds)",
    "iou_high": "its upper end",
    "difference": "iou less that of the other entry's best unit",
    "difference_low": "lower end of its 95 % interval, over the same folds where the images are the same",
    "difference_high": "its upper end",
}
"""Name and meaning of every column of ``compare_concepts.csv``, in its order."""

UNIT_COLUMNS = {
    "entry": "the entry of the unit",
    "unit": "the unit",
    "concept": "its label",
    "category": "its label's category",
    "iou": "its IoU with its label",
    "detector": "True where its verdict is detector",
    "other_entry": "the entry of the unit that it is matched with",
    "other_unit": "that unit",
    "other_concept": "that unit's label",
    "other_category": "that label's category",
    "other_iou": "that unit's IoU with that label",
    "other_detector": "True where that unit's verdict is detector",
    "same_label": "True where both labels are the same concept",
    "similarity": "cosine of what sets the two apart from the other units of their layers, over the common concepts",
    "similarity_low": "lower end of its 95 % interval (jackknife over folds)",
    "similarity_high": "its upper end",
    "difference": "IoU of that unit with this unit's label, less this unit's; empty where that run lacks the concept",
    "difference_low": "lower end of its 95 % interval",
    "difference_high": "its upper end",
}
"""Name and meaning of every column of ``compare_units.csv``, in its order."""
