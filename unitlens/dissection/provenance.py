"""Where a result comes from, as run.json records it."""

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.data.concepts import Concept
from unitlens.dissection.run_record import SCHEMA, GroupsRecord
from unitlens.dissection.settings import Settings
from unitlens.models.fast.processor import processor_name
from unitlens.models.network import Network

if TYPE_CHECKING:
    from unitlens.data.batches import ImageRecord
    from unitlens.dissection.store.layers import LayerMaps
    from unitlens.dissection.store.passes import StoredPass


def describe_network(net: Network) -> dict[str, Any]:
    """Describe a network: name, weights, preprocessing, and the hash of its parameters and buffers."""
    return {
        "name": net.name,
        "weights": net.weights,
        "image": net.image,
        "sha256": net.fingerprint(),
        **describe_use(net),
    }


def describe_use(net: Network) -> dict[str, Any]:
    """Describe how a network is used, beside what it computes: its preprocessing, classes and latents."""
    return {
        "preprocessing": dataclasses.asdict(net.preprocessing),
        "classes": list(net.classes) if net.classes else None,
        "latents": dataclasses.asdict(net.latents) if net.latents else None,
    }


def describe_data(source: str, stored: "StoredPass") -> dict[str, Any]:
    """Describe what was read: how many images, what is marked in them, and what was left out."""
    columns, labels = stored.labels.columns, stored.labels
    positions, images = labels.positions.sum(0), labels.images.sum(0)
    return {
        "source": source,
        "sha256": stored.sha256,
        "images": stored.images,
        "opened": {},
        "groups": describe_groups(stored.record),
        "skipped": [unread._asdict() for unread in stored.record.unread],
        "categories": {
            category: {"images": sum(bits >> k & 1 for bits in stored.record.annotated)}
            for k, category in enumerate(columns.categories)
        },
        "concepts": [
            {
                **concept._asdict(),
                "images": int(images[1 + c]),
                "positions": int(positions[1 + c]),
                "segmenter_iou": stored.ious.get((concept.category, concept.name)),
            }
            for c, concept in enumerate(columns.concepts)
        ],
    }


def describe_read(record: "ImageRecord", concepts: Sequence[Concept], *, measured: int) -> dict[str, Any]:
    """Describe the images that a measurement read, of which so many were measured."""
    return {
        "images": len(record.names),
        "measured": measured,
        "sha256": record.sha256(concepts),
        "groups": describe_groups(record),
        "skipped": [unread._asdict() for unread in record.unread],
    }


def describe_groups(record: "ImageRecord") -> dict[str, Any] | None:
    """How many groups the images form; None where every image is one of its own."""
    if not record.grouped:
        return None
    return dataclasses.asdict(GroupsRecord.of(record.group_of))


def describe_layer(layer: "LayerMaps") -> dict[str, Any]:
    """Describe a layer: units, grid, layout, tokens that were left out, each unit's mean over all positions."""
    positions = layer.peaks.count * int(np.prod(layer.layer_grid or (1, 1)))
    return {
        "units": layer.units,
        "grid": list(layer.layer_grid) if layer.layer_grid else None,
        "layout": layer.layout,
        "left_out": layer.left_out,
        "nonfinite": int((layer.nonfinite > 0).sum()),
        "mean": (layer.total / max(positions, 1)).tolist(),
    }


def describe_run(
    network: Mapping[str, Any],
    source: str,
    stored: "StoredPass",
    settings: Settings,
    *,
    looked_on: Mapping[str, str],
    seconds: float,
) -> dict[str, Any]:
    """Describe a run: all of run.json.

    Parameters
    ----------
    network : mapping
        As `describe_network` describes it.
    source : str
        Name of the data.
    stored : StoredPass
    settings : Settings
    looked_on : mapping of str to str
        The `machine` on which the network looked at the images.
    seconds : float
        Duration of the whole run.
    """
    info = {
        "schema": SCHEMA,
        "unitlens": versions()["unitlens"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": None,
        "network": network,
        "data": describe_data(source, stored),
        "settings": settings.to_json(),
        "layers": {name: describe_layer(layer) for name, layer in stored.layers.items()},
        "timings": {"forward_seconds": stored.seconds, "seconds": seconds},
        "deviation": stored.deviation,
        "warnings": stored.notes,
        "versions": versions(),
        "machine": looked_on,
        "comparison": [],
    }
    as_saved: dict[str, Any] = json.loads(json.dumps(info))  # lists for tuples: the same before and after saving
    return as_saved


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages whose arithmetic a result rests on."""
    return dict(_versions())


def machine() -> dict[str, str]:
    """Return what the rounding of numbers depends on beside versions: the processor, and how many threads share it."""
    import torch

    vectors = torch.backends.cpu.get_cpu_capability()
    return {"processor": f"{processor_name()} ({vectors})", "threads": str(torch.get_num_threads())}


@cache
def _versions() -> Mapping[str, str]:
    installed = {"python": platform.python_version()}
    for package in ("unitlens", "torch", "torchvision", "numpy", "pillow"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "unknown"
    return installed
