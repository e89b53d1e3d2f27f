"""Shapes, gradients and vmap rules of the Gram operators. F = x (N, C, M), w = weight (pixel weights), Z the divisor.

The formulas hold for matrices that are not symmetric. A gradient of the pixel weights is formed by PyTorch's own
functions; centering with a gradient of the weights does not reach the operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cnnfast import _extension  # noqa: F401  (loads the operators)
from cnnfast.arguments.gram import CHANNELS_AND_POSITIONS, CONSTANT, POSITIONS, accumulation_dtype
from cnnfast.ops._vmap import mapped_first

gram = torch.ops.cnnfast.gram.default
gram_backward = torch.ops.cnnfast._gram_backward.default
cross_gram = torch.ops.cnnfast.cross_gram.default
cross_gram_backward = torch.ops.cnnfast._cross_gram_backward.default
gram_mse = torch.ops.cnnfast.gram_mse.default
gram_mse_backward = torch.ops.cnnfast._gram_mse_backward.default

_Division = tuple[int, float, bool]
"""The arguments (normalize, divisor, centered) that all operators end with."""
_Gradients = tuple[Tensor | None, ...]


def _regions(weight: Tensor | None) -> int:
    return 1 if weight is None else weight.shape[1]


def _new_matrices(x: Tensor, weight: Tensor | None, rows: int, columns: int) -> Tensor:
    return x.new_empty((x.shape[0], _regions(weight), rows, columns), dtype=accumulation_dtype(x.dtype))


def _new_features(x: Tensor, channels: int) -> Tensor:
    """An empty (N, channels, M) in the layout that the kernels choose: channels_last where x is."""
    images, own_channels, pixels = x.shape
    if own_channels > 1 and x.stride(1) == 1 and x.stride(2) > 1:
        return x.new_empty((images, pixels, channels)).transpose(1, 2)
    return x.new_empty((images, channels, pixels))


@torch.library.register_fake("cnnfast::gram")
def _(x: Tensor, weight: Tensor | None, *_: float) -> Tensor:
    return _new_matrices(x, weight, x.shape[1], x.shape[1])


@torch.library.register_fake("cnnfast::_gram_backward")
def _(grad: Tensor, x: Tensor, weight: Tensor | None, *_: float) -> Tensor:
    return _new_features(x, x.shape[1])


@torch.library.register_fake("cnnfast::cross_gram")
def _(x: Tensor, y: Tensor, weight: Tensor | None, *_: float) -> Tensor:
    return _new_matrices(x, weight, x.shape[1], y.shape[1])


@torch.library.register_fake("cnnfast::_cross_gram_backward")
def _(grad: Tensor, y: Tensor, weight: Tensor | None, *_: float) -> Tensor:
    return _new_features(y, grad.shape[2])


@torch.library.register_fake("cnnfast::gram_mse")
def _(x: Tensor, target: Tensor, weight: Tensor | None, *_: float) -> tuple[Tensor, Tensor]:
    matrices = _new_matrices(x, weight, x.shape[1], x.shape[1])
    return matrices.new_empty(matrices.shape[:2]), matrices


@torch.library.register_fake("cnnfast::_gram_mse_backward")
def _(grad: Tensor, difference: Tensor, x: Tensor, target: Tensor, weight: Tensor | None, *_: float) -> Tensor:
    return _new_features(x, x.shape[1])


def _symmetric(matrices: Tensor) -> Tensor:
    return (matrices + matrices.mT) / 2


def _products(x: Tensor, y: Tensor, weight: Tensor | None, division: _Division) -> Tensor:
    """sum_k w_k x_ik y_jk / Z for x and y with the same number of channels."""
    normalize, divisor, centered = division
    if normalize == CHANNELS_AND_POSITIONS:
        return cross_gram(x, y, weight, POSITIONS, divisor, centered) / max(x.shape[1], 1)
    return cross_gram(x, y, weight, normalize, divisor, centered)


def _form(left: Tensor, matrices: Tensor, right: Tensor) -> Tensor:
    """left_k^T A_nr right_k for every position k: (N, R, M)."""
    left, right = left.to(matrices.dtype), right.to(matrices.dtype)
    return torch.stack([(left * (region @ right)).sum(1) for region in matrices.unbind(1)], 1)


def _weight_gradient(form: Tensor, weight: Tensor, division: _Division, channels: int) -> Tensor:
    """The gradient of <A, sum_k w_k x_k y_k^T / Z> with respect to w, where form_k = x_k^T A y_k.

    Z = divisor: form_k / Z. Z = W or C W with W = sum_k w_k: (form_k - sum_l w_l form_l / W) / Z, and 0 where W is 0.
    """
    normalize, divisor, _ = division
    if normalize == CONSTANT:
        gradient = form / divisor
    else:
        total = weight.sum(-1, keepdim=True)
        inverse = torch.where(total == 0, 0, 1 / torch.where(total == 0, 1, total))
        gradient = (form - (weight * form).sum(-1, keepdim=True) * inverse) * inverse
        if normalize == CHANNELS_AND_POSITIONS:
            gradient = gradient / max(channels, 1)
    return gradient.sum_to_size(weight.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, normalize, divisor, centered = inputs
    ctx.division = (normalize, divisor, centered)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors)


def _gram_formula(ctx: Any, grad: Tensor | None) -> _Gradients:
    if grad is None:
        return (None,) * 5
    x, weight = ctx.saved_tensors
    grad_x = gram_backward(grad, x, weight, *ctx.division) if ctx.needs_input_grad[0] else None
    grad_weight = None
    if ctx.needs_input_grad[1]:
        grad_weight = _weight_gradient(_form(x, grad, x), weight, ctx.division, x.shape[1])
    return grad_x, grad_weight, None, None, None


def _gram_backward_formula(ctx: Any, v: Tensor | None) -> _Gradients:
    if v is None:
        return (None,) * 6
    grad, x, weight = ctx.saved_tensors
    needs_grad, needs_x, needs_weight = ctx.needs_input_grad[:3]
    grad_grad = grad_x = grad_weight = None
    if needs_grad:
        products = _products(v, x, weight, ctx.division)
        grad_grad = products + products.mT
    if needs_x:
        grad_x = gram_backward(grad, v, weight, *ctx.division)
    if needs_weight:
        grad_weight = _weight_gradient(_form(v, grad + grad.mT, x), weight, ctx.division, x.shape[1])
    return grad_grad, grad_x, grad_weight, None, None, None


def _cross_gram_formula(ctx: Any, grad: Tensor | None) -> _Gradients:
    if grad is None:
        return (None,) * 6
    x, y, weight = ctx.saved_tensors
    needs_x, needs_y, needs_weight = ctx.needs_input_grad[:3]
    grad_x = cross_gram_backward(grad, y, weight, *ctx.division) if needs_x else None
    grad_y = cross_gram_backward(grad.mT, x, weight, *ctx.division) if needs_y else None
    grad_weight = None
    if needs_weight:
        grad_weight = _weight_gradient(_form(x, grad, y), weight, ctx.division, x.shape[1])
    return grad_x, grad_y, grad_weight, None, None, None


def _cross_gram_backward_formula(ctx: Any, v: Tensor | None) -> _Gradients:
    if v is None:
        return (None,) * 6
    grad, y, weight = ctx.saved_tensors
    needs_grad, needs_y, needs_weight = ctx.needs_input_grad[:3]
    grad_grad = cross_gram(v, y, weight, *ctx.division) if needs_grad else None
    grad_y = cross_gram_backward(grad.mT, v, weight, *ctx.division) if needs_y else None
    grad_weight = None
    if needs_weight:
        grad_weight = _weight_gradient(_form(v, grad, y), weight, ctx.division, v.shape[1])
    return grad_grad, grad_y, grad_weight, None, None, None


def _difference(x: Tensor, target: Tensor, weight: Tensor | None, division: _Division, saved: Tensor) -> Tensor:
    """(D + D^T) / 2 of the loss: as saved, or as a function of x and target where a higher derivative is wanted."""
    if not torch.is_grad_enabled():
        return saved
    return gram(x, weight, *division) - _symmetric(target)


def _gram_mse_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _setup(ctx, (*inputs[:3], output[1], *inputs[3:]), output)
    ctx.mark_non_differentiable(output[1])


def _gram_mse_formula(ctx: Any, grad: Tensor | None, _: None) -> _Gradients:
    if grad is None:
        return (None,) * 6
    x, target, weight, saved = ctx.saved_tensors
    needs_x, needs_target, needs_weight = ctx.needs_input_grad[:3]
    grad_x = grad_target = grad_weight = None
    if needs_x:
        grad_x = gram_mse_backward(grad, saved, x, target, weight, *ctx.division)
    if needs_target or needs_weight:
        difference, gamma = _difference(x, target, weight, ctx.division, saved), grad[..., None, None]
        if needs_target:  # D itself: the antisymmetric part of the target is not in the saved matrix
            grad_target = (-2 * gamma * (difference + (target.mT - target) / 2)).sum_to_size(target.shape)
        if needs_weight:
            grad_weight = _weight_gradient(_form(x, 2 * gamma * difference, x), weight, ctx.division, x.shape[1])
    return grad_x, grad_target, grad_weight, None, None, None


def _gram_mse_backward_formula(ctx: Any, v: Tensor | None) -> _Gradients:
    if v is None:
        return (None,) * 8
    grad, saved, x, target, weight = ctx.saved_tensors
    needs_grad, _, needs_x, needs_target, needs_weight = ctx.needs_input_grad[:5]
    gamma = grad[..., None, None]
    difference = _difference(x, target, weight, ctx.division, saved)
    products = _products(v, x, weight, ctx.division)
    both = products + products.mT
    grad_grad = grad_x = grad_target = grad_weight = None
    if needs_grad:
        grad_grad = 4 * (difference * products).sum((-2, -1))
    if needs_x:
        grad_x = gram_backward(2 * gamma * difference, v, weight, *ctx.division)
        grad_x = grad_x + gram_backward(2 * gamma * both, x, weight, *ctx.division)
    if needs_target:
        grad_target = (-2 * gamma * both).sum_to_size(target.shape)
    if needs_weight:
        form = _form(v, 4 * gamma * difference, x) + _form(x, 2 * gamma * both, x)
        grad_weight = _weight_gradient(form, weight, ctx.division, x.shape[1])
    return grad_grad, None, grad_x, grad_target, grad_weight, None, None, None


def _vmap_rule(operator: Callable[..., Any]) -> Callable[..., Any]:
    """Folds the mapped dimension into the batch; arguments that are shared are expanded."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        mapped = [
            mapped_first(tensor, dim, info.batch_size)
            for tensor, dim in zip(inputs, in_dims, strict=True)
            if isinstance(tensor, Tensor)
        ]
        images = max(tensor.shape[1] for tensor in mapped) if all(t.shape[1] for t in mapped) else 0
        folded = iter([tensor.expand(-1, images, *tensor.shape[2:]).flatten(0, 1) for tensor in mapped])
        result = operator(*[next(folded) if isinstance(value, Tensor) else value for value in inputs])
        if isinstance(result, Tensor):
            return result.unflatten(0, (info.batch_size, images)), 0
        return tuple(r.unflatten(0, (info.batch_size, images)) for r in result), (0,) * len(result)

    return rule


for _operator, _context, _formula in (
    (gram, _setup, _gram_formula),
    (gram_backward, _setup, _gram_backward_formula),
    (cross_gram, _setup, _cross_gram_formula),
    (cross_gram_backward, _setup, _cross_gram_backward_formula),
    (gram_mse, _gram_mse_setup, _gram_mse_formula),
    (gram_mse_backward, _setup, _gram_mse_backward_formula),
):
    torch.library.register_autograd(_operator, _formula, setup_context=_context)
    torch.library.register_vmap(_operator, _vmap_rule(_operator))
