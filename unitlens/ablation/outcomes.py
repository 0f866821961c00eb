"""Outcomes of a classifier that are one number an image, and the names of what can be measured."""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.estimates import OF_COUNTS
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.stats.scores import Floats

Outcome = Callable[[Tensor, Tensor], Tensor]
"""Of outputs, (N, K), and the images' own outputs, int64 (N,): one number an image, (N,)."""


def logit(outputs: Tensor, own: Tensor) -> Tensor:
    """The output of the image's own class, (N,)."""
    return outputs.gather(1, own[:, None])[:, 0]


def log_probability(outputs: Tensor, own: Tensor) -> Tensor:
    """Logarithm of the softmax of the image's own class, (N,)."""
    return logit(outputs, own) - outputs.logsumexp(1)


def margin(outputs: Tensor, own: Tensor) -> Tensor:
    """The output of the image's own class less the largest of the others, (N,)."""
    return logit(outputs, own) - outputs.scatter(1, own[:, None], -math.inf).amax(1)


OUTCOMES: Mapping[str, Outcome] = {"logit": logit, "log_probability": log_probability, "margin": margin}
"""Outcomes per image that are no counts."""

MEASURES = (*OF_COUNTS, *OUTCOMES)
"""What can be measured of a class."""

DEFAULT_MEASURES = ("recall", "balanced_accuracy")


def outcomes_of(measures: Iterable[str | Outcome]) -> tuple[tuple[str, ...], dict[str, Outcome]]:
    """Sort measures into names, and those outcomes among them that have to be summed.

    Parameters
    ----------
    measures : iterable of str or callable
        Names of `MEASURES`, or functions of outputs and own classes (`Outcome`), which go by their names.

    Raises
    ------
    UnitlensError
        If there is no such measure.
    """
    names, summed = [], {}
    for measure in [measures] if isinstance(measures, str) else measures:
        if callable(measure):
            name = getattr(measure, "__name__", type(measure).__name__)
            summed[name] = measure
        elif measure not in MEASURES:
            raise UnitlensError(
                f"There is no measure {measure!r}{did_you_mean(str(measure), MEASURES)}; there are "
                f"{', '.join(MEASURES)}, and in Python any function of outputs and classes, one number an image."
            )
        else:
            name = measure
            summed |= {name: OUTCOMES[name]} if name in OUTCOMES else {}
        names.append(name)
    return tuple(dict.fromkeys(names)), summed


def values_of(outcome: Outcome, outputs: Tensor, own: Tensor) -> Floats:
    """One outcome of many variants of some images, in float64.

    Parameters
    ----------
    outcome : callable
    outputs : Tensor, (V, N, K)
    own : Tensor of int64, (N,)

    Returns
    -------
    float64 array, (V, N)

    Raises
    ------
    UnitlensError
        If the outcome does not give one number an image.
    """
    variants, count, classes = outputs.shape
    values = outcome(outputs.reshape(-1, classes), own.repeat(variants))
    if not isinstance(values, torch.Tensor) or values.shape != (variants * count,):
        shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
        raise UnitlensError(f"An outcome gives one number an image, ({variants * count},); this one gave {shape}.")
    return np.asarray(values.double().cpu()).reshape(variants, count)
