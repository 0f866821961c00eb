"""A file of a run that lists what was measured of its layers: concept_effects.json, reconstruction.json."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from unitlens.dissection.beside.belonging import MeasuredOf
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.files import encoded, json_text, read_json
from unitlens.journal import changing, settle
from unitlens.records import read_record, write_record

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection

MOST_BYTES = 1 << 26
"""Of such a file: effects on 1,200 concepts take 1 MB a layer, and 30 where 1,000 units are ablated for each."""


class LayerResult(Protocol):
    """What was measured of a layer: a frozen dataclass whose ``__post_init__`` checks it."""

    @property
    def layer(self) -> str:
        """Its name."""

    @property
    def measured_of(self) -> MeasuredOf:
        """What says to which runs it belongs."""


Result = TypeVar("Result", bound=LayerResult)


@dataclass(frozen=True)
class LayerFile(Generic[Result]):
    """A JSON file in the folder of a run: a list of records, one for each layer that was measured.

    Attributes
    ----------
    name : str
        Of the file.
    kind : type
        Of the records.
    again : function
        Says how the file is replaced, for sentences.
    """

    name: str
    kind: type[Result]
    again: Callable[[], str]

    def read(self, folder: Path, *, overwrite: bool = False) -> list[Result]:
        """Those of a run, layer by layer; none where none were measured.

        Parameters
        ----------
        folder : Path
        overwrite : bool
            Whether a file that cannot be read counts as none, as another will take its place.

        Raises
        ------
        UnitlensError
            If the file is damaged.
        """
        settle(folder)
        path = folder / self.name
        if not path.exists():
            return []
        try:
            return self._read(path)
        except UnitlensError as error:
            if overwrite:
                return []
            fact = str(error).rstrip(".")
            raise UnitlensError(f"{path} is damaged ({fact}): {self.again()}, or remove the file.") from None

    def _read(self, path: Path) -> list[Result]:
        content = read_json(path, most=MOST_BYTES)
        if not isinstance(content, list):
            raise UnitlensError("it is not a list")
        found = [read_record(self.kind, one, what=f"entry {place}") for place, one in enumerate(content, start=1)]
        layers = [one.layer for one in found]
        twice = next((layer for place, layer in enumerate(layers) if layer in layers[:place]), None)
        if twice is not None:
            raise UnitlensError(f"the layer {twice} is there twice")
        return found

    def save(self, result: Result, run: "Dissection", folder: Path, *, overwrite: bool = False) -> Path:
        """Write a result into a run, in place of one of the same layer, and beside those of its other layers.

        Parameters
        ----------
        result : LayerResult
        run : Dissection
            That is saved in the folder.
        folder : Path
        overwrite : bool
            Whether a damaged file is replaced.

        Raises
        ------
        UnitlensError
            If the result does not belong to the run; or the file is damaged.

        Warns
        -----
        UnitlensWarning
            If it was measured on other images than those of the run.
        """
        result.measured_of.check(run, folder)
        others = [one for one in self.read(folder, overwrite=overwrite) if one.layer != result.layer]
        if elsewhere := result.measured_of.describe_images(run.info, folder):
            warnings.warn(elsewhere, UnitlensWarning, stacklevel=3)
        content = encoded(json_text([write_record(one) for one in (*others, result)]))
        if len(content) > MOST_BYTES:
            raise UnitlensError(
                f"{folder / self.name} would have {len(content) / 1e6:,.1f} MB, more than the {MOST_BYTES / 1e6:,.1f} "
                "that are read: dissect fewer layers into a run."
            )
        with changing(folder) as change:
            change.write(self.name, content)
        return folder / self.name
