"""Explain predictions: what every unit, and every concept, of a layer does to the answer for one image."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import nn

from unitlens.ablation.activity import LayerValues
from unitlens.ablation.attribution import METHODS, attribution_method
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measuring import Design, measure
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.readers.given import Given, given_images, images_of
from unitlens.data.reading import Reading, Subset, chosen_images
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, UnitlensWarning, did_you_mean
from unitlens.explaining.asked import AskedLayer, describe, given_value, map_reader, output_classes
from unitlens.explaining.explanation import TOP, Explanations
from unitlens.explaining.reasons import Attribute, Reasons
from unitlens.explaining.smallest_sets import MOST
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.layers import find_layers
from unitlens.models.network import Network

FEW_ATTRIBUTIONS = ("activation_x_gradient",)
"""The attribution that takes one pass; the others of `METHODS` take dozens."""


def explain(
    net: Network | nn.Module,
    dissection: Dissection,
    images: Given | Sequence[Given] | Data,
    *,
    layer: str | None = None,
    class_: str | int | None = None,
    names: Sequence[str] | None = None,
    of_class: str | int | None = None,
    top: int = TOP,
    most: int = MOST,
    value: float | Literal["mean"] = 0.0,
    basis: BasisLike | None = None,
    data: Data | None = None,
    attributions: Sequence[str] = FEW_ATTRIBUTIONS,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    progress: bool = False,
) -> Explanations:
    """Explain what the network says of images, by the units of a layer and the concepts that they look for.

    Of every image: what the removal of each unit alone does to the logit and the probability of the class (every unit
    of the layer, exactly, by replay of what lies behind it), what removing the first ones together does, and all units
    of each concept together; and the smallest set of units whose removal changes the prediction.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then. It returns scores of classes.
    dissection : Dissection
        Of its units: their concepts, verdicts and thresholds.
    images : str, Path, array of (height, width, bands), a sequence of them, or Data
        Image files of any folder, arrays, or a data set.
    layer : str, optional
        Its name; that of the dissection, where it is of one layer.
    class_ : str or int, optional
        The class whose logit and probability are followed; the predicted one of each image, unless given.
    names : sequence of str, optional
        Of a data set, the images with these names.
    of_class : str or int, optional
        Of a data set, the images of this class.
    top : int
        So many units are ablated together: the first, the first two, ...
    most : int
        Smallest sets of so many units at most are looked for; 0: none is.
    value : float or "mean"
        What units are set to: a number, or each unit's mean over the images of the dissection.
    basis : matrix, file of one, or Dictionary, optional
        The directions that are the units of the dissection, where it was of a basis; else they are read from the file
        that it names.
    data : Data, optional
        For "mean" of heads of attention, of which a dissection has the lengths alone: its images.
    attributions : sequence of str
        Of `unitlens.ablation.attribution.METHODS`: what captum attributes to the units, to compare with; not
        of directions.
    limit : int, optional
        Only so many images, spread evenly over the data set.
    fast : bool or {"float32", "bfloat16"}
        As for `unitlens.ablate`.
    workers, seed, strict, progress
        As for `unitlens.dissect`.

    Returns
    -------
    Explanations

    Raises
    ------
    UnitlensError
        If there is no such image, class, layer or method, the dissection is of another network, or the network does not
        return scores of classes.

    Warns
    -----
    UnitlensWarning
        If images are left out, or every unit takes a full pass of the network.

    References
    ----------
    Bau et al., "Understanding the role of individual units in a deep neural network", PNAS 117 (2020): what units do to
    predictions, over a data set; here for single images.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> d = ul.dissect(net, "relu6", ul.Scenes(24), exemplars=0)
    >>> reasons = ul.explain(net, d, ul.Scenes(2, split="test"))
    >>> reasons.table()[["image", "class", "unit", "concept"]].shape
    (256, 4)
    """
    net = as_network(net, dissection.info)
    asked = AskedLayer.of(net, dissection, layer, basis)
    means_of = None if data is None else as_data(data)
    data = images_of(given_images(images), names=names, of_class=of_class)
    data = data if limit is None else Subset(data, chosen_images(data, limit, seed=seed))
    classes = output_classes(net, data)
    reasons = Reasons(
        labelled=asked.labelled,
        maps=map_reader(net, dissection, asked),
        settings=dissection.settings,
        class_=None if class_ is None else classes.output(class_),
        top=_whole("top", top, 1),
        most=_whole("most", most, 0),
        shown=net.preprocessing.shown,
        attributions={} if asked.basis else _attributes(net, asked.place, attributions),
    )
    design = Design(
        layers=(asked.place,),
        values=(LayerValues(Replacement(given_value(value, net, dissection, asked, means_of))),),
        response=reasons,
        fast=chosen_precision(fast),
        basis=asked.basis,
    )
    reading = Reading(batch_size=1, workers=workers, seed=seed, strict=strict, progress=progress)
    measured = measure(net, data, design, reading)
    for note in measured.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=2)
    info = describe(
        net,
        data,
        measured.data,
        settings={"layer": asked.name, "value": value, "top": top, "most": most},
        seconds=measured.seconds,
        notes=measured.notes,
        replay=measured.replay,
    )
    return Explanations(info, asked.name, classes.names, asked.labelled, tuple(measured.counts))


def _whole(name: str, value: int, least: int) -> int:
    if value < least:
        raise UnitlensError(f"{name} is {value}; it is {least} or more.")
    return value


def _attributes(net: Network, layer: str, methods: Sequence[str]) -> Mapping[str, Attribute]:
    for method in methods:
        if method not in METHODS:
            raise UnitlensError(
                f"There is no attribution {method!r}{did_you_mean(method, METHODS)}; there are {', '.join(METHODS)}."
            )
    (ref,) = find_layers(net.model, [layer])
    if (ref.call, ref.item, ref.heads) != (None, None, None):
        return {}
    return {method: attribution_method(method, net.model, ref.module) for method in methods}
