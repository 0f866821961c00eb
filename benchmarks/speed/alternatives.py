"""What the same work costs with the tools that people would take instead, as a share of the bare forward pass.

    pip install 'unitlens[bench]'
    python -m benchmarks.speed.alternatives --images 64

Three pieces of work, each on one thread in one process: to record a layer of ResNet-18 over the images; to count the
IoU of its 512 units with 90 concepts, from the recorded maps; and to remove each of its 512 units alone and measure
what the images' own logits lose. Before anything is timed, each tool's result is compared with ours. Then all are timed
in turn, `--runs` times, and the median is taken. Tools that would take minutes do a share of the work, which stands in
the table, and their time is multiplied. A tool that is not installed is a row that says so.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.data.reading import Reading
from unitlens.dissection.counting import count_block
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.temporary import temporary_store
from unitlens.models.passes import evaluating
from unitlens.stats.draws.partners import Partners
from unitlens.stats.thresholds import threshold_rank

LAYER, UNITS = "layer4", 512
GRID = (56, 56)
PLANES, LABELS = 3, 30
CONCEPTS = PLANES * LABELS
PAIRS_PER_UNIT = 6
"""Concepts of a unit whose IoU torchmetrics computes."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Images:
    """Smooth random images, each of a class of its own: the effect on a class is the effect on its image."""

    concepts = ()

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)))
        smooth = nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic").clamp(0, 255).round()
        self.images = smooth.byte().permute(0, 2, 3, 1).numpy()
        self.classes = tuple(range(1000))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ul.Example:
        return ul.Example(self.images[index], {}, f"image {index}", index)


@dataclass
class Work:
    """What all tools are given.

    Attributes
    ----------
    net : Network
    data : Images
    inputs : tuple of Tensor
        The images as the network takes them, batch by batch.
    maps : float32 tensor, (N, 512, 7, 7)
        The layer's activations.
    planes : int64 tensor, (N, 3, H * W)
        Label planes: 0, or 1 to 30 in each.
    threshold : float32 tensor, (512,)
        Of every unit, found by us.
    """

    net: ul.Network
    data: Images
    inputs: tuple[Tensor, ...]
    maps: Tensor
    planes: Tensor
    threshold: Tensor = field(default_factory=lambda: torch.zeros(UNITS))

    @classmethod
    def of(cls, images: int, batch: int) -> "Work":
        """Prepare the work on so many images."""
        data, net = Images(images), ul.load("torchvision.models:resnet18", weights="none")
        net.model.eval()
        read = Batches(data, net.preprocessing, Reading(batch_size=batch))  # which cuts and scales them
        inputs = tuple(net.prepare(each.images) for each in read)
        coarse = torch.randint(0, LABELS + 1, (images, PLANES, 7, 7), generator=torch.Generator().manual_seed(0))
        planes = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3).flatten(2)
        work = cls(net, data, inputs, torch.empty(0), planes)
        work.maps = recorded_by_us(work)
        return work


@dataclass(frozen=True)
class Tool:
    """One way to do a piece of work.

    Attributes
    ----------
    name : str
    run : callable
        Does the work, or a share of it, and returns the result.
    share : callable
        Which share of the work that is.
    """

    name: str
    run: Callable[[Work], Any]
    share: Callable[[Work], float] = lambda work: 1.0


# recording


def recorded_by_us(work: Work) -> Tensor:
    """`ul.record`."""
    kept = []
    with evaluating(work.net.model), ul.record(work.net.model, LAYER) as recording:
        for batch in work.inputs:
            work.net.model(batch)
            kept.append(recording[LAYER])
    return torch.cat(kept)


def recorded_by_hand(work: Work) -> Tensor:
    """A hook that is written by hand."""
    kept: list[Tensor] = []
    hook = work.net.model.get_submodule(LAYER).register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.inference_mode():
        for batch in work.inputs:
            work.net.model(batch)
    hook.remove()
    return torch.cat(kept)


def recorded_by_torchvision(work: Work) -> Tensor:
    """The feature extractor of torchvision, which traces the network."""
    from torchvision.models.feature_extraction import create_feature_extractor

    extractor = create_feature_extractor(work.net.model, [LAYER])
    with torch.inference_mode():
        return torch.cat([extractor(batch)[LAYER] for batch in work.inputs])


def recorded_by_captum(work: Work) -> Tensor:
    """LayerActivation of captum."""
    from captum.attr import LayerActivation

    recorder = LayerActivation(work.net.model, work.net.model.get_submodule(LAYER))
    with torch.no_grad():
        return torch.cat([recorder.attribute(batch) for batch in work.inputs])


def recorded_by_timm(work: Work) -> Tensor:
    """The feature wrapper of timm: its own ResNet-18 with the same weights."""
    import timm

    model = timm.create_model("resnet18", features_only=True, out_indices=(4,)).eval()
    model.load_state_dict(work.net.model.state_dict(), strict=False)
    with torch.inference_mode():
        return torch.cat([model(batch)[0] for batch in work.inputs])


def recorded_by_nnsight(work: Work) -> Tensor:
    """NNsight."""
    from nnsight import NNsight

    wrapped, kept = NNsight(work.net.model), []
    with torch.no_grad():
        for batch in work.inputs:
            with wrapped.trace(batch):
                output = wrapped.layer4.output.save()
            kept.append(output)
    return torch.cat(kept)


def recorded_by_torchlens(work: Work) -> Tensor:
    """TorchLens, which keeps the history of every operation; of the first batch."""
    import torchlens

    with torch.no_grad():
        history = torchlens.trace(work.net.model, work.inputs[0])
    return history[LAYER].out.detach()  # type: ignore[no-any-return]


def first_batch(work: Work) -> float:
    """One batch of all."""
    return len(work.inputs[0]) / len(work.data)


# IoU


def counted_by_us(work: Work) -> np.ndarray:
    """The counts of a dissection, which finds the thresholds too; from the maps in memory to the IoU."""
    concepts = [
        Concept(f"kind {k}", label, f"thing {k} {label}") for k in range(PLANES) for label in range(1, LABELS + 1)
    ]
    columns, folds = Columns.of(concepts), np.arange(len(work.data)) % 32
    first = LABELS * np.arange(PLANES)[:, None]
    marked = np.where(work.planes.numpy() > 0, work.planes.numpy() + first, 0).astype(np.int16)
    settings = Settings(layers=(LAYER,), grid=GRID, evidence=False)
    with temporary_store() as store:
        labels = LabelPlanes.start(columns, GRID, store)
        labels.add(list(marked), folds.tolist())
        layer = LayerMaps.start(LAYER, work.maps, GRID, store)
        layer.add(ArrivingMaps.of(work.maps, GRID))
        rank = threshold_rank(settings.quantile, len(work.data) * GRID[0] * GRID[1])
        partners = Partners(len(work.data))
        counted = count_block(layer, slice(0, UNITS), labels, folds, settings, rank=rank, partners=partners)
        concept = labels.by_fold(grid=True)[:, 1 : 1 + CONCEPTS].sum(0)
    work.threshold = torch.from_numpy(counted.threshold)
    both = counted.by_fold[:, :, 1 : 1 + CONCEPTS].sum(1)
    return both / (counted.active.sum(1)[:, None] + concept - both)


def masks(work: Work, image: int, units: slice = slice(0, UNITS)) -> Tensor:
    """Where units are active on the label grid, (units, H * W)."""
    finer = nn.functional.interpolate(work.maps[image : image + 1, units], size=GRID, mode="bilinear")
    return (finer[0] > work.threshold[units, None, None]).flatten(1)


def concept_masks(work: Work, image: int) -> Tensor:
    """Where concepts are marked, (90, H * W)."""
    return torch.cat([plane == torch.arange(1, LABELS + 1)[:, None] for plane in work.planes[image]])


def counted_by_products(work: Work) -> np.ndarray:
    """Masks as matrices of float32, image by image, and their product; thresholds are given."""
    both = torch.zeros(UNITS, CONCEPTS, dtype=torch.float64)
    active, concept = torch.zeros(UNITS, dtype=torch.float64), torch.zeros(CONCEPTS, dtype=torch.float64)
    for image in range(len(work.data)):
        ours, marked = masks(work, image).float(), concept_masks(work, image).float()
        both += ours @ marked.T
        active += ours.sum(1)
        concept += marked.sum(1)
    return (both / (active[:, None] + concept - both)).numpy()


def counted_by_torchmetrics(work: Work) -> np.ndarray:
    """BinaryJaccardIndex for each of a few concepts of the first unit; thresholds are given."""
    from torchmetrics.classification import BinaryJaccardIndex

    metrics = [BinaryJaccardIndex(validate_args=False) for _ in range(PAIRS_PER_UNIT)]
    for image in range(len(work.data)):
        ours, marked = masks(work, image, slice(0, 1))[0].int(), concept_masks(work, image).int()
        for metric, concept in zip(metrics, marked, strict=False):
            metric.update(ours, concept)
    return np.array([[float(metric.compute()) for metric in metrics]])


# removal


def removed_by_us(work: Work) -> Tensor:
    """`ul.importance`: the check of its replay, reading the images and all effects included; (512, N)."""
    effects = ul.importance(work.net, LAYER, work.data, measures=["logit"], batch_size=len(work.inputs[0]))
    return torch.from_numpy(effects.effect("logit"))


def removed_by_hooks(work: Work, units: int = 4) -> Tensor:
    """A hook that sets a unit to 0, and the whole network for every unit; of a few units.

    Of each image, the logit of the class that has its number.
    """
    model, taken = work.net.model, 0

    def remove(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, taken] = 0
        return output

    with torch.inference_mode():
        before = torch.cat([model(batch).diagonal(offset=first) for batch, first in _numbered(work)])
        hook = model.get_submodule(LAYER).register_forward_hook(remove)
        changes = []
        for unit in range(units):
            taken = unit
            changes.append(
                torch.cat([model(batch).diagonal(offset=first) for batch, first in _numbered(work)]) - before
            )
        hook.remove()
    return torch.stack(changes)


def removed_by_captum(work: Work) -> Tensor:
    """LayerFeatureAblation of captum, 32 units at a time; of the first image."""
    from captum.attr import LayerFeatureAblation

    ablation = LayerFeatureAblation(work.net.model, work.net.model.get_submodule(LAYER))
    mask = torch.arange(UNITS)[None, :, None, None]
    with torch.no_grad():
        taken = ablation.attribute(
            work.inputs[0][:1], target=0, layer_baselines=0, layer_mask=mask, perturbations_per_eval=32
        )
    return -taken[:, :, :1, 0].flatten(1).T  # as much is told of every position of a unit


def removed_by_gradcam(work: Work) -> Tensor:
    """AblationCAM of grad-cam, 32 units at a time; of the first image."""
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.ablation_layer import AblationLayer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, image = work.net.model, work.inputs[0][:1]
    layer = model.get_submodule(LAYER)
    cam = AblationCAM(model, [layer], ablation_layer=AblationLayer(), batch_size=32)
    with torch.no_grad(), _no_bars():
        before = float(model(image)[0, 0])
        lost = cam.get_cam_weights(image, layer, [ClassifierOutputTarget(0)], work.maps[:1], None)
    cam.activations_and_grads.release()
    return -torch.from_numpy(lost).T * before


def _numbered(work: Work) -> Iterator[tuple[Tensor, int]]:
    """Batches, each with the number of its first image."""
    first = 0
    for batch in work.inputs:
        yield batch, first
        first += len(batch)


@contextmanager
def _no_bars() -> Iterator[None]:
    """AblationCAM draws a progress bar for every image."""
    import tqdm

    drawn = tqdm.tqdm
    tqdm.tqdm = lambda items, *_, **__: items
    try:
        yield
    finally:
        tqdm.tqdm = drawn


TASKS: dict[str, list[Tool]] = {
    "record `layer4`": [
        Tool("unitlens (`ul.record`)", recorded_by_us),
        Tool("a hook by hand", recorded_by_hand),
        Tool("torchvision's feature extractor", recorded_by_torchvision),
        Tool("captum LayerActivation", recorded_by_captum),
        Tool("timm's feature wrapper", recorded_by_timm),
        Tool("nnsight", recorded_by_nnsight),
        Tool("TorchLens", recorded_by_torchlens, first_batch),
    ],
    "IoU of 512 units x 90 concepts": [
        Tool("unitlens (with exact thresholds, by fold)", counted_by_us),
        Tool("dense matrix product", counted_by_products),
        Tool(
            "torchmetrics BinaryJaccardIndex",
            counted_by_torchmetrics,
            lambda work: PAIRS_PER_UNIT / (UNITS * CONCEPTS),
        ),
    ],
    "remove each of 512 units": [
        Tool("unitlens (`ul.importance`)", removed_by_us),
        Tool("a loop with a hook", removed_by_hooks, lambda work: 4 / UNITS),
        Tool("captum LayerFeatureAblation", removed_by_captum, lambda work: 1 / len(work.data)),
        Tool("grad-cam AblationCAM", removed_by_gradcam, lambda work: 1 / len(work.data)),
    ],
}
"""Ours comes first, and the others are compared with it."""


def main() -> None:
    """Compare, time in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the tasks' names")
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS), help="cpu: on a machine with other work")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    work = Work.of(options.images, options.batch_size)
    print("| work | tool | times a forward pass | share that was run | largest difference from ours |")
    print("|---|---|---|---|---|")
    for task, tools in TASKS.items():
        if options.only in task:
            time_task(task, tools, work, CLOCKS[options.clock], runs=options.runs)


def time_task(task: str, tools: list[Tool], work: Work, clock: Callable[[], float], *, runs: int) -> None:
    """Compare the results of a task's tools, then time them in turn."""
    ours = tools[0].run(work)
    installed: dict[str, float] = {}
    for tool in tools:
        try:
            installed[tool.name] = difference(tool.run(work), ours)
        except ImportError as error:
            print(f"| {task} | {tool.name} | not installed ({error.name}) | | |", flush=True)
    taken: dict[str, list[float]] = {tool.name: [] for tool in tools if tool.name in installed}
    for _ in range(runs):
        forward = seconds(lambda: bare(work), clock)
        for tool in tools:
            if tool.name in installed:
                run = tool.run
                taken[tool.name].append(seconds(lambda: run(work), clock) / tool.share(work) / forward)  # noqa: B023
    for tool in tools:
        if tool.name in installed:
            ratio, share, apart = statistics.median(taken[tool.name]), tool.share(work), installed[tool.name]
            all_of_it = "all" if share == 1 else f"{share:.2g}"
            print(f"| {task} | {tool.name} | {ratio:.3g} | {all_of_it} | {apart:.1g} |", flush=True)


def difference(result: Any, ours: Any) -> float:
    """The largest difference of a result, which may be of the first images or units only, from ours."""
    first, second = np.shape(result)[:2]
    return float(np.abs(np.asarray(result) - np.asarray(ours)[:first, :second]).max())


def bare(work: Work) -> None:
    """The forward pass alone."""
    with torch.inference_mode():
        for batch in work.inputs:
            work.net.model(batch)


def seconds(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    """How long a function takes."""
    start = clock()
    run()
    return clock() - start


if __name__ == "__main__":
    main()
