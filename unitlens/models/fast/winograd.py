"""Convolutions of 3 x 3 that take a quarter of the multiplications, on processors: Winograd's F(4 x 4, 3 x 3).

Of a tile of 6 x 6 positions, 4 x 4 outputs are computed at a time: 36 products of a unit and a channel in place of 144.
Tiles and outputs are transformed by fixed matrices of small numbers. What is rounded is different, by some ten times as
much as in the plain sum: about 1e-5 of the largest output.

Source: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_FEWEST_CHANNELS = 64
"""Of fewer channels or units, transforming the tiles takes longer than what is spared."""

_LARGEST_WASTE = 1.5
"""Outputs of all tiles, which overhang the edges of maps, over those that are asked for, where this still pays."""

_NUMBERS_AT_ONCE, _FEWEST_TILES = 1 << 14, 64
"""Numbers of a place of the tiles that are transformed together, so that all places fit a cache; and tiles at least."""

_OF_TILES = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_OF_WEIGHTS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OF_PRODUCTS = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
"""The transforms of one side: of the tiles, of the weights, and of their products to the outputs."""


class Winograd(nn.Conv2d):
    """A convolution that is computed by tiles where that pays, and else as before, also where gradients are asked for.

    Which of the two depends on the size of maps and on the image alone, not on how many images there are: one with
    outputs that are not finite takes the plain sum, as tiles spread what is not finite over all of their outputs.

    Parameters
    ----------
    convolution : nn.Conv2d
        One of which `can_replace` is true. Its weights are shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        assert not isinstance(convolution.padding, str)
        top, left = convolution.padding
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            3,
            padding=(top, left),
            bias=convolution.bias is not None,
            device="meta",  # what it would draw at random is replaced at once
        )
        self.weight, self.bias, self.training = convolution.weight, convolution.bias, convolution.training
        self._pads = (top, left)
        weight = convolution.weight.detach().double()
        one_side = torch.tensor(_OF_WEIGHTS, dtype=torch.float64)
        transformed = torch.einsum("ai,bj,ucij->abcu", one_side, one_side, weight).flatten(0, 1).to(torch.float32)
        self.of_tiles: Tensor
        self.of_products: Tensor
        self.transformed: Tensor
        for name, value in {
            "of_tiles": _both_sides(_OF_TILES),  # (36, 36)
            "of_products": _both_sides(_OF_PRODUCTS),  # (16, 36)
            "transformed": transformed.contiguous(),  # (36, channels, units)
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve maps, (N, channels, h, w)."""
        height, width = (side + 2 * pad - 2 for side, pad in zip(input.shape[-2:], self._pads, strict=True))
        down, across = -(-height // 4), -(-width // 4)
        wasteful = min(height, width) < 1 or 16 * down * across > _LARGEST_WASTE * height * width
        if wasteful or input.ndim != 4 or torch.is_grad_enabled():
            return super().forward(input)
        out = torch.empty(len(input), height, width, self.out_channels)
        tiles = min(_tiles_at_once(self.in_channels), len(input) * down * across)
        count, rows = max(1, tiles // (down * across)), max(1, min(down, tiles // across))
        room = _Room.of(count * rows * across, self.in_channels, self.out_channels)
        for images, outputs in zip(torch.split(input.permute(0, 2, 3, 1), count), torch.split(out, count), strict=True):
            padded = self._padded(images, 4 * down + 2, 4 * across + 2)
            for first in range(0, down, rows):
                part = outputs[:, 4 * first : 4 * (first + rows)]
                of_tiles = self._outputs(padded[:, 4 * first : 4 * (first + rows) + 2], room)
                of_tiles = of_tiles[:, : part.shape[1], : part.shape[2]]
                part.copy_(of_tiles) if self.bias is None else torch.add(of_tiles, self.bias, out=part)
        return self._corrected(out.permute(0, 3, 1, 2), input)

    def _corrected(self, out: Tensor, input: Tensor) -> Tensor:
        """Outputs, where those of an image that are not all finite are computed by the plain sum."""
        wrong = ~torch.isfinite(out.sum((1, 2, 3)))
        if wrong.any():
            out[wrong] = super().forward(input[wrong])
        return out

    def _padded(self, images: Tensor, height: int, width: int) -> Tensor:
        """Some images, (n, h, w, channels), with zeros around them, as the tiles take them."""
        (top, left), (count, h, w, channels) = self._pads, images.shape
        padded = images.new_zeros(count, height, width, channels)
        padded[:, top : top + h, left : left + w] = images
        return padded

    def _outputs(self, padded: Tensor, room: "_Room") -> Tensor:
        """Outputs of all tiles of padded maps, without the bias, (n, 4 * down, 4 * across, units)."""
        (count, height, width, channels), strides = padded.shape, padded.stride()
        down, across, units = height // 4, width // 4, self.out_channels
        tiles = count * down * across
        image, row, column, channel = strides
        # (6, 6, n, down, across, channels): tiles overlap by two positions
        shape, strides = (6, 6, count, down, across, channels), (row, column, image, 4 * row, 4 * column, channel)
        tiled = room.first[:, : tiles * channels]
        tiled.view(shape).copy_(padded.as_strided(shape, strides, padded.storage_offset()))
        transformed = torch.mm(self.of_tiles, tiled, out=room.second[:, : tiles * channels])
        products = room.first[:, : tiles * units]
        torch.bmm(transformed.view(36, tiles, channels), self.transformed, out=products.view(36, tiles, units))
        outputs = torch.mm(self.of_products, products, out=room.second[:16, : tiles * units])
        together = room.third[: 16 * tiles * units].view(count, down, 4, across, 4, units)
        together.permute(2, 4, 0, 1, 3, 5).copy_(outputs.view(4, 4, count, down, across, units))
        return together.view(count, 4 * down, 4 * across, units)


class _Room(NamedTuple):
    """Memory that is used again for all tiles of a call.

    Attributes
    ----------
    first, second : tensor, (36, n)
        A place of the tiles each row. Rows do not begin at multiples of a power of two, which share lines of the cache.
    third : tensor, (n,)
    """

    first: Tensor
    second: Tensor
    third: Tensor

    @classmethod
    def of(cls, tiles: int, channels: int, units: int) -> "_Room":
        row = tiles * max(channels, units) + 16
        return cls(torch.empty(36, row), torch.empty(36, row), torch.empty(16 * tiles * units))


def can_replace(module: nn.Module) -> bool:
    """Whether a module is a convolution that computes faster by tiles: 3 x 3, dense, in float32 on a processor."""
    return (
        type(module) is nn.Conv2d
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        and (module.kernel_size, module.stride, module.dilation, module.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and not isinstance(module.padding, str)
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= _FEWEST_CHANNELS
        and (module.weight.dtype, module.weight.device.type) == (torch.float32, "cpu")
    )


def _tiles_at_once(channels: int) -> int:
    return max(_FEWEST_TILES, _NUMBERS_AT_ONCE // channels)


def _both_sides(of_one: Any) -> Tensor:
    """The matrix that transforms rows and columns at once."""
    matrix = torch.tensor(of_one, dtype=torch.float32)
    return torch.kron(matrix, matrix).contiguous()
