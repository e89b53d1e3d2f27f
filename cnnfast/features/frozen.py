"""Convolution with frozen weights, which keeps nothing of its input for the gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnfast.ops import _convolution


class FrozenConv2d(nn.Conv2d):
    """A "same" convolution with stride 1 that computes in the dtype of its input, whatever the dtype of its weights.

    As long as its weights need no gradient it saves no activations: it is linear in its input, and its gradient is the
    transposed convolution, added up where the padding repeated pixels. `torch.nn.Conv2d` keeps its input, and with any
    padding but zeros a padded copy of it. With weights that need a gradient it computes as `torch.nn.Conv2d`.
    `padding_mode` may be changed at any time.

    On the CPU, in float32 and channels_last, 3x3 kernels between multiples of 32 channels go through a convolution by
    tiles with a quarter of the multiplications (Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
    2016), whose rounding errors are about twice those of the direct one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [B,C,H,W]."""
        weight = self.weight.to(input.dtype)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        if weight.requires_grad or (bias is not None and bias.requires_grad):
            return self._conv_forward(input, weight, bias)
        return _Convolution.apply(input, weight, bias, self.padding_mode)


class _Convolution(torch.autograd.Function):
    """W * pad(x) + b as a function of x alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, mode: str) -> Tensor:
        return _convolve(x, weight, bias, mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, weight, _, ctx.mode = inputs
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return _transpose(gradient, weight, ctx.mode), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        (weight,) = ctx.saved_tensors
        return _convolve(tangent, weight, None, ctx.mode)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, mode: str) -> Tensor:
    margins = [side // 2 for side in weight.shape[2:]]
    if mode != "zeros":
        padded = F.pad(x, [margins[1]] * 2 + [margins[0]] * 2, mode)
        if x.is_contiguous(memory_format=torch.channels_last):
            padded = padded.contiguous(memory_format=torch.channels_last)  # circular padding loses this format
        x, margins = padded, [0, 0]
    if _convolution.takes(x, weight):
        return _convolution.convolution3x3(x, weight, bias, margins[0])
    return F.conv2d(x, weight, bias, padding=margins)


def _transpose(gradient: Tensor, weight: Tensor, mode: str) -> Tensor:
    margins = [side // 2 for side in weight.shape[2:]]
    if mode == "zeros":
        return _convolve_transposed(gradient, weight, margins)
    padded = _convolve_transposed(gradient, weight, [0, 0])
    for dim, margin in zip((-1, -2), reversed(margins), strict=True):
        padded = _fold(padded, dim, margin, mode)
    # A dense copy in the same memory format, on which pooling is an order of magnitude faster.
    return padded.clone()


def _convolve_transposed(gradient: Tensor, weight: Tensor, padding: list[int]) -> Tensor:
    if _convolution.takes(gradient, weight):
        return _convolution.convolution3x3(gradient, weight, None, 2 - padding[0], transposed=True)
    return F.conv_transpose2d(gradient, weight, padding=padding)


def _fold(padded: Tensor, dim: int, margin: int, mode: str) -> Tensor:
    """Transpose of padding along one dimension: adds each repeated slice in place to its source, then cuts it off."""
    size = padded.shape[dim] - 2 * margin
    for i in range(1, margin + 1):
        if mode == "reflect":
            sources = (i, size - 1 - i)
        elif mode == "replicate":
            sources = (0, size - 1)
        else:
            sources = (size - i, i - 1)
        for repeated, source in zip((margin - i, margin + size - 1 + i), sources, strict=True):
            padded.select(dim, margin + source).add_(padded.select(dim, repeated))
    return padded.narrow(dim, margin, size)
