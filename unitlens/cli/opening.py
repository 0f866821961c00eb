"""Open the network and the data that a command names."""

import os
from typing import Any

from unitlens.errors import UnitlensError


def set_threads(threads: int | None) -> None:
    """Set how many CPU threads torch uses; None leaves its own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def worker_count(workers: int | None) -> int:
    """Return the number of processes that decode images: as given, or one less than the cores, up to 4."""
    return min(4, core_count() - 1) if workers is None else workers


def core_count() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_network(model: str, options: dict[str, Any]) -> Any:
    """Load the network and take its options out; the seed stays, as it is the run's too."""
    from unitlens.models.loading import load

    settings = {name: options.pop(name) for name in ("weights", "image_size", "resize", "mean", "std", "device")}
    return load(model, seed=options["seed"], **settings)


def take_data_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take out the options that say how the data are opened, as keywords of `unitlens.data.opening.open_data`."""
    segmenter = {name: options.pop(f"segmenter_{name}") for name in ("weights", "labels", "category", "size", "cache")}
    segmenter["confidence"] = options.pop("confidence")
    opened = {
        "format": options.pop("data_format"),
        "split": options.pop("split"),
        "concepts": list(options.pop("concepts")),
        "segmenter_options": {name: value for name, value in segmenter.items() if value is not None},
        "root": options.pop("data_root"),
        "download": options.pop("download"),
    }
    return {name: value for name, value in opened.items() if value}


def without_download(opened: dict[str, Any]) -> dict[str, Any]:
    """Return what run.json records of these keywords: opening the same data again downloads nothing."""
    return {name: value for name, value in opened.items() if name != "download"}


def open_images(model: str, data: str | None, limit: int | None, seed: int, **opened: Any) -> Any:
    """Open the images that were named, or those that come with a bundled network."""
    from unitlens.data.opening import open_data

    if data is None and not model.startswith("bundled:"):
        raise UnitlensError("No images were named: add --data FOLDER (an annotated folder) or --data bundled:scenes.")
    return open_data(data or model, images=limit, seed=seed, **opened)
