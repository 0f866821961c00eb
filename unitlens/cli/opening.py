"""Open the network and the data that a command names."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from unitlens.errors import UnitlensError, is_number
from unitlens.processes import local_count, local_rank

BAND_OPTIONS = ("bands", "range", "show_bands", "show_range", "show_percentiles")
"""Of `unitlens.models.bands.settings.Bands`."""


def set_threads(threads: int | None) -> None:
    """Set how many CPU threads torch uses; None leaves its own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def worker_count(workers: int | None) -> int:
    """Return the number of processes that decode images: as given, or one less than the cores of this one, up to 4."""
    return min(4, max(core_count() // local_count(), 1) - 1) if workers is None else workers


def core_count() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_network(model: str, options: dict[str, Any]) -> Any:
    """Load the network and take its options out; the seed stays, as it is the run's too."""
    from unitlens.models.loading import load

    names = ("weights", "image_size", "resize", "mean", "std", "rescale", "device", *BAND_OPTIONS)
    settings = {name: options.pop(name) for name in names}
    if settings["device"] == "cuda" and local_count() > 1:  # each of the processes has a GPU of its own
        settings["device"] = f"cuda:{local_rank()}"
    settings |= {"latents": options.pop("latent_shape"), "classes": options.pop("latent_classes")}
    return load(model, seed=options["seed"], **settings)


def take_data_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take out the options that say how the data are opened, as keywords of `unitlens.data.opening.open_data`."""
    names = ("weights", "labels", "ious", "category", "size", "cache")
    segmenter = {name: options.pop(f"segmenter_{name}") for name in names}
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


def take_basis(options: dict[str, Any]) -> Any:
    """Take out the options that say what is read in place of a layer's own units: directions, or features; or None.

    Raises
    ------
    UnitlensError
        If both are given, or the features cannot be opened.
    """
    from unitlens.models.dictionaries.files import features

    basis, file, kind = (options.pop(name) for name in ("basis", "features", "features_kind"))
    if file is None:
        if kind is not None:
            raise UnitlensError(f"--features-kind {kind} is of a dictionary: give its file with --features FILE.")
        return basis
    if basis is not None:
        raise UnitlensError("--basis and --features both say what the units are: give one of them.")
    return features(file, kind=kind)


def without_download(opened: dict[str, Any]) -> dict[str, Any]:
    """Return what run.json records of these keywords: opening the same data again downloads nothing."""
    return {name: value for name, value in opened.items() if name != "download"}


GENERATOR, _SEGMENTER = "bundled:scenes-generator", "bundled:scenes-segmenter"
"""What the bundled generator draws is marked by the bundled segmenter, if nothing else is asked for."""


class OpenedImages(NamedTuple):
    """Images, or latents, and what opens them again.

    Attributes
    ----------
    data : Data
    source : str
        Their name.
    opened : mapping
        Keywords for `unitlens.data.opening.open_data`, as run.json records them.
    """

    data: Any
    source: str
    opened: Mapping[str, Any]

    @property
    def recorded(self) -> dict[str, Any]:
        """What run.json says of them beside what `unitlens.dissect` does."""
        opened = without_download(dict(self.opened))
        return {"source": self.source, "opened": opened} if self.opened else {}


def open_images(
    model: str,
    data: str | None,
    limit: int | None,
    seed: int,
    *,
    net: Any = None,
    latents: str | None = None,
    **opened: Any,
) -> OpenedImages:
    """Open the images that were named, or those that come with a bundled network; for a generator, latents.

    Parameters
    ----------
    model, data : str
        As typed.
    limit : int or None
        How many bundled scenes are drawn, or latents, if nothing else says it.
    seed : int
    net : Network, optional
        Of which latents are drawn.
    latents : str, optional
        As typed: how many, or a file.
    **opened
        Keywords for `unitlens.data.opening.open_data`.

    Raises
    ------
    UnitlensError
        If nothing was named, or latents for a network that takes images.
    """
    from unitlens.data.opening import open_data

    input_ = None if net is None else net.latents
    if model == GENERATOR and data is None:
        opened = {"concepts": [_SEGMENTER], **opened}
    if latents is not None and input_ is None:
        raise UnitlensError(
            "--latents is for generators: name the shape of a latent with --latent-shape, such as --latent-shape "
            "100,1,1, or leave it out."
        )
    drawn = latents is None or is_number(latents)
    if input_ is not None and drawn and (data is None or latents is not None):
        return _draw_latents(input_, data, latents, limit, seed, opened)
    if latents is not None:
        name = f"latents:{latents}" if data is None else data
        opened |= {} if data is None else {"latents": latents}
        return OpenedImages(open_data(name, seed=seed, **opened), name, opened)
    if data is None and not model.startswith("bundled:"):
        raise UnitlensError("No images were named: add --data FOLDER (an annotated folder) or --data bundled:scenes.")
    return OpenedImages(open_data(data or model, images=limit, seed=seed, **opened), data or model, opened)


def _draw_latents(
    latents: Any, data: str | None, count: str | None, limit: int | None, seed: int, opened: dict[str, Any]
) -> OpenedImages:
    """Draw latents of a generator's shape, by their name, which run.json records."""
    from unitlens.data.latent_sets import drawn_name
    from unitlens.data.opening import open_data

    if data is not None:
        raise UnitlensError(
            f"--latents {count} are drawn at random, so that nothing in --data {data} is marked in what they become: "
            "leave --data out, or give the latents of its images, --latents FILE.npy."
        )
    name = drawn_name(latents.shape, seed=seed, classes=latents.classes)
    images = limit if count is None else int(count)
    return OpenedImages(open_data(name, images=images, seed=seed, **opened), name, {"concepts": ["masks"], **opened})
