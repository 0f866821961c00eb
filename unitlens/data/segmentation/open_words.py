"""Segmenters that take words: CLIPSeg, detectors of words (OWL-ViT, Grounding DINO) with SAM, and functions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unitlens.data.segmentation.segments import (
    Labels,
    Pixels,
    Predictor,
    Segments,
    fingerprint_of,
    scaled,
    table_of,
    to_segments,
    weights_of,
)
from unitlens.errors import UnitlensError, argument
from unitlens.models.hubs import hub_errors, hub_package
from unitlens.models.passes import evaluating

_AT_ONCE = 16
"""Words that are looked for in an image at a time."""
_FOUND = 0.1
"""Boxes of a lower score are left out."""
_MASKED_BY = "+"
"""Between a detector and the network that makes masks of its boxes."""


def takes_words(name: str, *, weights: str | Path | None) -> bool:
    """Whether a name of Hugging Face is that of CLIPSeg, or of a detector of words and SAM, ``DETECTOR+SAM``."""
    if _finds_and_masks(name):
        return True
    transformers, local = hub_package("transformers", f"hf:{name}", "hf"), weights != "DEFAULT"
    with hub_errors(f"hf:{name}", local=local, option="--segmenter-weights"):
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    return type(config).__name__ == "CLIPSegConfig"


def word_segmenter(
    name: str, *, weights: str | Path | None, labels: Labels | None, size: int | None, device: str
) -> Predictor:
    """Open a segmenter of Hugging Face that takes words: where no word has a score above 0, there is none.

    Parameters
    ----------
    name, weights, size, device
        As for `unitlens.data.segmentation.transformers.hugging_face`. ``DETECTOR+SAM``, such as
        ``google/owlvit-base-patch32+facebook/sam-vit-base``, is a detector (OWL-ViT, OWLv2, Grounding DINO) that finds
        boxes of words, and SAM, which makes a mask of each box.
    labels : optional
        The words.

    Raises
    ------
    UnitlensError
        If there are no words, or a network cannot be opened.

    References
    ----------
    Lüddecke and Ecker, "Image segmentation using text and image prompts", CVPR 2022 (CLIPSeg). Minderer et al., "Simple
    open-vocabulary object detection with vision transformers", ECCV 2022 (OWL-ViT). Ren et al., "Grounded SAM", 2024.
    Kirillov et al., "Segment anything", ICCV 2023.
    """
    opens = _detector_and_masks if _finds_and_masks(name) else _clipseg
    return opens(name, weights=weights, labels=labels, size=size, device=device)


def _finds_and_masks(name: str) -> bool:
    return _MASKED_BY in name and not Path(name).exists()


def _clipseg(
    name: str, *, weights: str | Path | None, labels: Labels | None, size: int | None, device: str
) -> Predictor:
    words = _words(labels, f"hf:{name}")
    local = weights != "DEFAULT"
    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    transformers = hub_package("transformers", f"hf:{name}", "hf")
    with hub_errors(f"hf:{name}", local=local, option="--segmenter-weights"):
        kind = transformers.CLIPSegForImageSegmentation
        model = kind.from_pretrained(name, use_safetensors=True, **where).to(device)
        processor = transformers.AutoImageProcessor.from_pretrained(
            name, **where, **({} if size is None else {"size": {"height": size, "width": size}})
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **where)
    tokens = tokenizer(list(words.values()), padding=True, return_tensors="pt").to(device)
    with evaluating(model):
        prompts = model.get_conditional_embeddings(batch_size=len(words), **_texts(tokens))
    run = partial(_clipseg_scores, model=model, processor=processor, prompts=prompts)
    return _of_scores(run, words, f"hf:{name}", model, sorted(processor.to_dict().items(), key=str))


def _clipseg_scores(image: Pixels, *, model: Any, processor: Any, prompts: Tensor) -> Tensor:
    pixels = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].to(model.device)
    with evaluating(model):
        parts = [
            model(pixel_values=pixels.expand(len(some), -1, -1, -1), conditional_embeddings=some).logits
            for some in torch.split(prompts, _AT_ONCE)
        ]
    return torch.cat([part.reshape(-1, *part.shape[-2:]) for part in parts])


def _detector_and_masks(
    name: str, *, weights: str | Path | None, labels: Labels | None, size: int | None, device: str
) -> Predictor:
    title = f"hf:{name}"
    words = _words(labels, title)
    if size is not None:
        raise UnitlensError(
            f"{title} prepares images for each of its two networks: leave "
            f"{argument('size', option='--segmenter-size')} out."
        )
    local = weights != "DEFAULT"
    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    transformers = hub_package("transformers", title, "hf")
    finder, _, masker = name.partition(_MASKED_BY)
    parts = []
    for part, kind in ((finder, transformers.AutoModelForZeroShotObjectDetection), (masker, transformers.SamModel)):
        with hub_errors(f"hf:{part}", local=local, option="--segmenter-weights"):
            model = kind.from_pretrained(part, use_safetensors=True, **where).to(device)
            parts.append((model, transformers.AutoProcessor.from_pretrained(part, **where)))
    pair = torch.nn.ModuleList([model for model, _ in parts])
    run = partial(_boxes_and_masks, finder=parts[0], masker=parts[1], words=list(words.values()))
    return _of_scores(run, words, title, pair, name)


def _boxes_and_masks(image: Pixels, *, finder: Any, masker: Any, words: Sequence[str]) -> Tensor:
    """Of each word, the score of the best box whose mask holds the pixel, less that of a box that is left out."""
    boxes, scores, which = _boxes(image, finder, words)
    out = torch.full((len(words), *image.shape[:2]), -1.0)
    if not len(boxes):
        return out
    model, processor = masker
    inputs = processor(images=Image.fromarray(image), input_boxes=[boxes.tolist()], return_tensors="pt")
    sizes, reshaped = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    with evaluating(model):
        found = model(
            pixel_values=inputs["pixel_values"].to(model.device),
            input_boxes=inputs["input_boxes"].to(model.device, torch.float32),
            multimask_output=False,
        )
    (masks,) = processor.image_processor.post_process_masks(found.pred_masks.cpu(), sizes, reshaped)
    for mask, score, word in zip(masks[:, 0], scores.tolist(), which.tolist(), strict=True):
        out[word] = torch.where(mask, out[word].clamp_min(score - _FOUND), out[word])
    return out


def _boxes(image: Pixels, finder: Any, words: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes of words in an image, their scores, and the number of the word of each."""
    (model, processor), boxes, scores, which = finder, [], [], []
    for number, word in enumerate(words):  # one by one: what a detector says of a word does not depend on the others
        inputs = processor(images=Image.fromarray(image), text=_prompt(model, word), return_tensors="pt")
        with evaluating(model):
            output = model(**inputs.to(model.device))
        size = [tuple(image.shape[:2])]
        settings: dict[str, Any] = {"target_sizes": size, "threshold": _FOUND}
        (found,) = processor.post_process_grounded_object_detection(output, **_asked(processor, inputs, settings))
        boxes.append(found["boxes"].cpu().reshape(-1, 4))
        scores.append(found["scores"].cpu())
        which.append(torch.full((len(found["scores"]),), number))
    return torch.cat(boxes), torch.cat(scores), torch.cat(which)


def _prompt(model: Any, word: str) -> Any:
    """A word as a detector takes it: Grounding DINO a sentence in lower case, OWL-ViT a list."""
    return f"{word.lower()}." if "Dino" in type(model).__name__ else [[word]]


def _asked(processor: Any, inputs: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What the boxes of a detector are read with: Grounding DINO's takes the words too."""
    takes = inspect.signature(processor.post_process_grounded_object_detection).parameters
    return {**settings, **({"input_ids": inputs["input_ids"]} if "input_ids" in takes else {})}


def takes_words_itself(function: Any) -> bool:
    """Whether a function has a parameter ``words``, which gets the words that it is to find."""
    try:
        return "words" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def word_function(function: Callable[..., Any], *, labels: Labels | None, size: int | None, title: str) -> Predictor:
    """A function of an image and words, float (1, 3, height, width) and a list, to scores, (1, W, rows, columns).

    A word is where its score is the highest and above 0.

    Raises
    ------
    UnitlensError
        If there are no words.
    """
    words = _words(labels, title)
    known = list(words.values())

    def run(image: Pixels) -> Tensor:
        with torch.inference_mode():
            scores = torch.as_tensor(function(scaled(image, size), words=known))
        if scores.ndim != 4 or scores.shape[:2] != (1, len(known)):
            raise UnitlensError(
                f"{title} gives {tuple(scores.shape)} for an image and {len(known)} words; it gives scores, "
                f"(1, {len(known)}, rows, columns)."
            )
        return scores[0].float()

    return Predictor(partial(_with_nothing, scores=run), words, title, None)


def _of_scores(
    scores: Callable[[Pixels], Tensor], words: Mapping[int, str], title: str, model: Any, *settings: Any
) -> Predictor:
    known = weights_of(model)
    fingerprint = fingerprint_of(model, sorted(words.items()), *settings, weights=known)
    asked = f"{known} {sorted(words.items())}"  # other words are other marks
    return Predictor(partial(_with_nothing, scores=scores), words, title, fingerprint, weights=asked)


def _with_nothing(image: Pixels, *, scores: Callable[[Pixels], Tensor]) -> Segments:
    """Where no word has a score above 0, there is none of them: class 0."""
    found = scores(image)
    return to_segments(torch.cat([torch.zeros_like(found[:1]), found])[None].cpu())


def _words(labels: Labels | None, title: str) -> dict[int, str]:
    """The words by their classes, from 1 on."""
    if labels is None:
        raise UnitlensError(
            f"{title} finds what it is asked for: give the words with "
            f"{argument('labels', option='--segmenter-labels')}, a file with a word a line."
        )
    return dict(enumerate(table_of(labels).values(), start=1))


def _texts(tokens: Any) -> dict[str, Tensor]:
    return {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
