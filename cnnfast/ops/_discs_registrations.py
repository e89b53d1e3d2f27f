"""Shapes, gradients and vmap rules of the disc operators. b = bins (N, K, H, W), w = weight, T(rho) the discs.

A sum over discs is linear and its own adjoint: gradients of every order are sums over discs again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cnnfast import _extension  # noqa: F401  (loads the operators)
from cnnfast.arguments.checks import accumulation_dtype
from cnnfast.arguments.discs import uncertainty
from cnnfast.ops._vmap import mapped_first

disc_sum = torch.ops.cnnfast.disc_sum.default
disc_sum_backward = torch.ops.cnnfast._disc_sum_backward.default
disc_max = torch.ops.cnnfast.disc_max.default
disc_union = torch.ops.cnnfast.disc_union.default

_Gradients = tuple[Tensor | None, ...]


def _result_size(bins: Tensor, pad: int) -> tuple[int, int, int, int]:
    return bins.shape[0], 1, bins.shape[2] + 2 * pad, bins.shape[3] + 2 * pad


@torch.library.register_fake("cnnfast::disc_sum")
def _(bins: Tensor, radii: list[int], weight: Tensor | None, pad: int, noisy_or: bool) -> Tensor:
    return bins.new_empty(_result_size(bins, pad), dtype=accumulation_dtype(bins.dtype))


@torch.library.register_fake("cnnfast::_disc_sum_backward")
def _(
    grad: Tensor,
    bins: Tensor,
    radii: list[int],
    weight: Tensor | None,
    pad: int,
    noisy_or: bool,
    bins_gradient: bool,
    weight_gradient: bool,
) -> tuple[Tensor, Tensor]:
    return bins.new_empty(bins.shape if bins_gradient else (0,)), grad.new_empty(len(radii) if weight_gradient else 0)


@torch.library.register_fake("cnnfast::disc_max")
def _(bins: Tensor, radii: list[int], pad: int) -> tuple[Tensor, Tensor]:
    size = _result_size(bins, pad)
    return bins.new_empty(size), bins.new_empty(size, dtype=torch.int64)


@torch.library.register_fake("cnnfast::disc_union")
def _(labels: Tensor, radii: list[int], pad: int) -> Tensor:
    images, height, width = labels.shape
    return labels.new_empty((images, height + 2 * pad, width + 2 * pad), dtype=torch.bool)


def _accumulate(bins: Tensor) -> Tensor:
    return bins.to(accumulation_dtype(bins.dtype))


def _complement(bins: Tensor) -> Tensor:
    """1 - b with b clamped as in the forward pass; gradients pass the clamp unchanged."""
    limit = 1 - uncertainty(bins.dtype)
    bins = _accumulate(bins)
    return 1 - torch.where(limit < bins, limit + (bins - bins.detach()), bins)


def _sum_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    bins, ctx.radii, weight, ctx.pad, ctx.noisy_or = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(bins, weight)


def _sum_formula(ctx: Any, grad: Tensor | None) -> _Gradients:
    if grad is None:
        return (None,) * 5
    bins, weight = ctx.saved_tensors
    needs_bins, needs_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
    grad_bins, grad_weight = disc_sum_backward(
        grad, bins, ctx.radii, weight, ctx.pad, ctx.noisy_or, needs_bins, needs_weight
    )
    return grad_bins if needs_bins else None, None, grad_weight if needs_weight else None, None, None


def _sum_backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, bins, ctx.radii, weight, ctx.pad, ctx.noisy_or, ctx.bins_gradient, ctx.weight_gradient = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(grad, bins, weight)


def _sum_backward_formula(ctx: Any, v_bins: Tensor | None, v_weight: Tensor | None) -> _Gradients:
    """With S_n(g) the sum of g over T(rho_n): the results were w_n S_n(g) / (1 - b_n) and the sum of b_n S_n(g)."""
    grad, bins, weight = ctx.saved_tensors
    v_bins, v_weight = v_bins if ctx.bins_gradient else None, v_weight if ctx.weight_gradient else None
    if v_bins is None and v_weight is None:
        return (None,) * 8
    needs_grad, needs_bins, needs_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[3]
    parts_grad: list[Tensor] = []
    parts_bins: list[Tensor] = []
    grad_weight = None
    if v_bins is not None:
        if needs_grad:
            direction = v_bins / _complement(bins) if ctx.noisy_or else v_bins
            parts_grad.append(disc_sum(direction, ctx.radii, weight, ctx.pad, False))
        if needs_bins and ctx.noisy_or:
            first, _ = disc_sum_backward(grad, bins, ctx.radii, weight, ctx.pad, True, True, False)
            parts_bins.append(v_bins * first / _complement(bins))
        if needs_weight:
            _, grad_weight = disc_sum_backward(grad, v_bins, ctx.radii, None, ctx.pad, False, False, True)
    if v_weight is not None:
        if needs_grad:
            parts_grad.append(disc_sum(bins, ctx.radii, v_weight, ctx.pad, False))
        if needs_bins:
            parts_bins.append(disc_sum_backward(grad, bins, ctx.radii, v_weight, ctx.pad, False, True, False)[0])
    grad_grad = _total(parts_grad)
    grad_bins = _total(parts_bins)
    if grad_bins is not None:
        grad_bins = grad_bins.to(bins.dtype)
    return grad_grad, grad_bins, None, grad_weight, None, None, None, None


def _total(parts: list[Tensor]) -> Tensor | None:
    return sum(parts[1:], parts[0]) if parts else None


def _max_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    bins, ctx.radii, ctx.pad = inputs
    ctx.shape, ctx.dtype = bins.shape, bins.dtype
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _max_formula(ctx: Any, grad: Tensor | None, _: None) -> _Gradients:
    """The gradient of a maximum goes to the element that was the maximum."""
    if grad is None:
        return None, None, None
    (found,) = ctx.saved_tensors
    images, kinds, height, width = ctx.shape
    size = math.prod(found.shape[1:])
    found, grad = found.reshape(images, size), _accumulate(grad).reshape(images, size)  # flatten has no batching rule
    if size == 0 or kinds * height * width == 0:
        return grad.new_zeros(ctx.shape, dtype=ctx.dtype), None, None
    zeros = grad.new_zeros((images, kinds * height * width))
    spread = zeros.scatter_add(1, found.clamp(min=0), torch.where(found < 0, 0, grad))
    return spread.view(ctx.shape).to(ctx.dtype), None, None


def _unfold(info: Any, result: Tensor) -> Tensor:
    return result.unflatten(0, (info.batch_size, result.shape[0] // info.batch_size))


def _sum_rule(
    info: Any,
    in_dims: tuple[int | None, ...],
    bins: Tensor,
    radii: list[int],
    weight: Tensor | None,
    pad: int,
    noisy_or: bool,
) -> tuple[Tensor, int]:
    bins = mapped_first(bins, in_dims[0], info.batch_size)
    if weight is not None and in_dims[2] is not None:
        bins, weight = _accumulate(bins) * weight.movedim(in_dims[2], 0)[:, None, :, None, None], None
    return _unfold(info, disc_sum(bins.flatten(0, 1), radii, weight, pad, noisy_or)), 0


def _sum_backward_rule(
    info: Any,
    in_dims: tuple[int | None, ...],
    grad: Tensor,
    bins: Tensor,
    radii: list[int],
    weight: Tensor | None,
    pad: int,
    noisy_or: bool,
    bins_gradient: bool,
    weight_gradient: bool,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    grad, bins = mapped_first(grad, in_dims[0], info.batch_size), mapped_first(bins, in_dims[1], info.batch_size)
    empty = bins.new_empty((info.batch_size, 0))
    exact = _accumulate(bins)  # the sums themselves, not rounded to the dtype of the bins
    sums = _unfold(
        info, disc_sum_backward(grad.flatten(0, 1), exact.flatten(0, 1), radii, None, pad, False, True, False)[0]
    )
    grad_bins, grad_weight = empty, empty.to(grad.dtype)
    if bins_gradient:
        factors = None if weight is None else mapped_first(weight, in_dims[3], info.batch_size)
        scaled = sums if factors is None else sums * factors[:, None, :, None, None]
        grad_bins = (scaled / _complement(bins) if noisy_or else scaled).to(bins.dtype)
    if weight_gradient:
        grad_weight = (exact * sums).sum((1, 3, 4))
    return (grad_bins, grad_weight), (0, 0)


def _max_rule(
    info: Any, in_dims: tuple[int | None, ...], bins: Tensor, radii: list[int], pad: int
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    largest, found = disc_max(mapped_first(bins, in_dims[0], info.batch_size).flatten(0, 1), radii, pad)
    return (_unfold(info, largest), _unfold(info, found)), (0, 0)


def _union_rule(
    info: Any, in_dims: tuple[int | None, ...], labels: Tensor, radii: list[int], pad: int
) -> tuple[Tensor, int]:
    return _unfold(info, disc_union(mapped_first(labels, in_dims[0], info.batch_size).flatten(0, 1), radii, pad)), 0


for _operator, _context, _formula, _rule in (
    (disc_sum, _sum_setup, _sum_formula, _sum_rule),
    (disc_sum_backward, _sum_backward_setup, _sum_backward_formula, _sum_backward_rule),
    (disc_max, _max_setup, _max_formula, _max_rule),
):
    torch.library.register_autograd(_operator, _formula, setup_context=_context)
    torch.library.register_vmap(_operator, _rule)
torch.library.register_vmap(disc_union, _union_rule)
