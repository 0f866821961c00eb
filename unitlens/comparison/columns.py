"""The tables of comparisons and audits. This is the one place that says what their columns mean."""

from unitlens.stats.recounts import Interval

ALL = "all"
"""Value of the column category for all categories together."""

COLUMNS = {
    "entry": "name, in this comparison, of one layer of one run",
    "network": "name of its network",
    "weights": "weights as they were given; empty where they were not",
    "layer": "name of the layer",
    "category": "a category of concepts, or all",
    "units": "number of units of the layer",
    "runs": "trainings of the network; of several, numbers are means over them, except where it says: of the first "
    "training",
    "images": "images of the run; the fewest of several trainings",
    "detectors": "units whose verdict is detector and whose concept belongs to the category",
    "detectors_low": "lower end of the 95 % interval (by halves of the folds; which units beat chance is not repeated)",
    "detectors_high": "upper end; both are empty below 8 filled folds",
    "detectors_share": "detectors / units, to compare layers of different width",
    "detectors_share_low": "lower end of the 95 % interval",
    "detectors_share_high": "upper end",
    "unique_concepts": "concepts of the category that detectors are matched to",
    "unique_low": "lower end of the 95 % interval",
    "unique_high": "upper end",
    "above_min_iou": "units above the least IoU, the papers' rule, whose concept belongs to the category",
    "above_low": "lower end of the 95 % interval",
    "above_high": "upper end",
    "heldout_iou": "mean held-out IoU of the detectors of all categories, of the first training",
    "heldout_low": "lower end of the 95 % interval (jackknife of each half of the folds)",
    "heldout_high": "upper end",
    "explained": "share of the variance of the layer's output that its directions or features explain, of the "
    "first training, where a `Reconstruction` was saved in the run; empty else, as the next ones are",
    "explained_low": "lower end of the 95 % interval",
    "explained_high": "upper end",
    "accuracy_kept": "accuracy with the reconstruction in place of the layer's output, of the first training",
    "accuracy_effect": "that minus the accuracy of the network as it is, of the first training",
    "accuracy_effect_low": "lower end of the 95 % interval",
    "accuracy_effect_high": "upper end",
    "concept_effect": "mean over concepts: change of the logit of an image's own class when the unit of the highest "
    "IoU with a concept (chosen on other images) is ablated, in images that contain it, of the first training; "
    "where a `ConceptEffects` was saved in the run, empty else, as the next ones are",
    "concept_effect_low": "lower end of the 95 % interval",
    "concept_effect_high": "upper end",
    "concept_effect_random": "the same for units that are drawn at random, in the same images, of the first training",
    "concept_effect_beyond": "concept_effect - concept_effect_random, of the first training",
    "concept_effect_beyond_low": "lower end of the 95 % interval",
    "concept_effect_beyond_high": "upper end",
    "concept_accuracy_beyond": "the same of the accuracy in place of the logit, of the first training",
    "concept_accuracy_beyond_low": "lower end of the 95 % interval",
    "concept_accuracy_beyond_high": "upper end",
    "against": "the entry that it is compared with",
    "paired": "True where both saw the same images, so that the difference is taken half by half",
    "compared_images": "where the entries have other numbers of images: differences are those of units above the least "
    "IoU on so many images of each, as more units are significant on more images; else empty",
    "detectors_difference": "detectors minus those of that entry, both on as many images",
    "detectors_difference_low": "lower end of the 95 % interval",
    "detectors_difference_high": "upper end",
    "share_difference": "detectors_share minus that of that entry, both on as many images",
    "share_difference_low": "lower end of the 95 % interval",
    "share_difference_high": "upper end",
    "unique_difference": "unique concepts minus those of that entry",
    "unique_difference_low": "lower end of the 95 % interval",
    "unique_difference_high": "upper end",
    "heldout_difference": "heldout_iou minus that of that entry, of the first trainings, "
    "over the same folds where both saw the same images",
    "heldout_difference_low": "lower end of the 95 % interval",
    "heldout_difference_high": "upper end",
    "concept_effect_difference": "concept_effect_beyond minus that of that entry, of the first trainings, over the "
    "same folds where both were measured on the same images in the same groups; "
    "empty where as many units were not ablated in the same way for the same concepts",
    "concept_effect_difference_low": "lower end of the 95 % interval",
    "concept_effect_difference_high": "upper end",
    "concept_accuracy_difference": "concept_accuracy_beyond minus that of that entry, of the first trainings",
    "concept_accuracy_difference_low": "lower end of the 95 % interval",
    "concept_accuracy_difference_high": "upper end",
}
"""Name and meaning of every column of ``compare.csv``, in order."""

RECONSTRUCTION = tuple(name for name in COLUMNS if name.startswith(("explained", "accuracy")))
"""Those of `unitlens.dissection.dictionaries.result.Reconstruction`, under the same names."""


def interval_columns(column: str, ends: str, interval: Interval) -> dict[str, float]:
    """A number and the ends of its interval as three columns."""
    return {column: interval.value, f"{ends}_low": interval.low, f"{ends}_high": interval.high}


CONCEPT_COLUMNS = {
    "entry": "as in compare.csv",
    "category": "category of the concept",
    "concept": "name of the concept",
    "detectors": "mean over runs of the number of detectors with this concept",
    "change": "gained (detectors here and none in the other entry), lost, both or neither",
    "best_unit": "the unit of highest IoU with the concept, whether or not the unit is matched to it",
    "iou": "IoU of that unit with the concept",
    "iou_low": "lower end of the 95 % interval (jackknife over folds)",
    "iou_high": "upper end",
    "difference": "iou minus that of the other entry's best unit",
    "difference_low": "lower end of the 95 % interval, over the same folds where the images are the same",
    "difference_high": "upper end",
}
"""Name and meaning of every column of ``compare_concepts.csv``, in order."""

UNIT_COLUMNS = {
    "entry": "the entry of the unit",
    "unit": "number of the unit",
    "concept": "its concept",
    "category": "category of its concept",
    "iou": "IoU with its concept",
    "detector": "True where its verdict is detector",
    "other_entry": "the entry of the unit that it is matched with",
    "other_unit": "number of that unit",
    "other_concept": "concept of that unit",
    "other_category": "category of that concept",
    "other_iou": "IoU of that unit with that concept",
    "other_detector": "True where the verdict of that unit is detector",
    "same_concept": "True where both units have the same concept",
    "similarity": "cosine of the two profiles: IoU with each common concept minus the mean over the units of the layer",
    "similarity_low": "lower end of the 95 % interval (jackknife over folds)",
    "similarity_high": "upper end",
    "difference": "IoU of that unit with this unit's concept minus this unit's; empty where its run lacks the concept",
    "difference_low": "lower end of the 95 % interval",
    "difference_high": "upper end",
}
"""Name and meaning of every column of ``compare_units.csv``, in order."""

CHECKS = {
    "even folds": "concepts chosen on the images of the even folds, at the run's thresholds",
    "odd folds": "concepts chosen on the images of the odd folds",
    "half quantile": "masks of half as many positions",
    "double quantile": "masks of twice as many positions",
    "other upsampling": "zeros around the maps where the run repeated their edges, or the reverse",
    "noise": "Gaussian noise added to the images, which are clipped to [0, 1]",
}
"""Checks of an audit and what each changes, in the order of the tables."""

AUDIT_COLUMNS = {
    "layer": "name of the layer",
    "unit": "number of the unit in it, from 0",
    "concept": "its concept in the run",
    "category": "category of that concept",
    "iou": "IoU with it in the run",
    "verdict": "verdict in the run",
    "check": f"what was changed: {', '.join(CHECKS)}",
    "check_concept": "its concept under the check; empty where it has none",
    "check_category": "category of that concept",
    "check_iou": "IoU with that concept under the check",
    "concept_iou": "IoU with its concept in the run under the check",
    "same_concept": "True where the concept is the same",
    "same_category": "True where the concept's category is the same",
    "above_min_iou": "True where check_iou is above the least IoU",
}
"""Name and meaning of every column of ``audit.csv``, in order: one row for each unit that has a concept, and check."""

AUDIT_SUMMARY_COLUMNS = {
    "layer": "name of the layer",
    "check": "as in audit.csv",
    "units": "units that have a concept in the run",
    "same_concept": "share of them whose concept is the same under the check",
    "same_concept_low": "lower end of the 95 % interval (Wilson's; the units are treated as a sample)",
    "same_concept_high": "upper end",
    "same_category": "share of them whose concept's category is the same",
    "same_category_low": "lower end of the 95 % interval",
    "same_category_high": "upper end",
    "detectors": "units whose verdict in the run is detector",
    "detectors_same_concept": "share of them whose concept is the same",
    "detectors_same_concept_low": "lower end of the 95 % interval",
    "detectors_same_concept_high": "upper end",
    "mean_iou": "mean IoU of the units with their concepts in the run",
    "check_mean_iou": "mean IoU with their concepts under the check",
    "above_min_iou": "units above the least IoU in the run",
    "check_above_min_iou": "units above the least IoU under the check",
}
"""Columns of the summary of an audit, in order: one row for each layer and check."""
