"""The tables of an audit. This is the one place that says what their columns mean."""

COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "concept": "its label in the run",
    "category": "that label's category",
    "iou": "its IoU in the run",
    "verdict": "its verdict in the run",
    "check": "what was changed: even folds, odd folds, half quantile, double quantile, other upsampling or noise",
    "check_concept": "its label then; empty where it has none",
    "check_category": "that label's category",
    "check_iou": "its IoU with that label then",
    "label_iou": "its IoU then with its label in the run",
    "same_label": "True where the label stayed",
    "same_category": "True where the label's category stayed",
    "above_min_iou": "True where check_iou is above the least IoU",
}
"""Name and meaning of every column of ``audit.csv``, in its order: one row a unit that has a label, and check."""

CHECKS = {
    "even folds": "labels chosen on the half of the images in even folds, at the run's thresholds",
    "odd folds": "labels chosen on the other half",
    "half quantile": "masks of half as many positions",
    "double quantile": "masks of twice as many positions",
    "other upsampling": "zeros around the maps where the run repeated their edges, or the reverse",
    "noise": "Gaussian noise on the images, which stay in [0, 1]",
}
"""Every check and what it changes, in the order of the tables."""

SUMMARY_COLUMNS = {
    "layer": "the layer's name",
    "check": "as in audit.csv",
    "units": "units that have a label in the run",
    "same_label": "share of them whose label stayed",
    "same_label_low": "lower end of its 95 % interval (Wilson's, the units being a sample of such units)",
    "same_label_high": "its upper end",
    "same_category": "share of them whose label's category stayed",
    "same_category_low": "lower end of its 95 % interval",
    "same_category_high": "its upper end",
    "detectors": "units whose verdict in the run is detector",
    "detectors_same_label": "share of them whose label stayed",
    "detectors_same_label_low": "lower end of its 95 % interval",
    "detectors_same_label_high": "its upper end",
    "mean_iou": "mean IoU of the units with their labels in the run",
    "check_mean_iou": "mean IoU with their labels then",
    "above_min_iou": "units above the least IoU in the run",
    "check_above_min_iou": "units above the least IoU then",
}
"""Columns of the summary of the checks, in their order."""
