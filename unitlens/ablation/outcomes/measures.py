"""Outcomes: one number for each image, from the network's outputs; and the names of what can be measured."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from unitlens.ablation.estimates import OF_COUNTS
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.stats.scores import Floats


@runtime_checkable
class Outcome(Protocol):
    """A number for each image; effects on it are paired differences of its mean."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def __call__(self, outputs: Tensor, classes: Tensor, /) -> Tensor:
        """Return one number for each image.

        Parameters
        ----------
        outputs : Tensor, (N, ...)
            What the network returned: of a classifier scores, (N, K).
        classes : Tensor of int64, (N,)
            The output that belongs to each image's class.

        Returns
        -------
        Tensor, (N,)
        """
        ...


@dataclass(frozen=True)
class NamedOutcome:
    """A function of outputs and classes with a name: an `Outcome`."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, outputs: Tensor, classes: Tensor, /) -> Tensor:
        """Return one number for each image."""
        return self.function(outputs, classes)


def logit(outputs: Tensor, classes: Tensor) -> Tensor:
    """The output of the image's own class, (N,)."""
    return outputs.gather(1, classes[:, None])[:, 0]


def log_probability(outputs: Tensor, classes: Tensor) -> Tensor:
    """Logarithm of the softmax of the image's own class, (N,)."""
    return logit(outputs, classes) - outputs.logsumexp(1)


def margin(outputs: Tensor, classes: Tensor) -> Tensor:
    """The output of the image's own class less the largest of the others, (N,)."""
    return logit(outputs, classes) - outputs.scatter(1, classes[:, None], -math.inf).amax(1)


OUTCOMES: Mapping[str, Outcome] = {
    function.__name__: NamedOutcome(function.__name__, function) for function in (logit, log_probability, margin)
}
"""Outcomes that have a name here."""

MEASURES = (*OF_COUNTS, *OUTCOMES)
"""What can be measured of a class."""

DEFAULT_MEASURES = ("recall", "balanced_accuracy")


Measure = str | Outcome | Callable[[Tensor, Tensor], Tensor]
"""A name of `MEASURES`, an outcome, or a plain function of outputs and classes, which goes by its own name."""


def outcomes_of(measures: Measure | Iterable[Measure]) -> tuple[tuple[str, ...], dict[str, Outcome]]:
    """Sort measures into their names, and those outcomes among them that are summed.

    Raises
    ------
    UnitlensError
        If there is no such measure.
    """
    outcomes: dict[str, Outcome] = {}
    names: list[str] = []
    for measure in [measures] if isinstance(measures, str) or callable(measures) else measures:
        outcome = _outcome(measure)
        if isinstance(outcome, str):
            names.append(outcome)
        else:
            names.append(outcome.name)
            outcomes[outcome.name] = outcome
    return tuple(dict.fromkeys(names)), outcomes


def _outcome(measure: Measure) -> Outcome | str:
    """The outcome that is meant, or the name of a measure that counts give."""
    if isinstance(measure, Outcome):
        return measure
    if callable(measure):
        return NamedOutcome(getattr(measure, "__name__", type(measure).__name__), measure)
    if measure not in MEASURES:
        raise UnitlensError(
            f"There is no measure {measure!r}{did_you_mean(str(measure), MEASURES)}; there are {', '.join(MEASURES)}, "
            "and in Python any function of outputs and classes that returns one number for each image."
        )
    return OUTCOMES.get(measure, measure)


def values_of(outcome: Outcome, outputs: Tensor, classes: Tensor) -> Floats:
    """One outcome of many variants of some images, in float64.

    Parameters
    ----------
    outcome : Outcome
    outputs : Tensor, (V, N, ...)
    classes : Tensor of int64, (N,)

    Returns
    -------
    float64 array, (V, N)

    Raises
    ------
    UnitlensError
        If the outcome does not give one finite number for each image.
    """
    variants, count = outputs.shape[:2]
    values = outcome(outputs.flatten(0, 1), classes.repeat(variants))
    if not isinstance(values, Tensor) or values.shape != (variants * count,):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UnitlensError(
            f"The outcome {outcome.name} returned {shape}; it returns one number for each image, ({variants * count},)."
        )
    numbers = np.asarray(values.double().cpu()).reshape(variants, count)
    wrong = int((~np.isfinite(numbers)).sum())
    if wrong:
        raise UnitlensError(
            f"The outcome {outcome.name} is nan or infinite for {wrong} of {numbers.size} images, so that it has no "
            "mean: measure another."
        )
    return numbers
