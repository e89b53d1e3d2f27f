"""3x3 convolutions with stride 1 by tiles, as an internal operator: no gradient, float32 on the CPU.

Winograd's minimal filtering takes a quarter of the multiplications of the direct algorithm; rounding errors are about
twice as large.

Source: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cnnfast import _extension  # noqa: F401  (loads the operators)

_operator = torch.ops.cnnfast._convolution3x3.default

_CHANNEL_PANEL = 32
# With fewer pixels the transformation of the weights costs more than it saves.
_FEWEST_PIXELS = 256


@torch.library.register_fake("cnnfast::_convolution3x3")
def _(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, transposed: bool) -> Tensor:
    batch, _, height, width = x.shape
    shape = (batch, weight.shape[1 if transposed else 0], height + 2 * padding - 2, width + 2 * padding - 2)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _vmap_rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    """Folds the mapped dimension of the pictures into the batch; weights are mapped one by one."""
    if any(dim is not None for dim in in_dims[1:3]):
        one_by_one = [
            _operator(*(a if dim is None else a.select(dim, i) for a, dim in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(one_by_one), 0
    x, *others = arguments
    stacked = x.movedim(in_dims[0], 0)
    return _operator(stacked.flatten(0, 1), *others).unflatten(0, stacked.shape[:2]), 0


torch.library.register_vmap("cnnfast::_convolution3x3", _vmap_rule)


def takes(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of x with these weights, or its transpose, should be done here."""
    return (
        x.device.type == "cpu"
        and x.dtype is weight.dtype is torch.float32
        and x.dim() == 4
        and tuple(weight.shape[2:]) == (3, 3)
        and weight.shape[0] % _CHANNEL_PANEL == weight.shape[1] % _CHANNEL_PANEL == 0
        and x.shape[2] * x.shape[3] >= _FEWEST_PIXELS
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and not torch.onnx.is_in_onnx_export()
    )


def convolution3x3(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, *, transposed: bool = False) -> Tensor:
    """The convolution of x [B,I,H,W], for which `takes` is true, with weight [O,I,3,3] and zeros as padding.

    Args:
        x: channels_last.
        weight: fastest in channels_last.
        bias: [O] or None.
        padding: px on each side, 0 to 2.
        transposed: x has O channels, the result I: the gradient of a convolution with a padding of 2 - `padding`.

    Returns:
        [B,O,H + 2 padding - 2,W + 2 padding - 2], channels_last.
    """
    return _operator(x, weight, bias, padding, transposed)
