"""Time a sweep over every unit of a layer against the bare forward pass over the same images, 1 thread."""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.nests import tensors
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.units.space import UnitSpace

CASES = {
    "resnet18": ("layer4", True, 1.15, 1),
    "resnet18, plain": ("layer4", False, 1.5, 1),
    "vgg16": ("features.28", True, 1.8, 1),
    "resnet50": ("layer4.2", True, 1.6, 1),
    "vit_b_16": ("encoder.layers.encoder_layer_11", True, 2, 2),
    "hf ViT-B": ("vit.layers.11", True, 2, 2),
}
"""Network: (layer, whether units are followed alone, the largest ratio to aim for, along which dimension units lie)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", type=int, default=2**26)
    parser.add_argument("--only", default="", help="a part of the cases' names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for case, (layer, alone, goal, axis) in CASES.items():
        if options.only in case:
            time_case(case, layer, alone, goal, axis, options)


def build(case: str) -> nn.Module:
    """Build the network of a case, with random weights."""
    torch.manual_seed(0)
    if case == "hf ViT-B":
        import transformers

        return transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)).eval()
    import torchvision

    model: nn.Module = torchvision.models.get_model(case.split(",")[0], weights=None)
    return model.eval()


def time_case(case: str, layer: str, alone: bool, goal: float, axis: int, options: argparse.Namespace) -> None:
    model = build(case)
    batches = torch.randn(options.images, 3, 224, 224).split(options.batch)
    cut = cut_network(model, layer, batches[0])

    def swept() -> None:
        for batch in batches:
            state = cut.front(batch)
            right = tensors(state.output)[0].argmax(-1)
            for block in sweep(cut, state, memory=options.memory, alone=alone, space=UnitSpace(axis=axis)):
                tensors(block.outputs)[0].argmax(-1).eq(right).sum()

    pairs = [(seconds(lambda: bare(model, batches)), seconds(swept)) for _ in range(options.repeat)]
    forward, whole = (min(times) for times in zip(*pairs, strict=True))
    each = 1e3 / options.images
    print(f"{case:16} {layer:12} forward {forward * each:6.1f} ms, sweep {whole * each:6.1f} ms an image, ", end="")
    print(f"ratio {whole / forward:.2f} (goal {goal})", flush=True)


def bare(model: nn.Module, batches: tuple[torch.Tensor, ...]) -> None:
    with torch.inference_mode():
        for batch in batches:
            model(batch)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
