"""Max pooling of maps that lie channels last, in a third of the time: by maxima of rows, and then of columns."""

import torch
from torch import Tensor, nn


class Pooling(nn.MaxPool2d):
    """Maxima of 3 x 3 positions, every other one, on a processor: the same numbers as before.

    Parameters
    ----------
    pooling : nn.MaxPool2d
        One of which `can_pool` is true.
    """

    def __init__(self, pooling: nn.MaxPool2d) -> None:
        super().__init__(3, stride=2, padding=1)
        self.training = pooling.training

    def forward(self, input: Tensor) -> Tensor:
        """Pool maps, (N, units, h, w); where gradients are asked for, as before."""
        if input.ndim != 4 or min(input.shape) < 1 or input.device.type != "cpu" or torch.is_grad_enabled():
            return torch.as_tensor(super().forward(input))
        count, units, h, w = input.shape
        out = input.new_empty(count, (h + 1) // 2, (w + 1) // 2, units)
        rows = input.new_empty((h + 1) // 2, w, units)
        for image, pooled in zip(input.permute(0, 2, 3, 1), out, strict=True):  # one by one, which a cache has room for
            kind = _compared_as(image)
            _pool(image.view(kind), rows.view(kind))
            _pool(rows.view(kind).transpose(0, 1), pooled.view(kind).transpose(0, 1))
        return out.permute(0, 3, 1, 2)


def _compared_as(image: Tensor) -> torch.dtype:
    """The type in which numbers are compared: without a sign, the bits of floats rise with them.

    Processors compare integers of 16 bits three times as fast as floats of 16 bits. A NaN is larger than all others,
    and so the maximum, as it is among floats.
    """
    if image.element_size() == 2 and int(image.view(torch.int16).amin()) >= 0:
        return torch.int16
    return image.dtype


def _pool(maps: Tensor, out: Tensor) -> None:
    """Maxima of the places 2 k - 1 to 2 k + 1 along the first side, where there are any."""
    odd = len(maps) // 2
    torch.maximum(maps[0 : 2 * odd : 2], maps[1::2], out=out[:odd])
    out[odd:] = maps[2 * odd :]  # the last one of an odd number has no neighbour behind it
    later = out[1:]
    torch.maximum(later, maps[1::2][: len(later)], out=later)


def can_pool(module: nn.Module) -> bool:
    """Whether a module is such a pooling, which nobody changed."""
    if type(module) is not nn.MaxPool2d or module._forward_hooks or module._forward_pre_hooks:
        return False
    sides = [(side, side) if isinstance(side, int) else tuple(side) for side in _geometry(module)]
    return sides == [(3, 3), (2, 2), (1, 1), (1, 1)] and not (
        module.ceil_mode or module.return_indices or "forward" in vars(module)
    )


def _geometry(module: nn.MaxPool2d) -> tuple[int | tuple[int, ...], ...]:
    return module.kernel_size, module.stride, module.padding, module.dilation
