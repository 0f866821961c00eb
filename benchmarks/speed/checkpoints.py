"""What checkpoints cost: a pass of ResNet-18 in a store that lasts, and how much of it was spent on commits.

python -m benchmarks.speed.checkpoints [--images N]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

import unitlens as ul
from unitlens.dissection.forward import in_bytes, observe
from unitlens.dissection.run import task_of
from unitlens.dissection.store.folder import Store


def main() -> None:
    """Print a line for each choice of layers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=640)
    images = parser.parse_args().images
    torch.set_num_threads(1)
    net = ul.load("torchvision.models:resnet18", weights="none")
    for layers in (["layer4"], ["layer1", "layer2", "layer3", "layer4"]):
        sys.stdout.write(f"{', '.join(layers)}: {measured(net, layers, images)}\n")


def measured(net: ul.Network, layers: list[str], images: int) -> str:
    """Make a pass, and time its commits."""
    task = task_of(net, layers, ul.open_data("bundled:scenes", images=images), {"exemplars": 0})
    spent: list[float] = []
    commit = Store.commit

    def timed(store: Store, **what: object) -> None:
        start = time.perf_counter()
        commit(store, **what)  # type: ignore[arg-type]
        spent.append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        Store.commit = timed  # type: ignore[method-assign,assignment]
        try:
            with Store.create(Path(folder, "store")) as store:
                start = time.perf_counter()
                observe(task.net, task.data, task.settings, store, resources=task.resources)
                seconds = time.perf_counter() - start
                size = store.row_bytes * images
        finally:
            Store.commit = commit  # type: ignore[method-assign]
    *of_pass, last = spent
    share = 100 * sum(of_pass) / seconds
    return (
        f"{images} images in {seconds:.1f} s, {in_bytes(size)} on disk; {len(of_pass)} commits in {sum(of_pass):.3f} s "
        f"({share:.2f} % of the pass), and the last one in {last:.3f} s"
    )


if __name__ == "__main__":
    main()
