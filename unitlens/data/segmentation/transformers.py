"""Hugging Face's segmentation networks: semantic ones (SegFormer, ...), and those of masks (Mask2Former, OneFormer)."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unitlens.data.images import same_aspect
from unitlens.data.segmentation.segments import (
    Labels,
    Pixels,
    Predictor,
    Segments,
    fingerprint_of,
    table_of,
    to_segments,
    weights_of,
)
from unitlens.errors import UnitlensError
from unitlens.models.hubs import hub_errors, hub_package
from unitlens.models.passes import evaluating


def hugging_face(
    name: str, *, weights: str | Path | None, labels: Labels | None, size: int | None, device: str
) -> Predictor:
    """Load a segmentation network of Hugging Face.

    Parameters
    ----------
    name : str
        A folder with config.json, model.safetensors and preprocessor_config.json; or a name on the Hub, which is taken
        from the local cache, or with ``weights="DEFAULT"`` downloaded. Only safetensors are read, and no code of the
        repository is run.
    weights : str, optional
        "DEFAULT" to allow a download, else None.
    labels : optional
        In place of the network's own names.
    size : int, optional
        In place of the processor's: the shorter side, or both sides where it squashes images to a square.
    device : str
        Where it goes.

    Raises
    ------
    UnitlensError
        If transformers is not installed, or there is no such network, or it does not label pixels.
    """
    transformers, local = hub_package("transformers", f"hf:{name}", "hf"), weights != "DEFAULT"
    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    with hub_errors(f"hf:{name}", local=local, option="--segmenter-weights"):
        config = transformers.AutoConfig.from_pretrained(name, **where)
        model = _kind_of(config, name).from_pretrained(name, use_safetensors=True, **where)
        images = transformers.AutoImageProcessor
        processor = images.from_pretrained(name, **where)
        if size is not None:
            processor = images.from_pretrained(name, size=_sides(processor.size, size), **where)
    model = model.to(device)
    names = table_of(labels if labels is not None else config.id2label)
    known = weights_of(model)
    fingerprint = fingerprint_of(model, sorted(processor.to_dict().items(), key=str), weights=known)
    run = partial(_run, model=model, processor=processor)
    return Predictor(run, names, f"hf:{name}", fingerprint, weights=known)


def _sides(size_of_processor: Any, size: int) -> dict[str, int]:
    """The sizes to give a processor: a square where it makes one, else the shorter side, and the longer in ratio."""
    sides = {key: int(side) for key, side in dict(size_of_processor).items() if side is not None}
    if "shortest_edge" not in sides:
        return dict.fromkeys(("height", "width"), size)
    longest = sides.get("longest_edge")
    return {"shortest_edge": size} | (
        {} if longest is None else {"longest_edge": size * longest // sides["shortest_edge"]}
    )


def _kind_of(config: Any, name: str) -> Any:
    import transformers

    kinds = ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation")
    for kind in (getattr(transformers, kind) for kind in kinds):
        if type(config) in kind._model_mapping:
            return kind
    raise UnitlensError(f"hf:{name} is a {type(config).__name__.removesuffix('Config')}, which does not label pixels.")


def _run(image: Pixels, *, model: Any, processor: Any) -> Segments:
    tasks = {"task_inputs": ["semantic"]} if "OneFormer" in type(model).__name__ else {}
    inputs = processor(images=Image.fromarray(image), return_tensors="pt", **tasks).to(model.device)
    with evaluating(model):
        output = model(**inputs)
    segments = _of_masks(output) if hasattr(output, "masks_queries_logits") else to_segments(output.logits)
    return _unsquashed(segments, image) if _whole(processor, inputs) else segments


def _whole(processor: Any, inputs: Any) -> bool:
    """Whether the network saw the image from edge to edge and nothing else, whatever it was squashed to."""
    mask = inputs.get("pixel_mask")
    padded = getattr(processor, "do_pad", False) if mask is None else not bool(mask.all())
    return not (padded or getattr(processor, "do_center_crop", False))


def _unsquashed(segments: Segments, image: Pixels) -> Segments:
    """Segments in the image's own proportions (at its size, by the nearest), where they have others."""
    here, there = segments.classes.shape, image.shape[:2]
    if same_aspect(there, here):
        return segments
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(there, here, strict=True))
    at = np.ix_(rows, columns)
    return Segments(segments.classes[at], None if segments.confidence is None else segments.confidence[at])


def _of_masks(output: Any) -> Segments:
    """Semantic labels of masks with classes: the class of the largest sum, over queries, of p(class) p(mask).

    Source: Cheng, Schwing, Kirillov, "Per-Pixel Classification is Not All You Need", NeurIPS 2021, 3.3. The confidence
    is that sum, at most 1.
    """
    of_class = output.class_queries_logits[0].float().softmax(-1)[:, :-1]  # the last class is "no object"
    scores = torch.einsum("qc,qhw->chw", of_class, output.masks_queries_logits[0].float().sigmoid())
    confidence, classes = scores.max(0)
    return Segments(classes.cpu().numpy(), np.minimum(confidence.cpu().numpy(), 1))
