"""What a dissection starts from, and what is recorded of it for those who go on with it elsewhere."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.data.concepts import Data, described
from unitlens.data.reading import ALL, Part, chosen_images
from unitlens.dissection.provenance import describe_network, machine, versions
from unitlens.dissection.run_record import NetworkRecord
from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError, spelled
from unitlens.files import encoded
from unitlens.models.bases import Coding
from unitlens.models.network import Network
from unitlens.records import check_types, read_record, read_versioned, write_record

if TYPE_CHECKING:
    from unitlens.dissection.forward import Resources

SCHEMA = 1
"""Of what is recorded of a dissection in a folder of its passes."""

_ELSEWHERE = ("source", "recorded", "part", "machine")
"""What may differ between parts that were looked at on several machines."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a dissection starts from: the network, the images and the settings, all checked."""

    net: Network
    data: Data
    settings: Settings
    basis: Coding | None
    resources: "Resources"
    within: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A folder in which the passes of a dissection are kept, so that it goes on there after it was stopped.

    Attributes
    ----------
    folder : Path
        Made if it is not there.
    replace : bool
        Whether passes of another dissection that are kept there are removed; else they are an error.
    """

    folder: Path
    replace: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a dissection was asked for: all that its results follow from, and all that is said of it without images.

    Attributes
    ----------
    schema : int
    settings : Settings
    network : mapping
        What run.json says of it, see `unitlens.dissection.provenance.describe_network`.
    source : str
        Name of the data.
    images : int
        How many are to be looked at, in all parts together.
    names : str
        SHA-256 of their names, as far as the data list them.
    concepts : str
        SHA-256 of what may be marked.
    of_latents, drawn : bool
        Whether they are latents, and whether sources of concepts look at what is drawn from them.
    classes : tuple of str
        The classes that the data name.
    within : mapping of str to str or None
        The kinds of images, by their names.
    device : str
        Kind of device that the network runs on.
    versions, machine : mapping of str to str
        What run.json says of them.
    part, parts : int
        Which of how many parts of the images is looked at, from 0.
    recorded : mapping
        What run.json says of how the data were opened.
    """

    schema: int
    settings: Settings
    network: Mapping[str, Any]
    source: str
    images: int
    names: str
    concepts: str
    of_latents: bool
    drawn: bool
    classes: tuple[str, ...]
    within: Mapping[str, str] | None
    device: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    part: int = 0
    parts: int = 1
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)

    @classmethod
    def of(cls, task: Task, *, part: Part = ALL, recorded: Mapping[str, Any] | None = None) -> "Asked":
        """Record what a task asks for."""
        data, settings = described(task.data), task.settings
        return cls(
            schema=SCHEMA,
            settings=settings,
            network=_as_json(describe_network(task.net)),
            source=data.source,
            images=len(chosen_images(task.data, settings.limit, seed=settings.seed)),
            names=_sha256(data.names or ()),
            concepts=_sha256(repr(tuple(concept)) for concept in task.data.concepts),
            of_latents=data.of_latents,
            drawn=bool(data.drawn_sources),
            classes=tuple(dict.fromkeys(str(class_) for class_ in data.classes or () if class_ is not None)),
            within=task.within,
            device=task.net.device.type,
            versions=versions(),
            machine=machine(),
            part=part.number,
            parts=part.parts,
            recorded=_as_json(recorded or {}),
        )

    @classmethod
    def from_json(cls, content: Any, *, file: str) -> "Asked":
        """Read what `to_json` made.

        Raises
        ------
        UnitlensError
            If it is of another version, or not such a record.
        """
        asked = read_versioned(cls, content, schema=SCHEMA, file=file)
        read_record(NetworkRecord, asked.network, what="the network")
        return asked

    def to_json(self) -> dict[str, Any]:
        """Every field under its name."""
        return write_record(self)

    def differences(self, other: "Asked") -> list[str]:
        """Say in what another one differs, each as "quantile (0.01 and 0.02)"; not in where it was looked at."""
        return list(_differences(self.to_json(), other.to_json(), ""))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], inside: str) -> Iterator[str]:
    for name in one:
        here, there = one[name], other.get(name)
        if here == there or (not inside and name in _ELSEWHERE):
            continue
        if name in ("settings", "network", "versions") and isinstance(there, Mapping):
            yield from _differences(here, there, "" if name == "settings" else f"{name} ")
        elif name in ("names", "concepts", "within", "sha256", "classes"):
            yield {"names": "the names of the images", "sha256": "the weights"}.get(name, f"{inside}{name}")
        else:
            yield f"{inside}{name} ({_shown(here)} and {_shown(there)})"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same as it is after it was written and read: with lists for tuples."""
    read: dict[str, Any] = json.loads(json.dumps(value))
    return read


def _sha256(names: Iterable[str]) -> str:
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(encoded(f"{name}\0"))
    return hashed.hexdigest()


def check_same(there: Asked, asked: Asked, folder: Path) -> None:
    """Make sure that passes that are kept in a folder are of the dissection that is asked for.

    Raises
    ------
    UnitlensError
        If they are not; it says in what they differ.
    """
    if differing := there.differences(asked):
        raise UnitlensError(
            f"{folder} keeps a dissection that differs in {', '.join(differing)}: to go on with it, ask for the same "
            "again; to begin anew, "
            + spelled(python="remove it or choose another folder.", shell="add --overwrite, or choose another --out.")
        )
    if there.part != asked.part:
        raise UnitlensError(
            f"{folder} keeps part {there.part + 1} of {there.parts}, and part {asked.part + 1} is asked for: choose a "
            "folder of its own for each part."
        )
