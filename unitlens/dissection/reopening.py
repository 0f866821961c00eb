"""The network and the images of a run once more: opened as run.json says, and checked by their hashes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from unitlens.data.concepts import Data
from unitlens.data.opening import open_data
from unitlens.errors import UnitlensError
from unitlens.models.loading import load
from unitlens.models.network import Network
from unitlens.models.preprocessing import Preprocessing

Info = dict[str, Any]


def network_again(info: Info, *, device: str = "cpu") -> Network:
    """The network of a run, prepared for in the same way.

    Raises
    ------
    UnitlensError
        If it cannot be loaded, or its weights are others.
    """
    said, how = info["network"], {**info["network"]["preprocessing"]}
    how |= {name: tuple(how[name]) for name in ("image_size", "mean", "std")}
    asked = {name: how[name] for name in ("image_size", "resize", "mean", "std")}
    net = load(said["name"], weights=said["weights"], seed=info["settings"]["seed"], device=device, **asked)
    return check_network(replace(net, preprocessing=Preprocessing(**how)), info)


def check_network(net: Network, info: Info) -> Network:
    """The same network, if its weights are those of the run.

    Raises
    ------
    UnitlensError
        If they are others.
    """
    if net.fingerprint() != info["network"]["sha256"]:
        raise UnitlensError(
            f"The weights of {net.name} are not those of the run (their SHA-256 begins with {net.fingerprint()[:8]}, "
            f"the run's with {info['network']['sha256'][:8]}): give the network that was dissected."
        )
    return net


def data_again(info: Info, source: str | Path | None = None) -> Data:
    """The images of a run, from where they were or from another place; `check_data` tells whether they are the same.

    Raises
    ------
    UnitlensError
        If there are none, or they are fewer.
    """
    said = info["data"]
    count = said["images"] + len(said["skipped"])
    seed = info["settings"]["seed"]
    data = open_data(source or said["source"], images=count, seed=seed, **said.get("opened", {}))
    if len(data) < said["images"]:
        raise UnitlensError(
            f"{source or said['source']} has {len(data)} images, the run has {said['images']}: give its data."
        )
    return data


def check_data(sha256: str, info: Info, source: str) -> None:
    """Raise an error if the images that were read are not those of the run."""
    if sha256 != info["data"]["sha256"]:
        raise UnitlensError(
            f"The images of {source}, or what is marked in them, are not those of the run (their SHA-256 begins with "
            f"{sha256[:8]}, the run's with {info['data']['sha256'][:8]}): give the data of the run with --data (data=)."
        )
