"""A recipe of an edited image: the latent and the edits, as a small file that draws the same image again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unitlens.ablation.replay.edits import UnitEdit
from unitlens.dissection.provenance import versions
from unitlens.editing.edited import Edited
from unitlens.editing.painting.scenes import Painter
from unitlens.errors import UnitlensError
from unitlens.files import check_readable, json_text, read_json, write_whole
from unitlens.models.network import Network
from unitlens.records import check_types, read_versioned, write_record

MOST_BYTES = 1 << 24
"""Of a recipe's file."""

MOST_EDITS = 1 << 10


@dataclass(frozen=True)
class EditRecipe:
    """The latent of an image and what was done to units while it was drawn. Made by `EditRecipe.of`, or on the page.

    Attributes
    ----------
    network : str
        What the network is called.
    network_sha256 : str
        Of its weights.
    latent : tuple of float
        All its numbers, with its class where the network draws classes.
    edits : tuple of UnitEdit
        One after the other.
    unitlens : str
        The version that wrote it.
    schema : int

    Examples
    --------
    >>> import torch, unitlens as ul
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Unflatten(1, (3, 2, 2)))
    >>> net = ul.generator(model, latents=4, rescale=(-1, 1))
    >>> recipe = ul.EditRecipe.of(net, [0.1, 0.2, 0.3, 0.4], [])
    >>> recipe.draw(net).after.shape
    (1, 2, 2, 3)
    """

    SCHEMA: ClassVar[int] = 1

    network: str
    network_sha256: str
    latent: tuple[float, ...]
    edits: tuple[UnitEdit, ...]
    unitlens: str = field(default_factory=lambda: str(versions()["unitlens"]))
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.edits) > MOST_EDITS:
            raise UnitlensError(f"A recipe has {len(self.edits):,} edits; {MOST_EDITS:,} are the most.")

    @classmethod
    def of(cls, net: Network, latent: Any, edits: Sequence[UnitEdit]) -> "EditRecipe":
        """Write down how an image is drawn.

        Parameters
        ----------
        net : Network
            One that draws images.
        latent : array or Tensor
            One latent.
        edits : sequence of UnitEdit
        """
        numbers = np.asarray(latent, np.float32).ravel().astype(np.float64).tolist()
        return cls(net.name, net.fingerprint(), tuple(numbers), tuple(edits))

    def draw(self, net: Network) -> Edited:
        """Draw the image again, as it is and edited.

        Parameters
        ----------
        net : Network
            The network that drew it.

        Returns
        -------
        Edited

        Raises
        ------
        UnitlensError
            If it is another network, or lacks a layer or unit of the edits.
        """
        if net.fingerprint() != self.network_sha256:
            raise UnitlensError(
                f"The recipe is of {self.network} with weights whose SHA-256 begins with {self.network_sha256[:8]}, "
                f"and those of {net.name} begin with {net.fingerprint()[:8]}: give the network that drew the image."
            )
        assert net.latents is not None
        shape = net.latents.input_shape
        if len(self.latent) != int(np.prod(shape)):
            raise UnitlensError(f"The recipe's latent has {len(self.latent)} numbers; {net.name} takes {shape}.")
        layers = tuple(dict.fromkeys(edit.layer for edit in self.edits))
        latent = np.array(self.latent, np.float32).reshape(shape)
        painter = Painter.of(net, layers or _any_layer(net))
        scene = painter.scene(latent)
        after = scene.edited(self.edits)
        removed, inserted = (
            {layer: _units(self.edits, layer, removed=kind) for layer in layers} for kind in (True, False)
        )
        return Edited(
            scene.image[None],
            after[None],
            {layer: units for layer, units in removed.items() if units},
            {layer: units for layer, units in inserted.items() if units},
        )

    def to_json(self) -> str:
        """The text of its file."""
        return json_text(write_record(self))

    def save(self, file: str | Path) -> Path:
        """Write it to a file.

        Returns
        -------
        Path
        """
        write_whole(Path(file), self.to_json())
        return Path(file)


def open_recipe(file: str | Path) -> EditRecipe:
    """Open a recipe that was saved, or downloaded from the page.

    Parameters
    ----------
    file : str or Path

    Returns
    -------
    EditRecipe
        Nothing that it names is opened: `EditRecipe.draw` takes the network.

    Raises
    ------
    UnitlensError
        If there is no such file, or it is no recipe.

    Examples
    --------
    >>> import unitlens as ul
    >>> ul.open_recipe("tree.json")
    Traceback (most recent call last):
    unitlens.errors.UnitlensError: There is no file tree.json.
    """
    path = Path(file)
    if not path.is_file():
        raise UnitlensError(f"There is no file {path}.")
    check_readable(path, most=MOST_BYTES)
    try:
        return read_versioned(EditRecipe, read_json(path), schema=EditRecipe.SCHEMA, file=path.name)
    except UnitlensError as error:
        raise UnitlensError(f"{path} is no recipe of an edited image ({str(error).rstrip('.')}).") from None


def _units(edits: Sequence[UnitEdit], layer: str, *, removed: bool) -> tuple[int, ...]:
    chosen = [edit for edit in edits if edit.layer == layer and (not any(edit.values)) == removed]
    return tuple(sorted({unit for edit in chosen for unit in edit.units}))


def _any_layer(net: Network) -> tuple[str, ...]:
    """A layer to cut at where no edit names one."""
    return (net.default_layer or net.layers()[0].name,)
