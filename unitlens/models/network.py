"""A network and all that is needed to show it images: `load` one by name, or wrap a module with `classifier`."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitlens.errors import UnitlensError
from unitlens.models.layers import uncompiled
from unitlens.models.listing import LayerInfo, Survey, one_image_error, survey
from unitlens.models.loading import as_module, build
from unitlens.models.preprocessing import Preprocessing, decide, said_by

__all__ = ["LayerInfo", "Network", "Preprocessing", "classifier", "evaluating", "load"]


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A model and all that is needed to show it images.

    Attributes
    ----------
    model : nn.Module
        The module itself.
    preprocessing : Preprocessing
        What happens to an image before the model sees it.
    classes : tuple of str or None
        The names of its outputs, where known.
    name : str
        ``torchvision.models:resnet18``, or the class's name for a module that was passed in.
    weights : str or None
        As given to `load`: "DEFAULT", "none", a file, or None.
    default_layer : str or None
        The layer to look at if none is named.
    """

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    name: str
    weights: str | None = None
    default_layer: str | None = None

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights {self.weights}"
        classes = "" if self.classes is None else f"; {len(self.classes)} classes"
        return f"<Network {self.name}{weights}; images {self.preprocessing}{classes}>"

    @property
    def device(self) -> torch.device:
        """Where its parameters are, and images have to be."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The number type of its parameters, and of the images it takes."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def prepare(self, images: Tensor) -> Tensor:
        """Return what the network is shown for 8-bit images, on its device and in its number type.

        Parameters
        ----------
        images : uint8 tensor, (N, 3, height, width)
            Scaled and cropped already.

        Returns
        -------
        tensor, (N, 3, height, width)
            ``(images / 255 - mean) / std``.
        """
        return self.preprocessing.normalise(images.to(self.device).float().div_(255)).to(self.dtype)

    def layers(self) -> list[LayerInfo]:
        """List its layers in forward order, that is in the order in which they return; never reached ones come last.

        One random image is let through for it, in evaluation mode.

        Raises
        ------
        UnitlensError
            If an image of this size does not go through.
        """
        return self._survey().layers

    def output_count(self) -> int | None:
        """Return how many outputs (classes) it has; None if it does not return (N, classes)."""
        outputs = self._survey().outputs
        return outputs[0][1] if len(outputs) == 1 and len(outputs[0]) == 2 and outputs[0][0] == 1 else None

    def fingerprint(self) -> str:
        """Return a hash of its weights.

        Returns
        -------
        str
            SHA-256 over names, number types, shapes and bytes of all parameters and buffers, in the order of their
            names; the same on every device.
        """
        model, digest = uncompiled(self.model), hashlib.sha256()
        tensors = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _survey(self) -> Survey:
        size = self.preprocessing.image_size
        pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        image = self.preprocessing.normalise(pixels).to(self.device, self.dtype)
        try:
            with evaluating(self.model):
                return survey(self.model, image)
        except UnitlensError:
            raise
        except Exception as error:  # whatever the model's own code raises
            raise one_image_error(error, size) from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode, without gradients.

    Every module's ``training`` flag, and no more, is changed and put back afterwards, whatever happens.
    ``model.eval()`` is not called, as networks may do more in it (merge weights, say) than could be undone.

    Parameters
    ----------
    model : nn.Module
        Any network.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = False
        with torch.inference_mode():
            yield
    finally:
        for module, training in before:
            module.training = training


def load(
    spec: str,
    *,
    weights: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Network:
    """Load a network by name.

    Parameters
    ----------
    spec : str
        ``torchvision.models:resnet18``, or ``resnet18`` for short; ``timm:NAME`` and ``hf:NAME_OR_FOLDER``, which need
        the extras ``unitlens[timm]`` and ``unitlens[hf]``; ``package.module:callable`` or
        ``path/to/file.py:callable``, where the callable is a network, or a class or function without arguments that
        gives one; ``bundled:scenes``.
    weights : str or Path, optional
        "DEFAULT": those of its makers, downloaded (other weights of torchvision by their name, as "IMAGENET1K_V1"). A
        ``.safetensors`` file, or a ``.pt``, ``.pth`` or ``.bin`` file with a state dict. "none": as built, untrained
        for networks by name. Without it a callable's network is taken as it returns, one of Hugging Face with the
        weights that are on this machine, ``bundled:scenes`` is trained, and one of torchvision or timm is an error.
    image_size : int or (int, int), optional
        Side of the network's input in pixels, or height and width. Without ``resize``, images are squashed to it.
    resize : int, optional
        The shorter side of an image, before its centre is cropped.
    mean, std : three floats, optional
        Of red, green and blue in [0, 1]. What is not given is taken from torchvision's or the network's own statement
        (``pretrained_cfg``, ``default_cfg``).
    seed : int
        For weights that are drawn at random while the network is built. PyTorch's generator is as before afterwards.
    device : str or torch.device
        Where the network goes.

    Raises
    ------
    UnitlensError
        If there is no such network, file or device, the weights are another network's, or what was found is no network.

    Warns
    -----
    UnitlensWarning
        If nobody says how images are prepared.
    """
    if not isinstance(spec, str):
        raise UnitlensError(
            f"A network is loaded by its name, such as 'resnet18', not by a {type(spec).__name__}; "
            "ul.classifier(model) takes a module."
        )
    source = None if weights is None else str(weights)
    built = build(spec, weights=source, seed=seed)
    preprocessing = decide(built.said, image_size=image_size, resize=resize, mean=mean, std=std)
    model = _moved(built.model, device)
    return Network(model, preprocessing, built.classes, built.name, source, built.default_layer)


def classifier(
    model: nn.Module | ExportedProgram,
    *,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: int | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Network:
    """Wrap a module with all that is needed to show it images.

    Parameters
    ----------
    model : nn.Module or torch.export.ExportedProgram
        It is not changed, and stays where it is. Of a compiled one (`torch.compile`) the original module is taken, of
        an exported program the modules that it was exported from. In TorchScript no hook can be attached.
    image_size, mean, std, resize
        As for `load`.
    classes : sequence of str, optional
        The names of its outputs.
    name : str, optional
        What to call it; the name of its class otherwise.

    Raises
    ------
    UnitlensError
        If it is not a module, or a setting is not of its kind.

    Warns
    -----
    UnitlensWarning
        If nobody says how images are prepared.
    """
    module = as_module(model)
    if module is None:
        raise UnitlensError(f"A network is a torch.nn.Module, not a {type(model).__name__}; ul.load takes a name.")
    if isinstance(classes, str):
        raise UnitlensError(f"classes is {classes!r}; it is a sequence of names, one for each output.")
    preprocessing = decide(said_by(module), image_size=image_size, resize=resize, mean=mean, std=std)
    return Network(module, preprocessing, None if classes is None else tuple(classes), name or type(module).__name__)


def _moved(model: nn.Module, device: str | torch.device) -> nn.Module:
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise NotImplementedError("nothing is computed there")
        return model.to(place)
    except torch.OutOfMemoryError:
        raise UnitlensError(f"The network does not fit in the memory of {device}: choose another --device.") from None
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise UnitlensError(f"The device {str(device)!r} cannot be used here; there is {', '.join(there)}.") from error
