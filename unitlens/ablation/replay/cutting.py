"""Cut a network at a layer, and check that replaying what lies behind it gives what the whole network gives."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from unitlens.ablation.replay.cut import Cut, State
from unitlens.ablation.replay.growth import growth, numbers, outline
from unitlens.ablation.replay.nests import Output, describe, has_rows, joined, mapped, tensors
from unitlens.ablation.replay.recording import record_network
from unitlens.ablation.replay.selecting import select_early, selects
from unitlens.ablation.replay.splits import Independent, Split, Step, Untraceable, Values, run
from unitlens.ablation.replay.sweeps import sweep
from unitlens.ablation.replay.tracing import split_network
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit
from unitlens.models.layers import LayerRef, display_name, display_shape, find_layers, uncompiled
from unitlens.models.passes import evaluating
from unitlens.models.units.space import UnitSpace

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""How far replayed outputs may be from the full network's, as a share of its largest; 2e-2 for other types."""


def cut_network(model: nn.Module, layers: str | Sequence[str], images: Tensor) -> Cut:
    """Cut a network at the output of a layer, so that only what lies behind it has to be replayed.

    The tail is found by tracing with torch.fx, or by recording what the network does, and is trusted after a check: on
    two of the images, with units changed, it must give what the full network gives, to `TOLERANCE` times the largest
    output. The check takes up to 7 passes of single images, recording 5. Where both fail or the check does, the cut
    does full passes instead, and its ``reason`` says why.

    Parameters
    ----------
    model : nn.Module
        Takes a batch of images, returns a tensor with a row for each, a tuple, list or dictionary of such tensors, or
        a list with an item for each image, as detectors do; then every intervention takes a full pass.
    layers : str or sequence of str
        A layer's name, as in `unitlens.models.layers`. Of several, the cut is at the one that is called first.
    images : Tensor, (N, 3, height, width)
        Real ones, as the network takes them; 3 serve best, one will do.

    Returns
    -------
    Cut

    Raises
    ------
    UnitlensError
        If there is no such layer, it is not reached, it does not return a tensor with units along dimension 1, the
        network's output does not depend on it, or is none of these.
    """
    model = uncompiled(model)
    named = find_layers(model, layers)
    images = images[torch.arange(3, device=images.device) % len(images)]
    with evaluating(model):
        expected, changed = _full_pass_with_changes(model, named, images[:2])
        by_image = _is_by_image(model, expected, images[:2])
        order = list(changed)
        refs = sorted(named, key=lambda ref: order.index(ref.given))
        first, *later = (ref.given for ref in refs)
        reasons = []
        for split_by in ways_to_split(model, refs, images):
            try:
                if by_image:
                    raise Untraceable("it returns a list with an item for each image")
                split = split_by()
                form = None if isinstance(expected, Tensor) else expected
                cut = Cut(model, first, tuple(later), split=split, form=form)
                return _checked(cut, images, changed[first], expected)
            except Untraceable as error:
                reasons.append(str(error))
            except Independent as error:
                alone, _ = _full_pass_with_changes(model, [refs[error.which]], images[:2])
                if not _is_near(model(images[:2]), alone):  # a way that no step shows
                    reasons.append("its output depends on the layer in a way that cannot be followed")
                    continue
                raise UnitlensError(
                    f"The output of the network does not depend on what {display_name(refs[error.which].given)} "
                    "returns, so nothing can be learned by changing it; choose a layer that the output is computed "
                    "from."
                ) from None
    at = " and ".join(map(display_name, (first, *later)))
    reason = f"Every intervention at {at} takes a full pass of the network, as {reasons[-1]}."
    return Cut(model, first, tuple(later), reason, by_image=by_image)


def ways_to_split(model: nn.Module, refs: Sequence[LayerRef], images: Tensor) -> Iterator[Callable[[], Split]]:
    """The ways to split a network, best ones first: traced or recorded, in single operations or in whole modules.

    Single operations can be followed unit by unit. What is traced holds for any images; what is recorded needs two
    passes, and knows containers and whatever Python code does.
    """
    for fine in (True, False):
        if all(ref.item is None for ref in refs):
            yield partial(split_network, model, refs, fine=fine)
    for fine in (True, False):
        yield partial(record_network, model, refs, images, fine=fine)


def _full_pass_with_changes(
    model: nn.Module, refs: Sequence[LayerRef], images: Tensor
) -> tuple[Output, dict[str, Tensor]]:
    """Run the full network, with units of all layers changed in the first image.

    Returns its output, and the changed activations, in the order in which the layers were called.
    """
    # What replays is checked against this pass: the first image with units changed, the second one unchanged.
    seen: dict[str, Tensor] = {}

    def change(layer: str, activation: Tensor) -> Tensor:
        if activation.ndim < 2:
            raise UnitlensError(f"{display_name(layer)} returns {display_shape(activation.shape)}, which has no units.")
        seen[layer] = _changed(activation)
        return seen[layer]

    with edit(model, {ref.given: partial(change, ref.given) for ref in refs}):
        output = model(images)
    return output, seen


def _is_by_image(model: nn.Module, output: Output, images: Tensor) -> bool:
    """Whether a network returns a list with an item for each image: if so, one of one item for one image.

    Raises
    ------
    UnitlensError
        If it returns neither such a list nor tensors with a row for each image.
    """
    count = len(images)
    if isinstance(output, list | tuple) and len(output) == count and len(model(images[:1])) == 1:
        return True
    if has_rows(output, count):
        return False
    what = f"{describe(output)} for {count} images" if tensors(output) else f"a {type(output).__name__}"
    raise UnitlensError(
        f"The network returns {what}, not tensors with a row for each image: wrap it in a module that returns one, a "
        "tuple, list or dictionary of them, or a list with an item for each image."
    )


def _changed(activation: Tensor, rows: range = range(1)) -> Tensor:
    """Return a copy of a layer's output with units changed in the first image."""
    changed = activation.clone()
    changed[0, ::2] = 0
    changed[0, 1::2] *= 1.5
    return changed


def _checked(cut: Cut, images: Tensor, changed: Tensor, expected: Output) -> Cut:
    """Learn how a split's values grow with the number of images, then compare its outputs with the full network's."""
    try:
        assert cut.split is not None
        cut, state = _measured(replace(cut, split=narrowed(cut.split, images)), images)
        # Of the two images that went through the whole network, the second had nothing changed: with it, what the front
        # computes is checked too.
        _compare(mapped(state.output, _second), mapped(expected, _second), "the outputs of the unchanged network")
        replayed = cut.back(state, torch.cat([changed, state.activation]), dict.fromkeys(cut.later, _changed))
        _compare(replayed, joined([expected, state.output]), "the replayed outputs")
        for axis in (1, 2) if changed.ndim == 3 else (1,):  # the units of tokens lie last
            _check_sweep(cut, state, axis)
    except Untraceable:
        raise
    except Exception as error:  # a stranger's steps, run with other batches than they were written for
        raise Untraceable(f"the replay failed ({type(error).__name__}: {error})") from error
    return cut


def _check_sweep(cut: Cut, state: State, axis: int) -> None:
    """Compare the sweep, which has its own arithmetic, with the replay.

    The first, middle and last unit are set to more than the layer ever returns.
    """
    loud = float(state.activation.abs().amax()) + 1
    count = state.activation.shape[axis]
    for unit in {0, count // 2, count - 1}:
        one = state.activation.clone()
        one.select(axis, unit).fill_(loud)
        ablated = torch.full_like(state.activation.movedim(axis, 1), loud)
        swept = next(iter(sweep(cut, state, ablated, units=range(unit, unit + 1), space=UnitSpace(axis))))
        alone = mapped(swept.outputs, lambda tensor: tensor[0])
        _compare(alone, cut.back(state, one), f"the outputs with unit {unit} ablated alone")


def narrowed(split: Split, images: Tensor) -> Split:
    """Let the tail compute only the positions that are read of what treats every position by itself."""
    return select_early(split, _outlines(split, images[:1])[0]) if selects(split) else split


def _measured(cut: Cut, images: Tensor) -> tuple[Cut, State]:
    """Run a split on two and on three images, and note how every value grows."""
    split = cut.split
    assert split is not None
    two, state = _outlines(split, images[:2])
    three, _ = _outlines(split, images)
    try:
        growths = {node: growth(two[node], three[node], (2, 3)) for node in two}
    except ValueError as error:
        raise Untraceable(str(error)) from None
    if growths[split.activation] != 0 or two[split.activation][0] != 2:
        raise Untraceable(
            f"the layer's output has no row for each image, its shape being {tuple(two[split.activation])}"
        )
    sizes = {node: state.activation.element_size() * (numbers(three[node]) - numbers(two[node])) for node in two}
    return replace(cut, growths=growths, sizes=sizes), state


def _outlines(split: Split, images: Tensor) -> tuple[dict[fx.Node, Any], State]:
    values: Values = {split.images: images}
    outlines = {split.images: outline(images)}

    def go(steps: Iterable[Step]) -> None:
        for step in steps:
            run([step], values)
            if step.node in values:
                outlines[step.node] = outline(values[step.node])

    go(split.front)
    rest = {node: values[node] for node in split.crossing}
    activation = values[split.start] = values[split.activation]
    outlines[split.start] = outline(activation)
    go(split.tail)
    return outlines, State(activation, rest, values[split.output])


def _second(tensor: Tensor) -> Tensor:
    return tensor[1:]


class Distance(NamedTuple):
    """How far a replayed tensor is from that of the full network.

    Attributes
    ----------
    off, largest : float
        The largest difference; the largest value of the full network's.
    allowed : float
        How far it may be off, as a share of that.
    """

    off: float
    largest: float
    allowed: float

    @property
    def too_far(self) -> bool:
        """Whether a replay cannot be trusted; also where it is nan."""
        return not self.off <= self.allowed * self.largest


def distances(replayed: Output, expected: Output) -> list[Distance]:
    """How far each tensor of a replayed output is from the full network's, of the same number of images."""
    return [
        Distance(
            float((one.double() - other.double()).abs().amax()),
            float(other.double().abs().amax()),
            TOLERANCE.get(other.dtype, 2e-2),
        )
        for one, other in zip(tensors(replayed), tensors(expected), strict=True)
        if other.numel()
    ]


def _is_near(one: Output, other: Output) -> bool:
    return not any(each.too_far for each in distances(one, other))


def _compare(replayed: Output, expected: Output, what: str) -> None:
    for each in distances(replayed, expected):
        if not math.isfinite(each.largest):
            raise Untraceable("its outputs on the example images are not finite, so that no replay can be checked")
        if each.too_far:
            raise Untraceable(
                f"{what} are off by {each.off:.3g} where the largest is {each.largest:.3g}, more than "
                f"{each.allowed:g} of it"
            )
