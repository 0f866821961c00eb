"""Segmentation networks as a concept source, for images that nobody marked; and how good their marks can be."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from unitlens.data.concepts import NOT_JUDGED, Concept, Ious
from unitlens.data.images import read_label_map
from unitlens.data.pixels.arrays import check_rgb
from unitlens.data.segmentation.predictors import predictor
from unitlens.data.segmentation.scenes import BUNDLED, SceneLabels
from unitlens.data.segmentation.segments import Labels, Predictor, Segments, read_ious, read_labels
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import cache_folder, make_folder, write_whole

_FORMAT = "2"  # of what is kept; another number and nothing old is found


@dataclass(frozen=True, eq=False, repr=False)
class Segmenter:
    """A segmentation network as a concept source.

    A label cannot be better than the segmenter: `unitlens.data.segmentation.accuracy.segmenter_iou` measures it where
    there is ground truth.

    Attributes
    ----------
    predictor : Predictor
        What labels pixels, with its network's weights as they were when it was made.
    category : str
        Of its concepts.
    confidence : float
        Pixels below this confidence are ignored (not judged).
    cache : Path or None
        Where its maps are kept: a PNG for each, by the content of weights, image and settings.
    ious : mapping of (str, str) to float
        How good it is at each concept, by (category, name), where that was measured.
    """

    predictor: Predictor
    category: str
    confidence: float
    cache: Path | None
    ious: Ious = field(default_factory=dict)

    @property
    def fingerprint(self) -> str | None:
        """Of its weights, and of what else decides its marks; None of a function, which has none."""
        weights = self.predictor.weights or self.predictor.fingerprint
        return None if weights is None else f"{weights} {self.confidence}"

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The network's classes but those that mean nothing; the label is the class's number + 1."""
        return tuple(Concept(self.category, number + 1, name) for number, name in sorted(self.predictor.names.items()))

    def __repr__(self) -> str:
        return f"segmenter {self.predictor.title}"

    def planes(self, image: npt.NDArray[np.uint8], name: str) -> Mapping[str, Sequence[npt.NDArray[np.uint16]]]:
        """One label map, from the cache where it is there.

        Returns
        -------
        mapping of the category to one uint16 array, (rows, columns)
            Of the whole image at the network's resolution; 0 is none, 65535 not judged.
        """
        check_rgb(image, name, "segmenters")
        kept = self._kept(image)
        if kept is None:
            return {self.category: [self._labels(image)]}
        labels = _read(kept)
        if labels is None:
            labels = self._labels(image)
            _write(kept, labels)
        return {self.category: [labels]}

    def planes_of(self, images: npt.NDArray[np.uint8]) -> Mapping[str, Sequence[npt.NDArray[np.uint16]]]:
        """The label maps of many images, uint8 (N, height, width, 3), in one pass of the network and without the cache.

        Returns
        -------
        mapping of the category to one uint16 array, (N, rows, columns)
            As for `planes`.
        """
        if self.predictor.network is None:
            return {self.category: [np.stack([self._labels(image) for image in images])]}
        return {
            self.category: [self._numbered(self.predictor.network.segments(images, confidence=self.confidence > 0))]
        }

    def probabilities(self, images: Tensor) -> Tensor:
        """How likely each concept is at each position, in the order of concepts; gradients flow to the images.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            In [0, 1].

        Returns
        -------
        Tensor, (N, C, rows, columns)

        Raises
        ------
        UnitlensError
            If the segmenter is a function, or returns classes without scores.
        """
        network = self.predictor.network
        scores = None if network is None else network.scores(images)
        if scores is None:
            raise UnitlensError(
                f"The {self!r} gives no scores of its classes, through which gradients could flow: give the network "
                "itself to ul.segmenter, or choose another method than 'optimise'."
            )
        return scores.softmax(1)[:, sorted(self.predictor.names)]

    def _labels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        return self._numbered(self.predictor.predict(image))

    def _numbered(self, segments: Segments) -> npt.NDArray[np.uint16]:
        classes, confidence = segments
        known = np.zeros(int(classes.max(initial=0)) + 1, np.uint16)
        for number in self.predictor.names:
            if number < len(known):
                known[number] = number + 1
        labels: npt.NDArray[np.uint16] = np.where(classes < 0, NOT_JUDGED, known[np.maximum(classes, 0)])
        if self.confidence > 0:
            if confidence is None:
                raise UnitlensError(
                    f"The {self!r} gives classes without scores, so that they have no confidence: leave it at 0."
                )
            labels = np.where(confidence < self.confidence, NOT_JUDGED, labels)
        return labels.astype(np.uint16)

    def _kept(self, image: npt.NDArray[np.uint8]) -> Path | None:
        if self.cache is None or self.predictor.fingerprint is None:
            return None
        content = (_FORMAT, self.predictor.fingerprint, sorted(self.predictor.names), self.confidence, image.shape)
        key = hashlib.sha256(repr(content).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
        return self.cache / key[:2] / f"{key}.png"


@overload
def segmenter(model: Literal["bundled:scenes-segmenter"], *, seed: int = 0, device: str = "cpu") -> SceneLabels: ...
@overload
def segmenter(
    model: Any,
    *,
    weights: str | Path | None = None,
    labels: Labels | str | Path | None = None,
    category: str = "object",
    confidence: float = 0.0,
    size: int | None = None,
    cache: str | Path | None = "default",
    fingerprint: str | None = None,
    ious: Mapping[str, float] | str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Segmenter: ...
def segmenter(
    model: Any,
    *,
    weights: str | Path | None = None,
    labels: Labels | str | Path | None = None,
    category: str = "object",
    confidence: float = 0.0,
    size: int | None = None,
    cache: str | Path | None = "default",
    fingerprint: str | None = None,
    ious: Mapping[str, float] | str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Segmenter | SceneLabels:
    """Make a concept source of a segmentation network.

    Parameters
    ----------
    model : str, Network, nn.Module or callable
        "bundled:scenes-segmenter" for the one that comes along
        (`unitlens.data.segmentation.scenes.SceneLabels`: objects, parts and materials of the drawn scenes, without
        further options); "deeplabv3_resnet50" or another of torchvision's; "hf:FOLDER" or "hf:NAME"
        (`unitlens.data.segmentation.transformers`); "package.module:callable" or "path/to/file.py:callable" for a
        function that gives a module. Or such a thing itself: it is called with images, float (1, 3, height, width) in
        [0, 1] (a `Network` normalises them), and returns scores (1, classes, rows, columns) or whole numbers (1, rows,
        columns), less than 0 where not judged. A function with a parameter ``words`` gets ``labels`` by it and returns
        scores of these; a word is where its score is the highest, and above 0.
    weights : str or Path, optional
        As in `unitlens.load`: of a network by name, "DEFAULT" (downloaded), a file, or "none" (untrained).
    labels : sequence or mapping of int to str, or path, optional
        Of segmenters that take words (CLIPSeg; a detector of words with SAM) the words to find. Of others a name for
        each class. Or a file of either (`unitlens.data.segmentation.segments.read_labels`). None, "background" and the
        like, and classes without a name, mean none of the others. Torchvision's and Hugging Face's networks say their
        own.
    category : str
        Of the concepts.
    confidence : float
        Ignore pixels below this confidence, in [0, 1): they are not judged.
    size : int, optional
        The shorter side that images are scaled to; else torchvision's statement (520), Hugging Face's processor, or
        as they are.
    cache : str, Path or None
        The folder where maps are kept; "default" is ``unitlens/segments`` in the user's cache folder, None or "none"
        keeps nothing.
    fingerprint : str, optional
        Of a function, what changes when its answers do; without it, nothing of a function is kept.
    ious : mapping of str to float, or path, optional
        How good it is at its concepts, by their names, as `unitlens.data.segmentation.accuracy.segmenter_iou` measures
        it, or a file that says it (`unitlens.data.segmentation.segments.read_ious`); it stands beside every number that
        rests on its marks.
    seed : int
        For untrained weights.
    device : str
        Where the network goes. On a GPU, keep ``workers`` at 0.

    Raises
    ------
    UnitlensError
        If there is no such network, it does not label pixels, or a setting is out of its range.
    """
    if isinstance(model, str) and model == BUNDLED:
        named = None if category == "object" else category
        _check_untouched(weights=weights, labels=labels, category=named, confidence=confidence, size=size, ious=ious)
        return SceneLabels.bundled(device=device)
    _check_numbers(confidence, size)
    labels = read_labels(labels) if isinstance(labels, str | Path) else labels
    made = predictor(model, weights=weights, labels=labels, size=size, seed=seed, device=device)
    if made.fingerprint is None and fingerprint is not None:
        made = made._replace(fingerprint=f"{fingerprint} {size}")
    if max(made.names) + 1 >= NOT_JUDGED:
        raise UnitlensError(f"{made.title} has a class of number {max(made.names)}; at most {NOT_JUDGED - 2} can be.")
    folder = None if cache in (None, "none") else cache_folder("segments") if cache == "default" else Path(cache)
    known = sorted(set(made.names.values()))
    ious = read_ious(ious, category) if isinstance(ious, str | Path) else ious
    for name in ious or {}:
        if name not in known:
            raise UnitlensError(f"ious has {name!r}{did_you_mean(name, known)}, which is no concept of {made.title}.")
    return Segmenter(made, category, confidence, folder, {(category, name): iou for name, iou in (ious or {}).items()})


def _check_untouched(**settings: Any) -> None:
    """Make sure that nothing is asked of the bundled segmenter that it does not do."""
    for name, value in settings.items():
        if value:
            raise UnitlensError(
                f"{argument(name, option=f'--segmenter-{name}')} is for other segmenters; {BUNDLED} has its own: leave "
                "it out."
            )


def _check_numbers(confidence: float, size: int | None) -> None:
    if not 0 <= confidence < 1:
        raise UnitlensError(f"confidence is {confidence}; it lies between 0 and 1.")
    if size is not None and size < 1:
        raise UnitlensError(f"size is {size}; it is a number of pixels, 1 or more.")


def _read(path: Path) -> npt.NDArray[np.uint16] | None:
    """A kept map; None where there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        return read_label_map(path).pixels.astype(np.uint16)
    except UnitlensError:  # damaged, or no map at all
        return None


def _write(path: Path, labels: npt.NDArray[np.uint16]) -> None:
    """Keep a map, whole or not at all; a full disk costs time and nothing else."""
    content = io.BytesIO()
    Image.fromarray(labels).save(content, format="PNG")
    with suppress(UnitlensError):
        make_folder(path.parent)
        write_whole(path, content.getvalue())
