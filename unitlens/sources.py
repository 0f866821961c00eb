"""What ``--data`` takes: annotated pictures, by a path or a name."""

from pathlib import Path

from unitlens.concepts import Data
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.folder import annotated
from unitlens.readers import FORMATS, open_format, pictures_only, recognised

BUNDLED = ("bundled:scenes",)
NATIVE = "folder"


def open_data(
    source: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
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
    pictures : int, optional
        How many bundled scenes; 1,000.
    seed : int
        Of bundled scenes.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If there is no such folder, format, split or bundled data set, or the folder could be several formats.
    """
    if str(source).startswith("bundled:"):
        if source not in BUNDLED:
            raise UnitlensError(
                f"There is no {source}{did_you_mean(str(source), BUNDLED)}; there is {', '.join(BUNDLED)}."
            )
        from unitlens.scenes import Scenes

        return Scenes(1000 if pictures is None else pictures, seed=seed)
    return _opened(Path(source), format, split)


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
