"""The bundled network: a small classifier of the drawn scenes, and its weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError

Module = TypeVar("Module", bound=nn.Module)

# fmt: off
CLASSES = (
    "beach", "harbour", "ski_slope", "forest", "campsite", "farm",
    "city_street", "playground", "living_room", "kitchen", "bedroom", "bathroom",
)
# fmt: on
IMAGE_SIZE = 112
MEAN = (0.45, 0.42, 0.40)
STD = (0.26, 0.24, 0.25)
DEFAULT_LAYER = "relu6"
WEIGHTS = Path(__file__).parent / "scenes.safetensors"
SHORTCUT_WEIGHTS = Path(__file__).parent / "scenes_shortcut.safetensors"
"""Those of a network that was trained on to tell bedrooms and living rooms by a ball; in half precision."""
INFRARED_WEIGHTS = Path(__file__).parent / "scenes_infrared.safetensors"
"""Those of a network that was trained on with near infrared as a fourth band; in half precision."""
INFRARED_MEAN, INFRARED_STD = (*MEAN, 0.41), (*STD, 0.25)
"""Of red, green, blue and near infrared."""


class SceneNet(nn.Module):
    """Six convolutions, a mean over the grid, one linear layer.

    ``relu6`` has 128 units on a grid of 14 x 14 for images of 112 x 112; each sees 57 x 57 pixels, so that a unit
    can know an object, and the class is the weighted sum of how much of the image each unit covers.

    Parameters
    ----------
    bands : int
        Of the images: 3, or 4 with near infrared.
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(bands, 32, 5, stride=2, padding=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 48, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(48, 64, 3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(64, 96, 3, stride=2, padding=1)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(96, 128, 3, padding=1)
        self.relu5 = nn.ReLU()
        self.conv6 = nn.Conv2d(128, 128, 3, padding=1)
        self.relu6 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(128, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of the classes.

        Parameters
        ----------
        images : Tensor, (N, bands, height, width)
            RGB, and near infrared, in [0, 1], less ``MEAN``, over ``STD``.

        Returns
        -------
        Tensor, (N, 12)
            Logits, in the order of ``CLASSES``.
        """
        scores: Tensor = self.classify(self.flatten(self.pool(self.units(images))))
        return scores

    def units(self, images: Tensor) -> Tensor:
        """Return the output of ``relu6``, (N, 128, height / 8, width / 8)."""
        x = self.relu1(self.conv1(images))
        x = self.relu2(self.conv2(x))
        x = self.relu3(self.conv3(x))
        x = self.relu4(self.conv4(x))
        x = self.relu5(self.conv5(x))
        maps: Tensor = self.relu6(self.conv6(x))
        return maps


def scene_net(*, weights: str | None = None, seed: int = 0) -> SceneNet:
    """Return the classifier of the drawn scenes, in evaluation mode.

    Parameters
    ----------
    weights : str or None
        None for the trained weights that come along, "none" for weights freshly drawn, else a ``.safetensors`` file
        that ``benchmarks/training/scenes.py`` of the repository wrote.
    seed : int
        Of the fresh weights. PyTorch's own generator is left as it was.

    Raises
    ------
    UnitlensError
        If the file is not there, or holds other weights.
    """
    return bundled_network(SceneNet, weights, trained=WEIGHTS, script="benchmarks.training.scenes", seed=seed)


def shortcut_net(*, weights: str | None = None, seed: int = 0) -> SceneNet:
    """Return the classifier that tells bedrooms and living rooms by the ball that `unitlens.ShortcutScenes` draws.

    It is that of `scene_net`, trained on by ``benchmarks/training/shortcut.py``; arguments as there.
    """
    return bundled_network(
        SceneNet, weights, trained=SHORTCUT_WEIGHTS, script="benchmarks.training.shortcut", seed=seed
    )


def infrared_net(*, weights: str | None = None, seed: int = 0) -> SceneNet:
    """Return the classifier of drawn scenes with near infrared, of four bands.

    It is that of `scene_net`, trained on by ``benchmarks/training/infrared.py``; arguments as there.
    """
    make = partial(SceneNet, bands=4)
    return bundled_network(make, weights, trained=INFRARED_WEIGHTS, script="benchmarks.training.infrared", seed=seed)


def bundled_network(
    make: Callable[[], Module], weights: str | None, *, trained: Path, script: str, seed: int = 0
) -> Module:
    """Make a network and give it its weights, in evaluation mode; PyTorch's own generator is left as it was.

    Parameters
    ----------
    make : callable
        Its class.
    weights : str or None
        None for the trained ones, "none" for weights freshly drawn, else a ``.safetensors`` file.
    trained : Path
        The file of the trained ones.
    script : str
        The module of benchmarks/ that writes such files.
    seed : int
        Of the fresh weights.

    Raises
    ------
    UnitlensError
        If the file is not there, or holds other weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make()
    if weights != "none":
        _read_weights(net, trained if weights is None else Path(weights), script=script)
    return net.eval()


def _read_weights(net: nn.Module, path: Path, *, script: str) -> None:
    """Put weights that a script of benchmarks/training/ wrote into a network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UnitlensError(
            f"{path} does not hold the weights of a {type(net).__name__} ({type(error).__name__}: {error}); "
            f"leave weights out for the trained ones, or write a file in a clone of the repository with "
            f"`python -m {script}`."
        ) from error
