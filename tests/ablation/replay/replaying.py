"""Networks of many kinds to replay, and the full network that a replay is compared with."""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unitlens.ablation.interventions import Replacement
from unitlens.ablation.replay import cutting
from unitlens.ablation.replay.cut import Cut
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.hooks import edit


class Block(nn.Module):
    """A residual block whose relu is called twice, in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1, stride=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(self.conv1(x)))
        out = self.conv2(out)
        out += x
        return self.relu(out)


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *(nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 30)),
        *(nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(30, 20), nn.ReLU(inplace=True), nn.Linear(20, 5)),
    )


class Joined(nn.Module):
    """Parallel branches that are concatenated, as in DenseNet, then a convolution with a stride and a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grow = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1)
        self.norm, self.deep = nn.BatchNorm2d(10), nn.Conv2d(10, 20, 3, groups=10)
        self.mix, self.head = nn.Conv2d(20, 7, 3, stride=2, padding=1), nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.deep(F.relu(self.norm(torch.cat([x, self.grow(x)], 1)), inplace=True))
        return self.head(torch.sigmoid(self.mix(x)).mean((2, 3)))


class Tokens(nn.Module):
    """The number of images crosses the cut, as in a vision transformer; a gate is multiplied on."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(1, 1, 8))
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        torch._assert(x.shape[1] == 3, "RGB")
        x = self.patch(x)
        x = (x * torch.sigmoid(x.mean((2, 3), keepdim=True))).reshape(n, 8, -1).permute(0, 2, 1)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        return self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])


class Windows(nn.Module):
    """Values with several rows for each image cross the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.main, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        side = self.side(x).reshape(n, 4, 2, h // 2, w).permute(0, 2, 1, 3, 4).reshape(n * 2, 4, h // 2, w)
        main = self.main(x).reshape(n, 4, 2, h // 2, w).permute(0, 2, 1, 3, 4).reshape(n * 2, 4, h // 2, w)
        both = torch.cat([side, main * side], 1).mean((2, 3))
        return self.head(both.view(n, 2, 8).amax(1))


class Branching(nn.Module):
    """Control flow on values: torch.fx cannot look inside, and need not, as long as the layer is elsewhere."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x.mul_(2)
        return x if x.shape[2] > 3 and float(x.abs().sum()) > 0 else -x


def branching() -> nn.Module:
    stem, inner = nn.Conv2d(3, 8, 3), Branching(nn.Conv2d(8, 8, 3))
    return nn.Sequential(stem, nn.ReLU(), inner, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


class Untraced(nn.Module):
    """The same network, whose forward asks what no tracer knows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor):
        assert len(images) > 0
        return self.network(images)


CASES = [
    (residual, "1.conv1"),
    (residual, "1.relu[0]"),
    (residual, "1.relu[1]"),
    (residual, "2.conv2"),
    (residual, "2.norm"),
    (residual, "2"),
    (residual, "0"),
    (residual, "5"),
    (residual, "4"),
    (vgg, "0"),
    (vgg, "1"),
    (vgg, "5"),
    (Joined, "stem"),
    (Joined, "grow"),
    (Joined, "deep"),
    (Joined, "mix"),
    (Tokens, "patch"),
    (Windows, "main"),
    (Windows, "side"),
    (branching, "0"),
]


def made(build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.weight)
    return model.eval()


def only_traced(monkeypatch) -> None:
    """Leave out what is recorded where tracing fails, to see what tracing alone gives."""
    ways = cutting.ways_to_split
    monkeypatch.setattr(cutting, "ways_to_split", lambda *asked: islice(ways(*asked), 2))


def shown(count: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


@torch.inference_mode()
def full(model: nn.Module, layer: str, images: Tensor, unit: int, value) -> Tensor:
    def ablate(activation: Tensor) -> Tensor:
        activation[:, unit] = value
        return activation

    with edit(model, {layer: ablate}):
        return model(images)


def swept(cut: Cut, state, value=0.0, **settings) -> Tensor:
    blocks = list(sweep(cut, state, Replacement(value).values(state.activation), **settings))
    assert [unit for block in blocks for unit in block.units] == list(range(state.activation.shape[1]))
    return torch.cat([block.outputs for block in blocks])


def naive_sweep(model: nn.Module, layer: str, images: Tensor, units: int, value=0.0) -> Tensor:
    return torch.stack([full(model, layer, images, unit, value) for unit in range(units)])


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=2e-6 * float(other.abs().amax()))
