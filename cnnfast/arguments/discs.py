"""Checks of the arguments of the disc functions, and the steps after a sum over discs.

The operators and their plain PyTorch twins accept the same arguments and finish in the same way, so both call these
functions. The one check that reads values is skipped under ``torch.compile`` and transforms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cnnfast.arguments.checks import (
    accumulation_dtype,
    check_device,
    check_floating,
    check_tensor,
    check_word,
    finite_number,
    has_values,
    whole_number,
)
from cnnfast.arguments.distance import bin_count, whole_radius

MAX_RADIUS = 32767
UNIONS = ("sum", "noisy_or", "max")
_MOST_CERTAIN = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}


def bin_radii(R: int, K: int) -> tuple[int, ...]:
    r"""Radii of the discs of K distance bins that end at R: the union of the discs is the mask the bins were made of.

    .. math::
        \rho_n = \lfloor (n - 1) R / K \rfloor, \qquad n = 1..K

    The smallest distance D in bin n = ceil(D K / R) is rho_n + 1, and a closed disc of radius D - 1 is the largest one
    around a pixel at distance D that does not touch the background.

    Args:
        R: distance at which the bins end, 1 to 255, as in `mask_to_bins`.
        K: number of bins, 1 to R.

    Returns:
        K radii, rising from 0: the ``radii`` of `disc_sum`, `disc_union` and `inverse_distance_transform`.

    Raises:
        TypeError: R or K is not a whole number.
        ValueError: R or K is out of range.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.ops import bin_radii, disc_union, mask_to_bins
        >>> bin_radii(R=9, K=5)
        (0, 1, 3, 5, 7)
        >>> mask = torch.rand(1, 40, 40) < 0.8
        >>> torch.equal(disc_union(mask_to_bins(mask, 9, 5), bin_radii(9, 5), pad=0), mask)
        True
    """
    R = whole_radius("bin_radii", R)
    K = bin_count("bin_radii", K, R)
    return tuple(n * R // K for n in range(K))


def half_widths(radius: int) -> list[int]:
    """Half width isqrt(radius^2 - dy^2) of a disc's row dy, for dy = -radius..radius."""
    return [math.isqrt(radius * radius - dy * dy) for dy in range(-radius, radius + 1)]


def uncertainty(dtype: torch.dtype) -> float:
    """Lower limit of 1 - p where its logarithm is taken: 1e-12 in float64, 1e-6 in float32, 1e-3 in half precision."""
    return _MOST_CERTAIN[dtype]


def disc_radii(function: str, radii: Sequence[int]) -> tuple[int, ...]:
    """The radii as a tuple.

    Raises:
        TypeError: radii is no sequence of integers.
        ValueError: there is none, or one is negative or above 32767.
    """
    if isinstance(radii, np.ndarray):
        radii = radii.tolist()
    if isinstance(radii, (str, Tensor)) or not isinstance(radii, Sequence):
        raise TypeError(f"{function}: expected radii a sequence of integers, got {type(radii).__name__}")
    numbers = []
    for given in radii:
        radius = whole_number(given)
        if radius is None:
            raise TypeError(f"{function}: expected radii a sequence of integers, got {given!r} in it")
        if not 0 <= radius <= MAX_RADIUS:
            raise ValueError(f"{function}: expected radii from 0 to {MAX_RADIUS}, got {radius}")
        numbers.append(radius)
    if len(numbers) == 0:
        raise ValueError(f"{function}: expected at least one radius, got none")
    return tuple(numbers)


def check_bins(function: str, B: Tensor, radii: Sequence[int]) -> None:
    """Raise unless B is [N,K,H,W] of a supported floating dtype with one bin a radius.

    Raises:
        TypeError: B is not a dense tensor of a supported floating dtype.
        ValueError: it has not four dimensions, or not as many bins as there are radii.
    """
    check_floating(function, B, "B")
    if B.dim() != 4:
        raise ValueError(f"{function}: expected B of shape [N,K,H,W], got {list(B.shape)}")
    if B.shape[1] != len(radii):
        raise ValueError(f"{function}: expected B with {len(radii)} bins like radii, got {list(B.shape)}")


def disc_weight(function: str, weight: Tensor | None, B: Tensor) -> Tensor | None:
    """The weight [K] of every bin in the accumulation dtype of B.

    Raises:
        TypeError: weight is not a dense tensor of a supported floating dtype.
        ValueError: its shape is not [K], or it is on another device.
    """
    if weight is None:
        return None
    check_floating(function, weight, "weight")
    check_device(function, weight, B, "weight", "B")
    if weight.dim() != 1 or weight.shape[0] != B.shape[1]:
        raise ValueError(f"{function}: expected weight of shape [K] for B {list(B.shape)}, got {list(weight.shape)}")
    return weight.to(accumulation_dtype(B.dtype))


def disc_bias(function: str, bias: float | Tensor | None, B: Tensor) -> float | Tensor:
    """The bias, 0 for None: a finite float, or a tensor of shape [] in the accumulation dtype of B.

    A tensor may also have the shape [1], which that of torch's ConvTranspose2d with one channel has.

    Raises:
        TypeError: bias is neither a number nor a dense floating tensor.
        ValueError: the number is not finite, the tensor has another shape or is on another device.
    """
    if bias is None:
        return 0.0
    if not isinstance(bias, Tensor):
        return finite_number(function, "bias", bias, "[]")
    check_floating(function, bias, "bias")
    check_device(function, bias, B, "bias", "B")
    if bias.dim() == 1 and bias.shape[0] == 1:
        bias = bias[0]
    if bias.dim() != 0:
        raise ValueError(f"{function}: expected bias of shape [] or [1], got {list(bias.shape)}")
    return bias.to(accumulation_dtype(B.dtype))


def disc_pad(function: str, pad: int | None, radii: Sequence[int]) -> int:
    """The rows and columns added on every side: pad, or the largest radius for None.

    Raises:
        TypeError: pad is no integer.
        ValueError: pad is negative or above 32767.
    """
    if pad is None:
        return max(radii)
    rows = whole_number(pad)
    if rows is None:
        raise TypeError(f"{function}: expected pad an integer, got {pad!r}")
    if not 0 <= rows <= MAX_RADIUS:
        raise ValueError(f"{function}: expected pad from 0 to {MAX_RADIUS}, got {pad}")
    return rows


def check_union(function: str, union: str, weight: Tensor | None, bias: float | Tensor | None) -> None:
    """Raise ValueError for an unknown union, and for a weight or bias where the union takes none."""
    check_word(function, "union", union, UNIONS)
    if union == "sum":
        return
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            raise ValueError(f'{function}: expected {name} None with union "{union}", got {type(value).__name__}')


class UnionArguments(NamedTuple):
    """Checked arguments of the soft unions of discs, defaults filled in."""

    B: Tensor
    radii: tuple[int, ...]
    weight: Tensor | None
    bias: float | Tensor
    pad: int
    least: float
    """Lower limit of 1 - p for probabilities p, see `uncertainty`."""


def union_arguments(
    function: str,
    B: Tensor,
    radii: Sequence[int],
    weight: Tensor | None,
    bias: float | Tensor | None,
    pad: int | None,
    union: str,
    return_logits: bool,
) -> UnionArguments:
    """The arguments of `inverse_distance_transform`, with the errors of the functions above."""
    radii = disc_radii(function, radii)
    check_bins(function, B, radii)
    check_union(function, union, weight, bias)
    weight = disc_weight(function, weight, B)
    offset = disc_bias(function, bias, B)
    pad = disc_pad(function, pad, radii)
    if return_logits:
        B = logits_under_autocast(B)
    return UnionArguments(B, radii, weight, offset, pad, uncertainty(B.dtype))


def check_labels(function: str, labels: Tensor, radii: Sequence[int]) -> None:
    """Raise unless labels is [N,H,W] uint8 with values up to the number of radii.

    Raises:
        TypeError: labels is not a dense uint8 tensor.
        ValueError: it has not three dimensions, holds a label without a radius, or there are more than 255 radii.
    """
    check_tensor(function, labels, "labels")
    if labels.dtype != torch.uint8:
        raise TypeError(f"{function}: expected labels of dtype uint8, got {labels.dtype}")
    if labels.dim() != 3:
        raise ValueError(f"{function}: expected labels of shape [N,H,W], got {list(labels.shape)}")
    if len(radii) > 255:
        raise ValueError(f"{function}: expected at most 255 radii, got {len(radii)}")
    if len(radii) < 255 and has_values(labels) and labels.numel() and (largest := labels.amax().item()) > len(radii):
        raise ValueError(f"{function}: expected labels from 0 to {len(radii)}, got {largest}")


def logits_under_autocast(B: Tensor) -> Tensor:
    """B in its accumulation dtype under autocast, where a loss expects float32 logits."""
    kind = B.device.type
    active = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return B.to(accumulation_dtype(B.dtype)) if active else B


def rounded(result: Tensor, dtype: torch.dtype, is_logit: bool) -> Tensor:
    """The result in the dtype of B; logits that a half type cannot hold become its largest finite values.

    Gradients pass that limit unchanged: a loss must be able to move a logit that is far on the wrong side.
    """
    if is_logit and dtype in (torch.float16, torch.bfloat16):
        largest = torch.finfo(dtype).max
        limited = result.detach().clamp(-largest, largest)
        result = torch.where(result.abs() > largest, limited + (result - result.detach()).nan_to_num(), result)
    return result.to(dtype)


def noisy_or(evidence: Tensor, least: float, return_logits: bool) -> Tensor:
    """1 - exp(-evidence), or its logit log(exp(evidence) - 1) with the evidence clamped to at least `least`."""
    if not return_logits:
        return -torch.expm1(-evidence)
    evidence = evidence.clamp(min=least)
    return evidence + torch.log(-torch.expm1(-evidence))


def probability_logit(probability: Tensor, least: float) -> Tensor:
    """Logit of a probability clamped to [least, 1 - least]."""
    return torch.logit(probability.to(accumulation_dtype(probability.dtype)), eps=least)
