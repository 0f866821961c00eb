"""Cheap guesses at what units are used for (captum's layer attributions), held against the exact effects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.holding import read
from unitlens.ablation.result import Effects
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data
from unitlens.data.opening import open_data
from unitlens.dissection.forward import Reading
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.layers import find_layers
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.progress import progress as shown_progress
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "activation_x_gradient": ("LayerGradientXActivation", {}),
    "conductance": ("LayerConductance", {"n_steps": 16}),
    "internal_influence": ("InternalInfluence", {"n_steps": 16}),
}
"""Each method, the class of ``captum.attr`` that computes it, and the arguments it is called with."""

AGREEMENT_COLUMNS = {
    "layer": "the layer's name",
    "method": "activation_x_gradient, conductance or internal_influence",
    "class": "the class whose output is attributed",
    "images": "how many images of the class",
    "spearman": "rank correlation, over units, of what the method credits them with and what their removal costs",
    "overlap": "share of the most important units by the one that are among the most important by the other",
    "top": "how many units those are",
    "chance": "the overlap of units drawn at random",
}
"""Name and meaning of every column of ``effects.attributions.csv``, in its order."""


class Attributions(NamedTuple):
    """What captum credits units with, summed over positions, as a mean over each class's own images.

    Attributes
    ----------
    classes : tuple of str
        Classes with images, in the order of the outputs.
    by_method : mapping of str to float64 array, (U, classes)
        Of the class's own output. Large: important.
    """

    classes: tuple[str, ...]
    by_method: Mapping[str, Floats]


def attributions(
    net: Network | nn.Module,
    layer: str,
    data: Data | str | Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    progress: bool = False,
) -> Attributions:
    """Attribute each class's output to the units of a layer, with captum.

    Parameters
    ----------
    net, layer, data, limit, batch_size, workers, progress
        As for `unitlens.importance`.
    methods : sequence of str
        Of `METHODS`.

    Returns
    -------
    Attributions

    Raises
    ------
    UnitlensError
        If there is no such method, or the layer is one call of several, or one of several tensors.

    References
    ----------
    Kokhlikyan et al., "Captum", arXiv:2009.07896; Dhamdhere et al., "How important is a neuron?", ICLR 2019
    (conductance); Leino et al., "Influence-directed explanations", ITC 2018 (internal influence).
    """
    for method in methods:
        if method not in METHODS:
            raise UnitlensError(
                f"There is no attribution {method!r}{did_you_mean(method, METHODS)}; there are {', '.join(METHODS)}."
            )
    net = net if isinstance(net, Network) else classifier(net)
    data = open_data(data) if isinstance(data, str | Path) else data
    place = find_layers(net.model, layer)[0]
    if place.call is not None or place.item is not None:
        raise UnitlensError(f"captum attributes to whole layers that are called once; {layer} is a part of one.")
    computed = {method: _method(method, net.model, place.module) for method in methods}
    sums: dict[str, Floats] = {}
    counts, classes = np.zeros(0, np.int64), None
    total = len(data) if limit is None else min(limit, len(data))
    with shown_progress(total, "attributing", show=progress) as bar, _evaluation_with_gradients(net.model):
        for batch in read(net, data, Reading(batch_size, workers, limit)):
            chosen = [i for i, class_ in enumerate(batch.classes) if class_ is not None]
            if chosen:
                images = net.prepare(batch.images[chosen])
                if classes is None:
                    with torch.no_grad():
                        outputs = net.model(images[:1]).shape[1]
                    classes = join_classes(data, net.classes, outputs)
                    counts = np.zeros(outputs, np.int64)
                own = torch.tensor([classes.output_of[str(batch.classes[i])] for i in chosen], device=images.device)
                np.add.at(counts, own.cpu().numpy(), 1)
                for method, compute in computed.items():
                    _add(sums, method, compute(images, own), own, len(counts))
            bar.update(len(batch.names) + len(batch.unread))
    if classes is None:
        raise UnitlensError("None of the images that were read has a class.")
    seen = np.flatnonzero(counts)
    names = tuple(classes.names[int(k)] for k in seen)
    return Attributions(names, {method: total[:, seen] / counts[seen] for method, total in sums.items()})


def agreement(found: Attributions, effects: Effects, *, measure: str = "logit", top: int = 20) -> "pd.DataFrame":
    """Say how well each attribution agrees with the exact effect of removing each unit.

    Parameters
    ----------
    found : Attributions
    effects : Effects
        Of every unit, from `unitlens.importance`, on the same images.
    measure : str
        Of the effects; the logit is summed always.
    top : int
        Of how many most important units the overlap is told.

    Returns
    -------
    pandas.DataFrame
        A row a method: ``method``, ``spearman`` (mean over classes of the rank correlation of attribution and loss),
        ``spearman_low`` and ``spearman_high`` (the smallest and largest over classes), ``overlap`` (mean share of the
        top units in common), ``chance`` (the overlap of units drawn at random).

    Raises
    ------
    UnitlensError
        If the classes are not those of the effects.
    """
    return over_classes(agreement_by_class(found, effects, measure=measure, top=top))


def agreement_by_class(
    found: Attributions, effects: Effects, *, measure: str = "logit", top: int = 20
) -> "pd.DataFrame":
    """Say the same of each class: a row a method and class, with the columns of `AGREEMENT_COLUMNS`.

    Parameters
    ----------
    found, effects, measure, top
        As for `agreement`.

    Raises
    ------
    UnitlensError
        If the classes, or the units, are not those of the effects.
    """
    import pandas as pd

    if found.classes != effects.classes:
        raise UnitlensError("The attributions and the effects are of different classes: use the same images.")
    exact = effects.estimate(measure)
    few, rows = min(top, len(exact.effect)), []
    for method, credit in found.by_method.items():
        if credit.shape != exact.effect.shape:
            raise UnitlensError(
                f"captum credits {len(credit)} units of {effects.layer}, which has {len(exact.effect)}: its output is "
                "not laid out as units first, and attributions cannot be compared."
            )
        for column, name in enumerate(found.classes):
            own, loss = _settled(credit[:, column]), _settled(-exact.effect[:, column])
            told = [effects.layer, method, name, int(exact.images[0, column])]
            rows.append([*told, spearman(own, loss), _overlap(own, loss, few), few, few / len(loss)])
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def over_classes(by_class: "pd.DataFrame") -> "pd.DataFrame":
    """Take the mean over classes of what `agreement_by_class` says: the table of `agreement`."""
    own = by_class.groupby("method", sort=False)
    found = own["spearman"].agg(spearman="mean", spearman_low="min", spearman_high="max")
    found = found.join(own[["overlap", "top", "chance"]].mean())
    table: pd.DataFrame = found.astype({"top": int}).reset_index()
    return table


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; 0 where one of the two is constant.

    Examples
    --------
    >>> round(spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 9])), 3)
    0.8
    """
    from scipy.stats import spearmanr

    if len(np.unique(one)) < 2 or len(np.unique(other)) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)


def _settled(values: Floats) -> Floats:
    """Values with 0 for what float32 cannot tell from it beside the largest: else rounding ranks what is tied."""
    return np.where(np.abs(values) > 1e-5 * np.abs(values).max(initial=0), values, 0.0)


def _overlap(credit: Floats, loss: Floats, few: int) -> float:
    first, second = (set(np.argsort(-values, kind="stable")[:few].tolist()) for values in (credit, loss))
    return len(first & second) / few


@contextmanager
def _evaluation_with_gradients(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module's training flag, and gradients of parameters, are as before afterwards."""
    before = [(module, module.training) for module in model.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for module, _ in before:
            module.training = False
        for parameter, _ in asked:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for module, training in before:
            module.training = training
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)


def _method(name: str, model: nn.Module, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """What computes one attribution of a batch, (N, U, ...)."""
    import captum.attr

    kind, arguments = METHODS[name]
    method = getattr(captum.attr, kind)(model, module)

    def compute(images: Tensor, own: Tensor) -> Tensor:
        # two steps at a time, the fewest that conductance takes: else all of a batch stand in memory at once
        steps = {"internal_batch_size": 2 * len(images)} if "n_steps" in arguments else {}
        found = method.attribute(images, target=own, **arguments, **steps)
        result: Tensor = found[0] if isinstance(found, tuple) else found
        return result.detach()

    return compute


def _add(sums: dict[str, Floats], method: str, found: Tensor, own: Tensor, classes: int) -> None:
    """Add a batch, summed over positions, to the sums of its classes."""
    each = found.double().reshape(*found.shape[:2], -1).sum(2).cpu().numpy()
    total = sums.setdefault(method, np.zeros((each.shape[1], classes)))
    for row, output in zip(each, own.tolist(), strict=True):
        total[:, output] += row
