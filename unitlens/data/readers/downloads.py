"""Torchvision's data sets by name, where they are on disk; downloaded only where that was asked for."""

import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.data.readers.marked import chosen_splits
from unitlens.data.readers.torchvision_sets import TorchvisionData, from_torchvision
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import cache_folder

PREFIX = "torchvision:"


class Download(NamedTuple):
    """A data set by name.

    Attributes
    ----------
    size : str
        Of the archives; unpacked, it is about as much again.
    dataset : str
        Torchvision's class.
    options : mapping
        How it is called.
    split_option : str
        Its word for a split.
    splits : tuple of str
        The first is taken if none is asked for.
    """

    size: str
    dataset: str
    options: Mapping[str, Any]
    split_option: str
    splits: tuple[str, ...]


_PETS = {"target_types": ["segmentation", "binary-category", "category"]}
_VOC = ("trainval", "train", "val")

DOWNLOADS = {
    "voc2012": Download("2.0 GB", "VOCSegmentation", {"year": "2012"}, "image_set", _VOC),
    "voc2007": Download("0.5 GB", "VOCSegmentation", {"year": "2007"}, "image_set", (*_VOC, "test")),
    "sbd": Download("1.4 GB", "SBDataset", {"mode": "segmentation"}, "image_set", ("train", "val")),
    "pets": Download("0.8 GB", "OxfordIIITPet", _PETS, "split", ("trainval", "test")),
    "kitti": Download("12.6 GB", "Kitti", {"train": True}, "split", ()),
}
"""By the name that stands behind ``torchvision:``."""

_FAILURES = (OSError, RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile)
"""No connection, no disk, another checksum, an archive that is cut short."""


def say(text: str) -> None:
    """Say something to the person who waits."""
    sys.stderr.write(f"unitlens: {text}\n")


def open_torchvision(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    download: bool = False,
    tell: Callable[[str], None] = say,
) -> TorchvisionData:
    """Open one of torchvision's data sets by name.

    Parameters
    ----------
    name : str
        One of `DOWNLOADS`.
    root : str or Path, optional
        Torchvision's root; else ``unitlens/data/NAME`` in the user's cache folder.
    split : str, optional
        One of its splits.
    download : bool
        Whether torchvision may download it if it is not there.
    tell : callable
        Is told what will be downloaded, and how large it is, before anything is.

    Raises
    ------
    UnitlensError
        If there is no such data set or split, it is not there, or the download fails.
    """
    if name not in DOWNLOADS:
        known = ", ".join(PREFIX + one for one in DOWNLOADS)
        raise UnitlensError(f"There is no {PREFIX}{name}{did_you_mean(name, DOWNLOADS)}; there are {known}.")
    entry = DOWNLOADS[name]
    options = {**entry.options}
    if split is not None or entry.splits:
        options[entry.split_option] = split or entry.splits[0]
        chosen_splits(split, entry.splits, f"{PREFIX}{name}")
    folder = Path(root) if root is not None else data_folder() / name
    dataset = _there(entry.dataset, folder, options)
    cost = f"about {entry.size}, and as much again unpacked"
    if dataset is None and not download:
        raise UnitlensError(
            f"{PREFIX}{name} is not in {folder}: add {argument('download', True)} to have torchvision download it "
            f"there ({cost}), or say where it is with {argument('root', option='--data-root')}."
        )
    if dataset is None:
        tell(f"downloading {name} ({cost}) into {folder} with torchvision's {entry.dataset}")
        dataset = _fetched(name, entry.dataset, folder, options)
    return from_torchvision(dataset, source=f"{PREFIX}{name}")


def data_folder() -> Path:
    """Where data sets by name go."""
    return cache_folder("data")


def _there(name: str, folder: Path, options: Mapping[str, Any]) -> Any:
    """The data set, if all of it is there; what a download left half-done is not."""
    try:
        dataset = _dataset(name)(str(folder), **options)
    except (OSError, RuntimeError):  # torchvision's words for files that are missing
        return None
    return dataset if _is_complete(dataset) else None


def _is_complete(dataset: Any) -> bool:
    files = [
        file for list_ in ("images", "targets", "masks", "_images", "_segs") for file in getattr(dataset, list_, ())
    ]
    return len(dataset) > 0 and all(Path(file).is_file() for file in files)


def _fetched(name: str, class_: str, folder: Path, options: Mapping[str, Any]) -> Any:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset = _dataset(class_)(str(folder), download=True, **options)
    except _FAILURES as error:
        raise UnitlensError(
            f"{name} could not be downloaded into {folder} ({type(error).__name__}: {error})."
        ) from error
    if not _is_complete(dataset):
        raise UnitlensError(
            f"{name} lies in {folder} in part, and torchvision does not fetch it anew: remove what is there, and "
            f"download it again with {argument('download', True)}."
        )
    return dataset


def _dataset(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)
