"""Checks of the arguments of the Gram functions, and their conversion into the operators' form.

The operators and their plain PyTorch twins accept the same arguments, so both call these functions. Checks are plain
branches on shapes, dtypes and devices, which ``torch.compile(fullgraph=True)`` turns into guards (it refuses a message
of ``torch._check`` that mentions a tensor); the one check that reads values is skipped there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnfast.arguments.checks import (
    FLOATING,
    FLOATING_NAMES,
    accumulation_dtype,
    check_device,
    check_floating,
    check_tensor,
    check_word,
    finite_number,
    has_values,
    number,
)

CONSTANT, POSITIONS, CHANNELS_AND_POSITIONS = 0, 1, 2
_MODES = {"hw": POSITIONS, "chw": CHANNELS_AND_POSITIONS}
_SCALES = ("gatys", "mean", "sum")
_REDUCTIONS = ("mean", "sum", "none")


def flatten_features(function: str, x: Tensor, name: str = "x") -> Tensor:
    """Features [B,C,H,W] or [B,C,M] as [B,C,M], a view of x when its strides allow one.

    Raises:
        TypeError: x is not a dense tensor of a supported floating dtype.
        ValueError: x has not three or four dimensions.
    """
    check_floating(function, x, name)
    if x.dim() not in (3, 4):
        raise ValueError(f"{function}: expected {name} of shape [B,C,H,W] or [B,C,M], got {list(x.shape)}")
    return x.flatten(2)


def check_pair(function: str, x: Tensor, y: Tensor) -> None:
    """Raise unless x [B,C1,...] and y [B,C2,...] share batch, positions, dtype and device."""
    if x.dim() != y.dim() or x.shape[0] != y.shape[0] or x.shape[2:] != y.shape[2:]:
        raise ValueError(
            f"{function}: expected y with the batch size and the positions of x {list(x.shape)}, got {list(y.shape)}"
        )
    if x.dtype != y.dtype:
        raise TypeError(f"{function}: expected y of dtype {x.dtype} like x, got {y.dtype}")
    check_device(function, y, x, "y")


def check_pixel_weight(function: str, pixel_weight: Tensor) -> None:
    """Raise TypeError unless pixel weights are a dense tensor of a floating dtype or bool."""
    check_tensor(function, pixel_weight, "pixel_weight")
    if pixel_weight.dtype not in (*FLOATING, torch.bool):
        raise TypeError(
            f"{function}: expected pixel_weight of dtype {FLOATING_NAMES} or bool, got {pixel_weight.dtype}"
        )


def pixel_weights(function: str, pixel_weight: Tensor | None, x: Tensor) -> tuple[Tensor | None, bool]:
    """Pixel weights of x [B,C,*P] as [B or 1,R,M] in the accumulation dtype, and whether the result keeps R.

    P is (H,W) or (M,). Weights of shape [B,M], [1,M], [H,W] (shared by the batch), [B,1,*P] or [1,1,*P] are one
    region, whose axis the result drops; [B,R,*P] or [1,R,*P] with R > 1 are R regions. Boolean masks count as 0 and 1.

    Raises:
        TypeError: pixel_weight is neither a dense floating tensor nor a boolean mask.
        ValueError: its shape does not belong to x, it is on another device, or it holds a negative value.
    """
    if pixel_weight is None:
        return None, False
    check_pixel_weight(function, pixel_weight)
    check_device(function, pixel_weight, x, "pixel_weight")
    maps = _as_regions(pixel_weight, x)
    if maps is None:
        raise ValueError(
            f"{function}: expected pixel_weight of shape [B,M], [H,W] or [B,R,H,W] ([B,R,M] for features [B,C,M]) "
            f"for x {list(x.shape)}, got {list(pixel_weight.shape)}"
        )
    if has_values(pixel_weight) and pixel_weight.numel() and (lowest := pixel_weight.detach().amin().item()) < 0:
        raise ValueError(f"{function}: expected pixel_weight without negative values, got {lowest:g}")
    return maps.to(accumulation_dtype(x.dtype)).flatten(2), maps.shape[1] > 1


def normalization(function: str, normalize: str | float) -> tuple[int, float]:
    """The divisor of the Gram matrix as (mode, divisor).

    Mode CONSTANT divides by `divisor`, POSITIONS by the number of positions (with pixel weights: by their sum),
    CHANNELS_AND_POSITIONS by that number times the channels. `divisor` is 1 in the last two modes.

    Raises:
        ValueError: normalize is an unknown word, or a number that is not positive and finite.
        TypeError: normalize is neither a string nor a number.
    """
    expected = f'{function}: expected normalize "none", "hw", "chw" or a positive finite number, got {normalize!r}'
    if isinstance(normalize, str):
        if normalize == "none":
            return CONSTANT, 1.0
        if normalize not in _MODES:
            raise ValueError(expected)
        return _MODES[normalize], 1.0
    divisor = number(normalize)
    if divisor is None:
        raise TypeError(expected)
    if not 0 < divisor < math.inf:
        raise ValueError(expected)
    return CONSTANT, float(divisor)


def result_dtype(function: str, x: Tensor, out_dtype: torch.dtype | None) -> torch.dtype:
    """Dtype of a Gram matrix of x: `out_dtype` when given, else the accumulation dtype.

    Raises:
        TypeError: out_dtype is not a supported floating dtype.
    """
    if out_dtype is None:
        return accumulation_dtype(x.dtype)
    if out_dtype not in FLOATING:
        raise TypeError(f"{function}: expected out_dtype {FLOATING_NAMES}, got {out_dtype!r}")
    return out_dtype


def loss_target(function: str, target: Tensor, x: Tensor, regions: int | None) -> Tensor:
    """The wanted Gram matrices as [B or 1,R,C,C] in the accumulation dtype of x (R = 1 without a region axis).

    Args:
        function: name for messages.
        target: [C,C], [1,C,C] or [B,C,C]; with a region axis [R,C,C], [1,R,C,C] or [B,R,C,C].
        x: features [B,C,...].
        regions: R when the Gram matrices keep a region axis, else None.

    Raises:
        TypeError: target is not a dense tensor of a supported floating dtype.
        ValueError: its shape does not belong to x, or it is on another device.
    """
    check_floating(function, target, "target")
    check_device(function, target, x, "target")
    batch, channels = x.shape[0], x.shape[1]
    inner = (channels, channels) if regions is None else (regions, channels, channels)
    shared = tuple(target.shape) == inner
    batched = target.dim() == len(inner) + 1 and target.shape[0] in (1, batch) and tuple(target.shape[1:]) == inner
    if not (shared or batched):
        wanted = "[C,C], [1,C,C] or [B,C,C]" if regions is None else "[R,C,C] or [B,R,C,C]"
        counted = "" if regions is None else f" and {regions} regions"
        raise ValueError(
            f"{function}: expected target of shape {wanted} for x {list(x.shape)}{counted}, got {list(target.shape)}"
        )
    target = target.to(accumulation_dtype(x.dtype))
    if shared:
        target = target.unsqueeze(0)
    return target.unsqueeze(1) if regions is None else target


def loss_weight(function: str, weight: float | Tensor, x: Tensor) -> float | Tensor:
    """The factor of each sample's loss: a finite float, or a tensor of shape [] or [B] in the accumulation dtype of x.

    Raises:
        TypeError: weight is neither a number nor a dense floating tensor.
        ValueError: the number is not finite, the tensor has another shape or is on another device.
    """
    if not isinstance(weight, Tensor):
        return finite_number(function, "weight", weight, "[B]")
    check_floating(function, weight, "weight")
    check_device(function, weight, x, "weight")
    if not (weight.dim() == 0 or (weight.dim() == 1 and weight.shape[0] == x.shape[0])):
        raise ValueError(
            f"{function}: expected weight of shape [] or [B] for x {list(x.shape)}, got {list(weight.shape)}"
        )
    return weight.to(accumulation_dtype(x.dtype))


def loss_scale(function: str, scale: str, channels: int) -> float:
    """Factor of the sum of squares: 1/(4 C^2) for "gatys", 1/C^2 for "mean", 1 for "sum"; finite for C = 0.

    Raises:
        ValueError: scale is none of the three words.
    """
    check_word(function, "scale", scale, _SCALES)
    if scale == "sum":
        return 1.0
    entries = max(channels, 1) ** 2
    return 1.0 / (4 * entries) if scale == "gatys" else 1.0 / entries


def loss_reduction(function: str, reduction: str) -> str:
    """The reduction over the batch, returned as given.

    Raises:
        ValueError: reduction is not "mean", "sum" or "none".
    """
    check_word(function, "reduction", reduction, _REDUCTIONS)
    return reduction


def reduce_losses(losses: Tensor, reduction: str) -> Tensor:
    """Losses [B] to [B] ("none") or a scalar; the mean over an empty batch is 0."""
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / max(losses.shape[0], 1)


def _as_regions(pixel_weight: Tensor, x: Tensor) -> Tensor | None:
    """Pixel weights as a view [B or 1,R,*P], None where their shape does not belong to x."""
    batch, positions, shape = x.shape[0], tuple(x.shape[2:]), tuple(pixel_weight.shape)
    if len(shape) == len(positions) + 2:
        fits = shape[0] in (1, batch) and shape[1] > 0 and shape[2:] == positions
        return pixel_weight if fits else None
    if shape == positions and len(positions) == 2:
        return pixel_weight[None, None]
    if len(shape) == 2 and shape[0] in (1, batch) and shape[1] == math.prod(positions):
        return pixel_weight.unflatten(1, positions).unsqueeze(1)
    return None
