"""What an outcome of any network is: numbers of each image, read from what the network returns for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from unitlens.ablation.replay.nests import Output, describe, in_rows, row_count, tensors
from unitlens.ablation.replay.replayed import MeasuredImages
from unitlens.data.columns import Columns
from unitlens.errors import UnitlensError, did_you_mean, is_number
from unitlens.models.network import Network
from unitlens.stats.scores import Floats


class Numbers(NamedTuple):
    """An outcome of R images. Its mean over images is the sum of ``value`` by that of ``of``.

    Attributes
    ----------
    value : Tensor, (R,)
    of : Tensor, (R,), optional
        What each is a part of, such as the union of which an intersection is; 1 unless given.
    """

    value: Tensor
    of: Tensor | None = None


class Seen(NamedTuple):
    """Some images as they are measured, for an outcome that compares outputs with more than themselves.

    Attributes
    ----------
    images : MeasuredImages
        N of them.
    untouched : Output
        What the network returns for these without an intervention.
    """

    images: MeasuredImages
    untouched: Output


class Measured(NamedTuple):
    """What an outcome is measured on.

    Attributes
    ----------
    net : Network
    columns : Columns
        Of the concepts that the data mark.
    grid : (int, int)
        Of the label grid.
    outputs : Output
        What the network returns for the first images.
    """

    net: Network
    columns: Columns
    grid: tuple[int, int]
    outputs: Output


Read = Callable[[Output, Seen], Mapping[str, Numbers]]
"""From what the network returns for V variants of N images, in V * N rows, to numbers of each, by name."""


@runtime_checkable
class ImageOutcome(Protocol):
    """One number of each image, or several, from whatever the network returns."""

    def start(self, measured: Measured) -> Read:
        """Say how it is read of such outputs.

        Raises
        ------
        UnitlensError
            If it is not in them, or there is no such class.
        """
        ...


@dataclass(frozen=True)
class FunctionOutcome:
    """A function of what the network returns: to a number for each image, to several (N, M), or to a mapping of names.

    Attributes
    ----------
    function : callable
    name : str
    """

    function: Callable[[Any], Any]
    name: str

    def start(self, measured: Measured) -> Read:
        """The same for all outputs."""
        return self.read

    def read(self, outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
        """Give each of its numbers a name."""
        values, count = self.function(outputs), row_count(outputs)
        if isinstance(values, Mapping):
            named = {str(name): _numbers(value, count, str(name)) for name, value in values.items()}
            if not named:
                raise UnitlensError(f"The outcome {self.name} returned nothing: return a number for each image.")
            if all(one.ndim == 1 for one in named.values()):
                return {name: Numbers(one) for name, one in named.items()}
            raise _wrong_shape(self.name, values, count)
        numbers = _numbers(values, count, self.name)
        if numbers.ndim == 1:
            return {self.name: Numbers(numbers)}
        return {f"{self.name}[{number}]": Numbers(one) for number, one in enumerate(numbers.unbind(1))}


def _numbers(values: Any, count: int, name: str) -> Tensor:
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise _wrong_shape(name, values, count) from None
    if numbers.ndim not in (1, 2) or len(numbers) != count or not numbers.numel() or numbers.is_complex():
        raise _wrong_shape(name, values, count)
    return numbers


def _wrong_shape(name: str, values: Any, count: int) -> UnitlensError:
    what = describe(values) if isinstance(values, Tensor) else f"a {type(values).__name__}"
    return UnitlensError(
        f"The outcome {name} returned {what} for {count} images; it returns a number for each image, ({count},), "
        f"several, ({count}, M), or a mapping of names to these."
    )


def read_all(reads: Sequence[Read], outputs: Output, seen: Seen) -> tuple[tuple[str, ...], Floats]:
    """All outcomes of many variants of some images.

    Parameters
    ----------
    reads : sequence of Read
    outputs : Output
        V variants of N images: tensors (V, N, ...), or V lists.
    seen : Seen

    Returns
    -------
    names : tuple of str, M
    numbers : float64 array, (V, N, M, 2)
        Values, and what they are parts of.

    Raises
    ------
    UnitlensError
        If two outcomes have one name, or one is not finite.
    """
    rows, count = in_rows(outputs), len(seen.images.inputs)
    found: dict[str, Numbers] = {}
    for read in reads:
        for name, numbers in read(rows, seen).items():
            if name in found:
                raise UnitlensError(f"Two outcomes are called {name}: give each function a name of its own.")
            found[name] = numbers
    columns = []
    for name, (value, of) in found.items():
        parts = [value, torch.ones_like(value) if of is None else of]
        columns.append(torch.stack([part.detach().double().cpu() for part in parts], -1))
        wrong = int((~columns[-1].isfinite()).any(-1).sum())
        if wrong:
            raise UnitlensError(
                f"The outcome {name} is nan or infinite for {wrong} of {len(columns[-1])} images, with or without "
                "units ablated, so that it has no mean: measure another, or check the network's weights and the range "
                "of its input."
            )
    return tuple(found), torch.stack(columns, 1).reshape(-1, count, len(columns), 2).numpy()


def class_number(class_: str, names: Sequence[str] | None, count: int | None, *, outcome: str) -> int:
    """Find a class by its name, where the network has names, else by its number.

    Parameters
    ----------
    class_ : str
    names : sequence of str, optional
        Of the network's classes.
    count : int, optional
        How many there are, where that is known.
    outcome : str
        As it was asked for, for the error.

    Raises
    ------
    UnitlensError
        If there is no such class.
    """
    known = list(names or ())
    if class_ in known:
        return known.index(class_)
    alike = [number for number, name in enumerate(known) if name.lower() == class_.lower()]
    if len(alike) == 1:
        return alike[0]
    count = len(known) if count is None and known else count
    if is_number(class_) and (count is None or int(class_) < count):
        return int(class_)
    if known:
        listed = f"there are {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")
        raise UnitlensError(f"{outcome}: the network has no class {class_}{did_you_mean(class_, known)}; {listed}.")
    numbers = "its number" if count is None else f"a number from 0 to {count - 1}"
    raise UnitlensError(f"{outcome}: the network does not say what its classes are called: give {numbers}.")


def main_tensor(outputs: Output, what: str, fits: Callable[[Tensor], bool]) -> Tensor:
    """The one tensor of an output that fits: of several, that which torchvision calls out and Hugging Face logits.

    Raises
    ------
    UnitlensError
        If there is none, or it is not clear which.
    """
    if isinstance(outputs, Mapping):
        for key in ("out", "logits"):
            if isinstance(outputs.get(key), Tensor) and fits(outputs[key]):
                return outputs[key]  # type: ignore[no-any-return]
    found = [tensor for tensor in tensors(outputs) if fits(tensor)]
    if len(found) == 1:
        return found[0]
    raise UnitlensError(
        f"{what}, and the network returns {describe(outputs)}: name another outcome, or in Python give a function of "
        "what the network returns."
    )


def listed_outcomes(outcome: Any) -> list[Any]:
    """One outcome as it was given, or several."""
    if isinstance(outcome, str | ImageOutcome) or callable(outcome):
        return [outcome]
    return list(outcome) if isinstance(outcome, Iterable) else [outcome]
