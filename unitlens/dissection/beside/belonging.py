"""Whether something that was measured of a layer belongs to a run: of the same units, network and images."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError
from unitlens.files import encoded
from unitlens.stats.blocks import in_blocks

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection

_AT_ONCE = 1 << 20  # counts that are hashed together


def choice_sha256(run: "Dissection") -> str:
    """Hash of all by which units of a layer are chosen for concepts: its counts, by fold, and which units have a label.

    Two runs of the same units have another where their images, groups, label grids or thresholds are others.

    Parameters
    ----------
    run : Dissection
        Of one layer.
    """
    hashed = hashlib.sha256(encoded(repr(run.concepts)))
    hashed.update(run.table()["concept"].notna().to_numpy(bool).tobytes())
    for name, counts in run.counts.arrays().items():
        hashed.update(f"\n{name} {counts.shape}\n".encode())
        flat = counts.reshape(-1)
        for block in in_blocks(len(flat), _AT_ONCE):
            hashed.update(flat[block].astype("<i8").tobytes())  # whether they are narrow is of no matter
    return hashed.hexdigest()


class MeasuredOf(NamedTuple):
    """What something was measured of.

    Attributes
    ----------
    what : str
        What was measured, for sentences, such as "reconstruction".
    layer : str
    basis : BasisRecord or None
        Directions or features that are the layer's units.
    network_sha256, data_sha256 : str
    choice_sha256 : str or None
        Of the run that chose units for it, see `choice_sha256`; None where no run did.
    """

    what: str
    layer: str
    basis: BasisRecord | None
    network_sha256: str
    data_sha256: str
    choice_sha256: str | None = None

    def is_of(self, run: "Dissection") -> bool:
        """Whether it is of the units and the network of a run of one layer, which chose units, where any run did."""
        is_same = run.layers == (self.layer,) and self.is_of_units(run.info) and self.is_of_network(run.info)
        return is_same and self.is_of_choice(run)

    def is_of_units(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of units that a run has, whose run.json is ``info``."""
        basis = info["settings"]["basis"]
        own = None if self.basis is None else self.basis.sha256
        return self.layer in info["layers"] and own == (None if basis is None else basis["sha256"])

    def is_of_network(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of the network of a run."""
        return bool(info["network"]["sha256"] == self.network_sha256)

    def is_of_choice(self, run: "Dissection") -> bool:
        """Whether no run chose the units, or this one, of one layer, did."""
        return self.choice_sha256 is None or self.choice_sha256 == choice_sha256(run)

    def is_of_images(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of the images of a run, with the same marks."""
        return bool(info["data"]["sha256"] == self.data_sha256)

    def check(self, run: "Dissection", folder: Path) -> None:
        """Make sure that it is of the units and the network of the run in a folder, and that this run chose units.

        Raises
        ------
        UnitlensError
            If it is of others.
        """
        info = run.info
        if not self.is_of_units(info):
            wanted = (
                f"the layer's own units of {self.layer}"
                if self.basis is None
                else f"the {self.basis.noun} whose SHA-256 begins with {self.basis.sha256[:8]}"
            )
            raise UnitlensError(
                f"The run in {folder} is of other units of {self.layer} than those that the {self.what} was measured "
                f"of: give the run of {wanted}."
            )
        if not self.is_of_network(info):
            raise UnitlensError(
                f"The run in {folder} is of a network whose SHA-256 begins with {info['network']['sha256'][:8]}, and "
                f"the {self.what} was measured of one whose begins with {self.network_sha256[:8]}: measure it of the "
                "run's network."
            )
        if not self.is_of_choice(run[self.layer]):
            raise UnitlensError(
                f"The units of {self.layer} for the {self.what} were chosen by another run than the one in {folder} "
                "(of other images, groups or settings, such as the quantile): measure it with this run, or give the "
                "run that chose them."
            )

    def describe_images(self, info: Mapping[str, Any], folder: Path) -> str:
        """Say that it was measured on other images than those of the run in a folder; nothing where it was not."""
        if self.is_of_images(info):
            return ""
        return (
            f"The {self.what} was measured on other images, or other marks, than the run in {folder}: its numbers do "
            "not belong to the run's images."
        )
