"""All of torchvision's networks but those of video, each built once: `for network in walk(): ...`."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

SIZES = {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 56}
"""Height and width of the images where 64 do not fit the architecture."""

ARGUMENTS = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_b_16": {"image_size": 64},
    "vit_b_32": {"image_size": 64},
    "vit_l_16": {"image_size": 64},
    "vit_l_32": {"image_size": 64},
    "vit_h_14": {"image_size": 56},
}

_SMALL = {"weights_backbone": None, "min_size": 64, "max_size": 64}
DENSE = {
    "rcnn": {**_SMALL, "rpn_post_nms_top_n_test": 20, "box_detections_per_img": 5},
    "retinanet": {**_SMALL, "topk_candidates": 20},
    "fcos": {**_SMALL, "topk_candidates": 20},
    "ssd": {"weights_backbone": None, "topk_candidates": 5},
    "": {"weights_backbone": None},
}
"""Of segmentation and detection networks, by what stands in their names: few and small boxes, as untrained networks see
objects everywhere. Detection networks resize images inside."""


class ZooNetwork(NamedTuple):
    name: str
    model: nn.Module  # in eval mode, weights drawn from seed 0
    size: int  # height and width of its images


def names() -> list[str]:
    """Of the classification networks."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def dense_names() -> list[str]:
    """Of the segmentation and detection networks."""
    from torchvision import models

    return [name for family in (models.segmentation, models.detection) for name in models.list_models(module=family)]


def walk(chosen: Sequence[str] | None = None) -> Iterator[ZooNetwork]:
    """Build the networks one after the other; each is gone when the next one comes, so let go of it."""
    for name in names() if chosen is None else chosen:
        gc.collect()  # traced graphs go in circles, and would hold the network before
        yield build(name)


def build(name: str) -> ZooNetwork:
    import torchvision

    with _nothing_drawn():
        model = torchvision.models.get_model(name, weights=None, **_arguments(name))
    draw_weights(model)
    network = ZooNetwork(name, model.eval(), SIZES.get(name, 64))
    settle_batch_norms(network)
    return network


def _arguments(name: str) -> dict[str, object]:
    if name in dense_names():
        return next(arguments for part, arguments in DENSE.items() if part in name)
    return ARGUMENTS.get(name, {})


def images(network: ZooNetwork, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, network.size, network.size, generator=generator)


def convolutions(network: ZooNetwork) -> list[str]:
    """The names of the convolutions that a pass reaches, in the order of their calls."""
    reached: dict[str, None] = {}
    hooks = [
        module.register_forward_hook(lambda *_, name=name: reached.setdefault(name))
        for name, module in network.model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        network.model(images(network, 1))
    for hook in hooks:
        hook.remove()
    return list(reached)


def draw_weights(model: nn.Module) -> None:
    """Draw weights at which every layer counts (torchvision's own leave some heads at 0, some branches at 1e-6)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not name.endswith("layer_scale"):
                bound = (4.5 * parameter.shape[0] / parameter.numel()) ** 0.5
                parameter.uniform_(-bound, bound, generator=generator)
            elif name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1, generator=generator)
            else:
                parameter.fill_(1.0)


def settle_batch_norms(network: ZooNetwork) -> None:
    """Let batch norms see one batch, so that no branch dies away or outgrows the others with the depth."""
    norms = [module for module in network.model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    if norms:
        with torch.no_grad():
            network.model(images(network, 4))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Let the constructors of layers leave their parameters unset: drawing them twice takes most of the time."""
    functions = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
    kept = {name: getattr(nn.init, name) for name in functions}
    try:
        for name in functions:
            setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
        yield
    finally:
        for name, function in kept.items():
            setattr(nn.init, name, function)
