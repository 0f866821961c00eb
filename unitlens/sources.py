"""What ``--data`` and ``--concepts`` take: annotated pictures by a path or a name, and what else marks them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unitlens.concepts import Data
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.folder import annotated
from unitlens.readers import FORMATS, open_format, pictures_only, recognised
from unitlens.stacking import ConceptSource, check_names, folder_tags, tags, with_concepts

BUNDLED = ("bundled:scenes",)
NATIVE = "folder"
OWN = "masks"
SOURCES = (OWN, "colors", "folders", "tags:FILE.csv", "segmenter:NETWORK")
"""What ``--concepts`` takes, besides a `ConceptSource` in Python."""


def open_data(
    source: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    concepts: Sequence[str | ConceptSource] = (OWN,),
    segmenter_options: dict[str, Any] | None = None,
    pictures: int | None = None,
    seed: int = 0,
) -> Data:
    """Open annotated pictures.

    Parameters
    ----------
    source : str or Path
        An annotated folder, a data set in another format, a folder of pictures, or ``bundled:scenes``.
    format : str, optional
        "folder" (the annotated folder) or a name of `unitlens.readers.FORMATS`; recognised by its layout otherwise.
    split : str, optional
        Of a data set that has several: "train", "val2017", ...
    concepts : sequence of str or ConceptSource
        What counts: "masks" is what the data set itself marks; "colors" the color of every pixel; "folders" the name of
        each picture's folder; "tags:FILE.csv" words for whole pictures (`unitlens.stacking.tags`);
        "segmenter:NETWORK" what a segmentation network finds (`unitlens.segmenters.segmenter`).
    segmenter_options : dict, optional
        Keywords for `unitlens.segmenters.segmenter`: weights, labels, confidence, category, size, device, cache.
    pictures : int, optional
        How many bundled scenes; 1,000.
    seed : int
        Of bundled scenes, and of untrained weights.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If there is no such folder, format, split, source or bundled data set, or the folder could be several formats.

    Examples
    --------
    >>> data = open_data("bundled:scenes", pictures=2, concepts=["colors"])
    >>> len(data), [concept.name for concept in data.concepts][:3]
    (2, ['black', 'blue', 'brown'])
    """
    data = _bundled(str(source), format, split, pictures, seed)
    data = _opened(Path(source), format, split) if data is None else data
    if isinstance(concepts, str) or not concepts:
        raise UnitlensError(f"concepts is {concepts!r}; it is a list of sources, such as ['masks', 'colors'].")
    if list(concepts) == [OWN]:
        return data
    options = {"seed": seed, **(segmenter_options or {})}
    further = [_source(one, data, options) for one in concepts if one != OWN]
    return with_concepts(data, *further, own=OWN in concepts)


def _bundled(source: str, format: str | None, split: str | None, pictures: int | None, seed: int) -> Data | None:
    if not source.startswith("bundled:"):
        return None
    if source not in BUNDLED:
        raise UnitlensError(f"There is no {source}{did_you_mean(source, BUNDLED)}; there is {', '.join(BUNDLED)}.")
    if format is not None or split is not None:
        raise UnitlensError(f"{source} has neither formats nor splits: leave them out.")
    from unitlens.scenes import Scenes

    return Scenes(1000 if pictures is None else pictures, seed=seed)


def _opened(root: Path, format: str | None, split: str | None) -> Data:
    if format not in (None, NATIVE):
        known = (NATIVE, *FORMATS)
        if format not in known:
            raise UnitlensError(
                f"There is no data format {format!r}{did_you_mean(str(format), known)}; there are {', '.join(known)}."
            )
        return open_format(root, str(format), split=split)
    native = (root / "images").is_dir() and ((root / "concepts.csv").is_file() or (root / "labels").is_dir())
    found = None if format == NATIVE or native or not root.is_dir() else recognised(root)
    if found is not None:
        return open_format(found.root, found.format, split=split)
    if split is not None:
        raise UnitlensError(f"{root} has no splits to choose {split!r} from: leave the split out.")
    if format is None and root.is_dir() and not (root / "images").is_dir():
        return pictures_only(root)
    return annotated(root)


def _source(one: str | ConceptSource, data: Data, options: dict[str, Any]) -> ConceptSource:
    """A source by its name; what is one already, as it is."""
    if not isinstance(one, str):
        return one
    kind, _, rest = one.partition(":")
    if one == "colors":
        from unitlens.colors import Colors

        return Colors()
    if one == "folders":
        return folder_tags(data)
    if kind == "tags" and rest:
        found = tags(rest)
        check_names(found, data)
        return found
    if kind == "segmenter" and rest:
        from unitlens.segmenters import segmenter

        return segmenter(rest, **options)
    raise UnitlensError(
        f"There is no concept source {one!r}{did_you_mean(kind, SOURCES)}; there are {', '.join(SOURCES)}."
    )
