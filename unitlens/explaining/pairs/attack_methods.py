"""Attacks on images: FGSM and PGD of captum, and stronger ones of the Adversarial Robustness Toolbox if it is there."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.network import Network
from unitlens.models.passes import evaluating_with_gradients
from unitlens.models.preprocessing import Preprocessing

Method = Literal["fgsm", "pgd", "cw", "autoattack"]

METHODS: Mapping[str, str] = {
    "fgsm": "one step along the sign of the gradient (Goodfellow et al. 2015), by captum",
    "pgd": "projected gradient descent (Madry et al. 2018), by captum",
    "cw": "Carlini and Wagner's attack in L2 (2017), by the Adversarial Robustness Toolbox",
    "autoattack": "AutoAttack (Croce and Hein 2020), of any other class, by the Adversarial Robustness Toolbox",
}
"""By the names that ``method=`` takes."""

EXTRA = ("cw", "autoattack")
"""Those that need ``pip install unitlens[attacks]``."""

Norm = Literal["linf", "l2"]


@dataclass(frozen=True)
class AttackSettings:
    """How images are attacked.

    Attributes
    ----------
    method : {"fgsm", "pgd", "cw", "autoattack"}
    epsilon : float
        Of images in [0, 1]: how far any number may move ("linf"), or the whole image ("l2"). "cw" has no such bound,
        and makes the change as small as it can.
    norm : {"linf", "l2"}
    steps : int
        Of "pgd" and "cw".
    target : int or None
        The output that is to become the largest; None: any but the image's own.
    seed : int
    """

    method: str = "pgd"
    epsilon: float = 8 / 255
    norm: str = "linf"
    steps: int = 20
    target: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnitlensError(
                f"There is no attack {self.method!r}{did_you_mean(self.method, METHODS)}; there are "
                f"{', '.join(METHODS)}."
            )
        norms = {"fgsm": ("linf",), "cw": ("l2",)}.get(self.method, ("linf", "l2"))
        if self.norm not in norms:
            raise UnitlensError(f"norm is {self.norm!r}; {self.method} is bounded by {' or '.join(norms)}.")
        largest = 1.0 if self.norm == "linf" else math.inf
        if not (0 <= self.epsilon <= largest and math.isfinite(self.epsilon)):
            raise UnitlensError(
                f"epsilon is {self.epsilon}; numbers of images lie in [0, 1], so that it is between 0 and 1, such as "
                "8/255."
                if self.norm == "linf"
                else f"epsilon is {self.epsilon}; it is 0 or more, such as 1.0."
            )
        if self.norm == "linf" and 0 < self.epsilon < 1 / 255 - 1e-9:
            raise UnitlensError(
                f"epsilon is {self.epsilon}, less than one level of an 8-bit image, 1/255: nothing could change."
            )
        if self.method == "autoattack" and self.target is not None:
            raise UnitlensError("autoattack looks for any other class: leave the target out, or use pgd or cw.")
        if self.steps < 1:
            raise UnitlensError(f"steps is {self.steps}; it is 1 or more.")


class PixelNetwork(nn.Module):
    """A network that takes images in [0, 1], as attacks move them."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.preprocessing, self.dtype = model, preprocessing, dtype

    def forward(self, images: Tensor) -> Tensor:
        """Scores of classes, (N, K)."""
        scores: Tensor = self.model(self.preprocessing.normalise(images).to(self.dtype))
        return scores


def attack_images(net: Network, images: Tensor, classes: Tensor, settings: AttackSettings) -> Tensor:
    """Attack some images.

    Parameters
    ----------
    net : Network
    images : uint8 tensor, or of floats in [0, 1], (N, bands, height, width)
        Of the network's input size.
    classes : int64 tensor, (N,)
        The outputs that are their own.
    settings : AttackSettings

    Returns
    -------
    float32 tensor, (N, bands, height, width)
        In [0, 1], and within epsilon of the images.
    """
    pixels = images.to(net.device).float() / (1 if images.is_floating_point() else 255)
    if settings.epsilon == 0 and settings.method != "cw":
        return pixels
    model = PixelNetwork(net.model, net.preprocessing, net.dtype)
    targets = classes if settings.target is None else torch.full_like(classes, settings.target)
    attack = {"fgsm": _fgsm, "pgd": _pgd}.get(settings.method, _by_toolbox)
    with (
        evaluating_with_gradients(net.model),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require gradients")
        torch.manual_seed(settings.seed)
        return attack(model, pixels, targets.to(net.device), settings).detach().clamp(0, 1).float()


def to_8_bit(attacked: Tensor, images: Tensor, *, bounded: bool = True) -> Tensor:
    """Attacked images as 8-bit ones, each number rounded towards what it was, so that it stays within epsilon.

    Parameters
    ----------
    attacked : float32 tensor
        In [0, 1].
    images : uint8 tensor
    bounded : bool
        Whether there is an epsilon; otherwise numbers are rounded to the nearest.

    Examples
    --------
    >>> to_8_bit(torch.tensor([10.6, 9.4, 12.0]) / 255, torch.tensor([10, 10, 10], dtype=torch.uint8)).tolist()
    [10, 10, 12]
    """
    # a little more than the number, as 12 / 255 * 255 may be less than 12 in 32 bits
    moved = attacked.cpu().double() * 255 - images.double()
    if not bounded:
        return (images.double() + torch.round(moved)).clamp(0, 255).to(torch.uint8)
    return (images.double() + torch.trunc(moved * (1 + 1e-6) + torch.sign(moved) * 1e-4)).clamp(0, 255).to(torch.uint8)


def _fgsm(model: nn.Module, pixels: Tensor, targets: Tensor, settings: AttackSettings) -> Tensor:
    from captum.robust import FGSM

    attacked: Tensor = FGSM(model, _losses(), lower_bound=0.0, upper_bound=1.0).perturb(
        pixels, epsilon=settings.epsilon, target=targets, targeted=settings.target is not None
    )
    return attacked


def _pgd(model: nn.Module, pixels: Tensor, targets: Tensor, settings: AttackSettings) -> Tensor:
    from captum.robust import PGD

    attacked: Tensor = PGD(model, _losses(), lower_bound=0.0, upper_bound=1.0).perturb(
        pixels,
        radius=settings.epsilon,
        step_size=_step(pixels, settings),
        step_num=settings.steps,
        target=targets,
        targeted=settings.target is not None,
        random_start=settings.norm == "linf",  # captum's random points in L2 fail on more than one image
        norm={"linf": "Linf", "l2": "L2"}[settings.norm],
    )
    return attacked


def _step(pixels: Tensor, settings: AttackSettings) -> float:
    """2.5 epsilon / steps: so that any point in reach can be reached; captum steps along signs, whatever the norm."""
    step = 2.5 * settings.epsilon / settings.steps
    return step if settings.norm == "linf" else step / math.sqrt(pixels[0].numel())


def _losses() -> Callable[[Tensor, Tensor], Tensor]:
    """Cross entropy: unlike captum's own, the logarithm of a probability, it is of scores."""
    return nn.CrossEntropyLoss(reduction="none")


def _by_toolbox(model: nn.Module, pixels: Tensor, targets: Tensor, settings: AttackSettings) -> Tensor:
    """By the Adversarial Robustness Toolbox."""
    evasion, classifiers = _toolbox()
    scores = model(pixels[:1]).shape[1]
    classifier = classifiers.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(pixels.shape[1:]), scores, clip_values=(0.0, 1.0), device_type="cpu"
    )
    if settings.method == "cw":
        attack = evasion.CarliniL2Method(
            classifier,
            targeted=settings.target is not None,
            max_iter=settings.steps,
            batch_size=len(pixels),
            verbose=False,
        )
    else:
        norm = {"linf": np.inf, "l2": 2}[settings.norm]
        attack = evasion.AutoAttack(classifier, norm=norm, eps=settings.epsilon, batch_size=len(pixels))
        for one in attack.attacks:
            one.verbose = False
    labels = np.eye(scores, dtype=np.float32)[targets.cpu().numpy()]
    return torch.from_numpy(attack.generate(x=pixels.cpu().numpy(), y=labels))


def _toolbox() -> tuple[Any, Any]:
    try:
        from art.attacks import evasion
        from art.estimators import classification
    except ImportError:
        raise UnitlensError(
            f"The attacks {' and '.join(EXTRA)} are of the Adversarial Robustness Toolbox, which is not installed: "
            "pip install 'unitlens[attacks]', or use fgsm or pgd."
        ) from None
    return evasion, classification
