"""The halves of the images, by even and odd folds: labels that one chooses are tested on the other."""

import numpy as np

from unitlens.stats.scores import AnyInts


def one_half_note(folds: AnyInts) -> list[str]:
    """What the user should know where all images, whose folds are given, are in one half."""
    if len(np.unique(folds % 2)) > 1:
        return []
    return [
        f"The labels are untested: all {len(folds)} images are in one half of the folds, so that none is left to test "
        "a label that the other half chooses; images of one group stay together, so give more groups."
    ]
