"""Data sets that torchvision downloads, where that was asked for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.readers.torchvision_sets import TorchvisionData, from_torchvision


class Download(NamedTuple):
    """What can be downloaded: its size, and how torchvision is called for it."""

    size: str
    dataset: str
    options: Mapping[str, Any]


DOWNLOADS = {
    "voc2012": Download("2.0 GB", "VOCSegmentation", {"year": "2012", "image_set": "trainval"}),
    "voc2007": Download("0.5 GB", "VOCSegmentation", {"year": "2007", "image_set": "trainval"}),
    "sbd": Download("1.4 GB", "SBDataset", {"image_set": "train", "mode": "segmentation"}),
    "pets": Download("0.8 GB", "OxfordIIITPet", {"target_types": ["segmentation", "binary-category", "category"]}),
    "kitti": Download("12.6 GB", "Kitti", {"train": True}),
}
"""By the name that ``--download`` takes. The size is that of the archives; unpacked, it is about as much again."""


def download(name: str, folder: str | Path, *, tell: Callable[[str], None]) -> TorchvisionData:
    """Download a data set through torchvision, and open it.

    Parameters
    ----------
    name : str
        One of `DOWNLOADS`.
    folder : str or Path
        Where it goes; what is there already is not downloaded again.
    tell : callable
        Is told what will be downloaded, and how large it is, before anything is.

    Raises
    ------
    UnitlensError
        If there is no such download, or it fails.
    """
    if name not in DOWNLOADS:
        known = ", ".join(DOWNLOADS)
        raise UnitlensError(f"Nothing called {name!r} can be downloaded{did_you_mean(name, DOWNLOADS)}; {known} can.")
    size, dataset, options = DOWNLOADS[name]
    tell(f"downloading {name} (about {size}, and as much again unpacked) into {folder} with torchvision's {dataset}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return from_torchvision(_dataset(dataset)(str(folder), download=True, **options))
    except (OSError, RuntimeError) as error:  # no connection, no disk, another checksum
        raise UnitlensError(
            f"{name} could not be downloaded into {folder} ({type(error).__name__}: {error})."
        ) from error


def _dataset(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)
