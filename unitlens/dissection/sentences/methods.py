"""The paragraph on a dissection for the methods section of a paper, from what run.json records."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from unitlens.data.groups import in_time
from unitlens.dissection.sentences.citations import (
    DISSECTION_2017,
    FALSE_DISCOVERIES,
    FAMILIES,
    JACKKNIFE,
    ROTATIONS,
    UNITS_2020,
    Citation,
)
from unitlens.dissection.settings import CONTROLS, OF_DICTIONARIES, BasisRecord, Settings
from unitlens.plurals import counted
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS

Info = Mapping[str, Any]


class Sentence(NamedTuple):
    """A sentence, and what it cites."""

    text: str
    cites: tuple[Citation, ...] = ()


def methods_text(info: Info, settings: Settings) -> str:
    """The paragraph as text.

    Parameters
    ----------
    info : mapping
        run.json.
    settings : Settings
        Of the same run.
    """
    return " ".join(sentence.text for sentence in _sentences(info, settings))


def methods_bibtex(info: Info, settings: Settings) -> str:
    """The BibTeX entries of what the paragraph cites."""
    cited = dict.fromkeys(one for sentence in _sentences(info, settings) for one in sentence.cites)
    software = f"""@software{{unitlens,
  title = {{unitlens: unit analysis of vision networks}},
  version = {{{info["unitlens"]}}},
}}"""
    return "\n\n".join([*(one.bibtex for one in cited), software])


def _sentences(info: Info, settings: Settings) -> Iterator[Sentence]:
    yield from _network(info, settings)
    yield from _images(info, settings)
    yield from _masks(info, settings)
    yield from _concepts(settings)
    if settings.evidence:
        yield from _evidence(info, settings)
        yield from _controls(settings)
    yield _detectors(settings)
    yield _versions(info, settings)


def _network(info: Info, settings: Settings) -> Iterator[Sentence]:
    network, layers = info["network"], info["layers"]
    weights = {"none": "random weights", None: "weights as given"}.get(
        network["weights"], f"weights {network['weights']}"
    )
    described = ", ".join(
        f"{name} ({counted(layer['units'], 'unit')}, "
        + ("no grid)" if layer["grid"] is None else f"{_size(layer['grid'])} maps)")
        for name, layer in layers.items()
    )
    preset = {
        "pnas2020": ", by the definitions of Bau et al. (2020) (preset pnas2020)",
        "netdissect2017": ", by those of Bau, Zhou et al. (2017) (preset netdissect2017)",
    }.get(settings.preset, "")
    yield Sentence(
        f"Units of {network['name']} ({weights}; SHA-256 {network['sha256'][:12]}) were matched with concepts by "
        f"network dissection ({UNITS_2020.text}; {DISSECTION_2017.text}), with unitlens {info['unitlens']}{preset}.",
        (UNITS_2020, DISSECTION_2017),
    )
    what = "Layer" if len(layers) == 1 else "Layers"
    tap = {
        "output": "the activation is what the layer returns",
        "after_inplace": "the activation is what stands in its memory after the pass, behind in-place operations",
    }[settings.tap]
    layout = f", read as {settings.layout}" if settings.layout else ""
    yield Sentence(f"{what}: {described}{layout}; {tap}.")
    if settings.basis is not None:
        yield Sentence(
            f"Units are the {settings.basis.shape[0]} {settings.basis.noun} of a {settings.basis.of} "
            f"({settings.basis.source}; {_kind_of(settings.basis)}SHA-256 {settings.basis.sha256[:12]})."
        )


def _kind_of(basis: BasisRecord) -> str:
    return "" if basis.kind is None else f"{basis.kind}; "


def _images(info: Info, settings: Settings) -> Iterator[Sentence]:
    data, prepared = info["data"], info["network"]["preprocessing"]
    skipped = f"; {len(data['skipped'])} could not be read" if data["skipped"] else ""
    limit = f", spread evenly over the data set (limit {settings.limit})" if settings.limit else ""
    categories = counted(len(data["categories"]), "category", "categories")
    concepts = f"{counted(len(data['concepts']), 'concept')} in {categories} ({', '.join(data['categories'])})"
    if info["network"]["image"] == "output":
        low, high = info["network"]["latents"]["output_range"]
        yield Sentence(
            f"Data: {counted(data['images'], 'image')} of {_size(prepared['image_size'])} pixels that the network "
            f"drew from {data['source']}{limit} (SHA-256 of latents and sources {data['sha256'][:12]}{skipped}), its "
            f"outputs from {low:g} to {high:g} rescaled to 8 bits; {concepts}, marked in the images that were drawn."
        )
    else:
        yield Sentence(
            f"Data: {counted(data['images'], 'image')} of {data['source']}{limit} (SHA-256 of images and labels "
            f"{data['sha256'][:12]}{skipped}), brought to {_size(prepared['image_size'])} pixels; {concepts}."
        )
    groups = data.get("groups")
    if groups is not None:
        chosen = f" ({settings.groups})" if settings.groups else ""
        yield Sentence(
            f"Images that belong together form {counted(groups['count'], 'group')}{chosen} of up to "
            f"{counted(groups['largest'], 'image')}; folds, resamples, halves and draws go by group."
        )
    else:
        yield Sentence("Every image counts as independent of the others.")


def _masks(info: Info, settings: Settings) -> Iterator[Sentence]:
    beyond = {"edges": "their edges repeated", "zeros": "zeros beyond their borders"}[settings.upsampling]
    values = {
        "upsampled": "all positions of the label grid in all images",
        "raw": "all positions of the layer's own maps in all images",
    }[settings.threshold_on]
    yield Sentence(
        f"Maps were brought to a label grid of {_size(settings.grid)} bilinearly, {beyond}; a unit's mask is where its "
        f"activation lies strictly above the exact value that at most a share of {settings.quantile:g} of {values} "
        "exceed. Units whose largest value is reached on more positions are silent."
    )
    gridless = [name for name, layer in info["layers"].items() if layer["grid"] is None]
    if gridless:
        yield Sentence(f"In {', '.join(gridless)}, which has no grid, each image is one position.")
    union = {"annotated": "the images annotated for the concept's category", "all": "all images"}[settings.union]
    left = {"left_out": "are left out", "none": "count as none of the concepts"}[settings.not_judged]
    yield Sentence(
        f"IoU is the intersection of mask and concept over their union, each summed over {union}; positions not judged "
        f"{left}."
    )


def _concepts(settings: Settings) -> Iterator[Sentence]:
    score = "IoU" if settings.score == "iou" else f"{settings.score} (as unitlens defines it)"
    unique = {"unit": "each unit's concept", "category": "each unit's best concept of every category"}[settings.unique]
    yield Sentence(f"A unit's concept is the one of highest {score}; unique concepts are counted by {unique}.")


def _evidence(info: Info, settings: Settings) -> Iterator[Sentence]:
    images = int(info["data"]["images"])
    draws = settings.draws if images > 4 else min(settings.draws, math.factorial(images) - 1)
    yield Sentence(
        f"95 % intervals are jackknife intervals over up to {FOLDS} folds ({JACKKNIFE.text}), by a hash of the names, "
        f"on the scale of log(IoU / (1 - IoU)), and empty below {FEWEST_FOLDS} folds; the held-out IoU is that of the "
        "concept chosen on one half of the folds, measured on the other half, both ways, averaged.",
        (JACKKNIFE,),
    )
    moved = "every image takes the labels of another image annotated for the same categories"
    if in_time(settings.groups):
        moved += ", the same number of images on in the order of names, at least the length of a group"
    elif info["data"].get("groups") is not None:
        moved += ", those of a group together"
    yield Sentence(
        f"Chance levels come from up to {draws} draws in which {moved} (where few images are annotated for these, "
        "their labels are put into any order). A unit's statistic (its IoU, less the mean of its draws, over their "
        "standard deviation) is ranked among the same statistic of all units and draws of the layer, p = (1 + number "
        "at least as large) / (1 + number of draws of all units); silent units leave the pool. The same test of the "
        "held-out IoU asks whether the concept holds where it was not chosen."
    )
    kinds = (
        f"the strata of {settings.within}"
        if settings.within
        else "classes where they are known, else sets of images with much the same concepts"
    )
    yield Sentence(
        f"P-values are corrected within each layer ({FALSE_DISCOVERIES.text}) at a false discovery rate of "
        f"{settings.fdr:g}. In the test of context, labels come from images of the same kind only ({kinds}), and the "
        "statistic is the IoU again.",
        (FALSE_DISCOVERIES,),
    )
    if len(info["layers"]) > 1:
        yield Sentence(
            "q_over_layers corrects over all layers: layers are selected by Simes' p-values, and the units of S "
            f"selected ones of L are tested at S / L of the rate ({FAMILIES.text}).",
            (FAMILIES,),
        )


def _controls(settings: Settings) -> Iterator[Sentence]:
    passes = settings.control_passes
    copies, others = [one.seed for one in passes if one.kind == "untrained"], _other_controls(settings)
    if copies:
        seeds = f"seed {copies[0]}" if len(copies) == 1 else f"seeds {copies[0]} to {copies[-1]}"
        what = "An untrained copy" if len(copies) == 1 else f"{len(copies)} untrained copies"
        yield Sentence(
            f"{what} of the network (parameters reset, {seeds}; batch norm calibrated on the same images) "
            f"{'was' if len(copies) == 1 else 'were'} dissected in the same way."
        )
    for number, other in enumerate(others):
        first = "So" if copies or number else "Dissected in the same way, for comparison,"
        yield Sentence(f"{first} was {other.text}.", other.cites)
    if not copies:
        yield Sentence(f"No untrained copy of the network was dissected{'' if others else ' for comparison'}.")


def _other_controls(settings: Settings) -> list[Sentence]:
    """What was dissected beside untrained copies, as the subjects of sentences."""
    kinds = {one.kind for one in settings.control_passes}
    rotated = [Sentence(f"a random rotation of each layer's units ({ROTATIONS.text})", (ROTATIONS,))]
    dictionaries = [
        Sentence(f"{CONTROLS[kind]}{_matched(settings.basis)}") for kind in OF_DICTIONARIES if kind in kinds
    ]
    return (rotated if "rotated" in kinds else []) + dictionaries


def _matched(dictionary: BasisRecord | None) -> str:
    """In what a dictionary in which nothing was learnt is like the one whose place it takes."""
    name = "" if dictionary is None or dictionary.kind is None else dictionary.kind.partition(":")[0]
    if name in ("relu", "batchtopk", "jumprelu"):
        return ", each of whose features is active as often as the one that it replaces"
    if name == "topk":
        return (
            ", of which at most as many features are active at a position; how often each of them is, was not matched"
        )
    if name == "nmf":
        return ", whose activations are those of least squares; how often its features are active was not matched"
    return ""


def _detectors(settings: Settings) -> Sentence:
    least = f"{settings.min_iou:g}"
    rule = {
        "plain": f"its IoU is above {least}",
        "heldout": f"its IoU and its held-out IoU are above {least}",
        "lower": f"the lower end of its IoU's interval is above {least}",
    }[settings.rule]
    if not settings.evidence:
        return Sentence(f"A unit is called a detector where {rule}; chance was not tested.")
    untrained = [one for one in settings.control_passes if one.kind == "untrained"]
    copies = (
        ""
        if not untrained
        else ", and no unit of the untrained copy reaches its held-out IoU for that concept"
        if len(untrained) == 1
        else ", and units of fewer than half of the untrained copies reach its held-out IoU for that concept"
    )
    return Sentence(
        f"A unit is called a detector where q <= {settings.fdr:g} against any image, and against images of its kind "
        f"where that can be tested, and {rule}{copies}."
    )


def _versions(info: Info, settings: Settings) -> Sentence:
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items() if name != "unitlens")
    fast = f"; the network computed in a faster way that rounds differently ({settings.fast})" if settings.fast else ""
    return Sentence(f"Random seed {settings.seed}; {versions}{fast}.")


def _size(pair: Any) -> str:
    return " x ".join(map(str, pair))
