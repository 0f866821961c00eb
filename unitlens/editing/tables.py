"""The tables of interventions in drawn images. This is the one place that says what their columns mean."""

INTERVENTION_COLUMNS = {
    "layer": "the layer's name",
    "units": "the units, joined by ;",
    "change": "what happens to them, such as set to 0",
    "concept": "what the area is of",
    "category": "its category",
    "before": "mean area of the concept in the untouched images, as a share of the image",
    "after": "the same with the units changed",
    "effect": "after - before, on the same images",
    "low": "lower end of the 95 % interval of effect, by the jackknife over 32 folds of the images",
    "high": "its upper end",
    "q_value": "Benjamini and Hochberg's, over the concepts that are drawn, of no effect",
    "random_mean": "mean effect of sets of as many units, drawn at random, on the same images",
    "random_low": "lower end of the band in which a further random set lies with the probability random_holds",
    "random_high": "its upper end",
    "random_holds": "0.95; with fewer than 39 draws the band goes from the smallest to the largest, and holds less",
    "matched_mean": "mean effect of sets of other units that hand on about as much",
    "matched_low": "lower end of their band",
    "matched_high": "its upper end",
    "removed": "share of the concept's area that is gone, 1 - after / before; below 0 where it grew",
    "removed_low": "lower end of its 95 % interval",
    "removed_high": "its upper end",
    "images": "how many images were drawn",
    "present": "in how many of them the concept is, untouched",
    "chosen_for": "the concept that the units were chosen for, where one is named",
    "segmenter_iou": "IoU of the segmenter with the concept, where the truth is known: no area is better known than it",
}
"""Name and meaning of every column of ``interventions.csv``, in its order."""

CHANGED_COLUMNS = {
    "layer": "as in interventions.csv",
    "units": "as in interventions.csv",
    "change": "as in interventions.csv",
    "before": "what positions show in the untouched images: a concept, or nothing of its category",
    "after": "what they show with the units changed",
    "share": "mean share of the image that shows the one and then the other",
    "before_segmenter_iou": "IoU of the segmenter with what they show before, where the truth is known",
    "after_segmenter_iou": "the same of what they show after",
}
"""Name and meaning of every column of ``interventions.what_changed.csv``, in its order."""

INSERTION_COLUMNS = {
    "layer": "the layer's name",
    "units": "the units that are inserted at one place after another, joined by ;",
    "change": "what they are set to",
    "concept": "what may appear",
    "before": "what most of the place showed before",
    "places": "in how many places of all images it stood",
    "appeared": "share of these at which it gained half of its usual area, or half of the place if that is less",
    "low": "lower end of its 95 % interval, by the jackknife over 32 folds; as wide as for independent places at least",
    "high": "its upper end",
    "random_appeared": "the same share with as many units, drawn at random, other ones at each place",
    "random_low": "lower end of its 95 % interval",
    "random_high": "its upper end",
    "area": "mean change of the concept's area, as a share of the image",
    "area_low": "lower end of its 95 % interval",
    "area_high": "its upper end",
    "usual_area": "median area of the concept, a share of the image, in untouched images that show it on 1 % or more",
    "segmenter_iou": "IoU of the segmenter with the concept, where the truth is known: no area is better known than it",
}
"""Name and meaning of every column of ``insertions.csv``, in its order."""

CAUSAL_COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number, from 0",
    "concept": "what the area is of",
    "category": "its category",
    "removed": "mean effect of removing the unit on the area, as a share of the image: area removed - area untouched",
    "inserted": "mean effect of inserting it: area inserted - area untouched",
    "average_causal_effect": "area with the unit inserted - area with it removed, on the same images",
    "low": "lower end of its 95 % interval, by the jackknife over 32 folds of the images",
    "high": "its upper end",
    "q_value": "Benjamini and Hochberg's, over all units and the concepts that are drawn, of no effect",
    "random_mean": "mean average causal effect of the layer's other units: of all sets of one that could be drawn",
    "random_low": "lower end of the band in which 95 % of the other units lie; of fewer than 39 all",
    "random_high": "its upper end",
    "matched_mean": "mean average causal effect of the other units that hand on about as much",
    "matched": "how many these are",
    "segmenter_iou": "IoU of the segmenter with the concept, where the truth is known: no area is better known than it",
}
"""Name and meaning of every column of ``causal_effects.csv``, in its order."""

RANKING_COLUMNS = {
    "layer": "the layer's name",
    "concept": "what the area is of",
    "category": "its category",
    "rank_correlation": "Spearman's, over all units, of average causal effect on the concept and IoU with it",
    "shared": "how many of the 10 units of largest effect are among the 10 of highest IoU",
    "by_effect": "the first 5 units by effect, joined by ;",
    "by_iou": "the first 5 units by IoU in the dissection, joined by ;",
    "segmenter_iou": "as in causal_effects.csv",
}
"""Name and meaning of every column of ``causal_effects.rankings.csv``, in its order."""

SET_COLUMNS = {
    "layer": "the layer's name",
    "concept": "what the units are removed for",
    "category": "its category",
    "method": "how they are ranked: iou, greedy or optimise",
    "units": "how many of them are removed",
    "added": "those since the row before, joined by ;",
    "chosen": "1 for the smallest set that removes the share that was asked for on the images that choose; else 0",
    "chosen_on": "share of the concept that is gone, on the images that choose (of even folds)",
    "removed": "the same on the other images, which did not",
    "low": "lower end of its 95 % interval, by the jackknife over their folds",
    "high": "its upper end",
    "others_lost": "area that all other concepts lose, as a share of the image, on the others; below 0",
    "moved": "how far images move, as a share of the range of their numbers, on the others",
    "images": "how many the others are",
    "segmenter_iou": "as in interventions.csv",
}
"""Name and meaning of every column of ``concept_sets.csv``, in its order."""

DETECTOR_COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number, from 0",
    "concept": "what its peak activation is to tell",
    "category": "its category",
    "least_area": "the concept is in an image where it takes at least this share of it",
    "level": "the peak above which it is said to be there, chosen on images of even folds",
    "balanced_accuracy": "of that, on the other images",
    "low": "lower end of its 95 % interval, by the jackknife over folds; as wide as for independent images at least",
    "high": "its upper end",
    "chosen_on": "balanced accuracy on the images that chose the level",
    "recall": "share of the other images with the concept that lie above the level",
    "specificity": "share of those without it that do not",
    "with_concept": "how many of the other images show the concept",
    "without": "how many do not",
    "segmenter_iou": "as in interventions.csv",
}
"""Name and meaning of every column of ``drawn_detectors.csv``, in its order."""
