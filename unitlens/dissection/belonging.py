"""Whether something that was measured of a layer belongs to a run: of the same units, network and images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError


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
    """

    what: str
    layer: str
    basis: BasisRecord | None
    network_sha256: str
    data_sha256: str

    def is_of_units(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of units that a run has, whose run.json is ``info``."""
        basis = info["settings"]["basis"]
        own = None if self.basis is None else self.basis.sha256
        return self.layer in info["layers"] and own == (None if basis is None else basis["sha256"])

    def is_of_network(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of the network of a run."""
        return bool(info["network"]["sha256"] == self.network_sha256)

    def is_of_images(self, info: Mapping[str, Any]) -> bool:
        """Whether it is of the images of a run, with the same marks."""
        return bool(info["data"]["sha256"] == self.data_sha256)

    def check(self, info: Mapping[str, Any], folder: Path) -> None:
        """Make sure that it is of the units and the network of the run in a folder.

        Raises
        ------
        UnitlensError
            If it is of others.
        """
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

    def describe_images(self, info: Mapping[str, Any], folder: Path) -> str:
        """Say that it was measured on other images than those of the run in a folder; nothing where it was not."""
        if self.is_of_images(info):
            return ""
        return (
            f"The {self.what} was measured on other images, or other marks, than the run in {folder}: its numbers do "
            "not belong to the run's images."
        )
