"""ReLU and 2x2 pooling in one pass, as an internal operator: float32 and bfloat16 on the CPU.

The backward pass needs to know which of the four values receive the gradient: four bits for every pooled value, stored
in a byte. PyTorch saves the input of the pooling and, for a maximum, an index of 8 bytes for every pooled value: 13 to
24 times the memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cnnfast import _extension  # noqa: F401  (loads the operators)
from cnnfast.ops._routing import takes_twin
from cnnfast.ops._vmap import mapped_first

_operator = torch.ops.cnnfast._relu_pool2x2.default
_backward = torch.ops.cnnfast._relu_pool2x2_backward.default

_CHANNEL_BLOCK = 64


@torch.library.register_fake("cnnfast::_relu_pool2x2")
def _(x: Tensor, average: bool) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2
    pooled = x.new_empty((batch, channels, height, width)).contiguous(memory_format=torch.channels_last)
    return pooled, x.new_empty((batch, height, width, channels), dtype=torch.uint8)


@torch.library.register_fake("cnnfast::_relu_pool2x2_backward")
def _(grad: Tensor, bits: Tensor, height: int, width: int, average: bool) -> Tensor:
    return grad.new_empty((*grad.shape[:2], height, width)).contiguous(memory_format=torch.channels_last)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.average = inputs
    ctx.size = x.shape[2:]
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])


def _formula(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, None]:
    return None if grad is None else _backward(grad, *ctx.saved_tensors, *ctx.size, ctx.average), None


def _backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, bits, _, _, ctx.average = inputs
    ctx.save_for_backward(bits)


def _backward_formula(ctx: Any, v: Tensor) -> tuple[Tensor, None, None, None, None]:
    """The transpose: for every pooled value the sum of v where its bits are set, divided by 4 for a mean."""
    (bits,) = ctx.saved_tensors
    quarters = [v[..., y : 2 * bits.shape[1] : 2, x : 2 * bits.shape[2] : 2] for y in (0, 1) for x in (0, 1)]
    named = [q * ((_in_order(bits) >> i) & 1).to(v.dtype) for i, q in enumerate(quarters)]
    total = torch.stack(named).sum(0)
    return total / 4 if ctx.average else total, None, None, None, None


def _in_order(bits: Tensor) -> Tensor:
    """Bits [N,C,H,W] from the kernels' layout [N,H,W,C], where byte 4 l + k of 64 belongs to channel 16 k + l."""
    return bits.unflatten(3, (-1, 16, 4)).transpose(-1, -2).flatten(3).movedim(3, 1)


torch.library.register_autograd("cnnfast::_relu_pool2x2", _formula, setup_context=_setup)
torch.library.register_autograd("cnnfast::_relu_pool2x2_backward", _backward_formula, setup_context=_backward_setup)


def _fold(x: Tensor, dim: int | None, size: int) -> Tensor:
    return mapped_first(x, dim, size).flatten(0, 1)


def _vmap_rule(info: Any, in_dims: tuple[int | None, ...], x: Tensor, average: bool) -> tuple[Any, tuple[int, int]]:
    results = _operator(_fold(x, in_dims[0], info.batch_size), average)
    return tuple(r.unflatten(0, (info.batch_size, -1)) for r in results), (0, 0)


def _backward_vmap_rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    grad, bits = (_fold(a, d, info.batch_size) for a, d in zip(arguments[:2], in_dims[:2], strict=True))
    return _backward(grad, bits, *arguments[2:]).unflatten(0, (info.batch_size, -1)), 0


torch.library.register_vmap("cnnfast::_relu_pool2x2", _vmap_rule)
torch.library.register_vmap("cnnfast::_relu_pool2x2_backward", _backward_vmap_rule)


def takes(x: Tensor) -> bool:
    """Whether the pooled ReLU of x [B,C,H,W] should be computed here."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.shape[1] % _CHANNEL_BLOCK == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not takes_twin("relu_pool2x2", x)
        and not torch.onnx.is_in_onnx_export()
    )


def relu_pool2x2(x: Tensor, *, average: bool) -> Tensor:
    """The largest of each 2x2 values of relu(x), or their mean, for an x [B,C,H,W] for which `takes` is true.

    The gradient of equal values goes to the first of them, and none to a value that is not positive, as in PyTorch.

    Returns:
        [B,C,H // 2,W // 2], channels_last.
    """
    return _operator(x, average)[0]
