"""Checks of the arguments of the distance transforms, and their conversion into the operators' form.

The operators and their plain PyTorch twins accept the same arguments, so both call these functions. Checks are plain
branches on shapes, dtypes and numbers, which ``torch.compile(fullgraph=True)`` turns into guards.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_flag, check_tensor, check_word, number, whole_number

BINS, DISTANCE, SQUARED, SIGNED = range(4)
EDGE, HALF, INNER = range(3)
LARGEST_BIN = 255
LARGEST_SQUARED_RADIUS = 46340
"""The largest R whose square fits into int32."""
ONE_HOT_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)

_OUTPUTS = {"bins": BINS, "distance": DISTANCE, "squared": SQUARED, "signed": SIGNED}
_ZEROS = {"edge": EDGE, "half": HALF, "inner": INNER}
_BORDERS = {"none": False, "background": True}
_SMALLEST_SPACING, _LARGEST_SPACING = 1e-12, 1e12
_INTEGERS = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)
_SIGNED_VIEWS = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


class Options(NamedTuple):
    """The options of `truncated_distance_transform` in the form of the operator's schema."""

    radius: float
    """R, or 0 for none."""
    labels: bool
    spacing_y: float
    spacing_x: float
    border: bool
    output: int
    zero: int


def planes(function: str, mask: Tensor) -> Tensor:
    """The mask [...,H,W] as [P,H,W], a view where its strides allow one; unsigned integers as signed ones.

    Only equality of values and equality with zero matter to the transforms, so that a sign makes no difference.

    Raises:
        TypeError: mask is not a dense tensor of bool or an integer dtype.
        ValueError: mask has fewer than two dimensions.
    """
    check_tensor(function, mask, "mask")
    if mask.is_floating_point():
        raise TypeError(f"{function}: expected mask of dtype bool or an integer, got {mask.dtype}: pass mask > 0.5")
    if mask.dtype != torch.bool and mask.dtype not in _INTEGERS:
        raise TypeError(f"{function}: expected mask of dtype bool or an integer, got {mask.dtype}")
    if mask.dim() < 2:
        raise ValueError(f"{function}: expected mask of shape [...,H,W], got {list(mask.shape)}")
    if mask.dtype in _SIGNED_VIEWS:
        mask = mask.view(_SIGNED_VIEWS[mask.dtype])
    return mask.unsqueeze(0) if mask.dim() == 2 else mask.flatten(0, -3)


def transform_options(
    function: str,
    mask: Tensor,
    R: float | None,
    labels: bool,
    spacing: tuple[float, float],
    border: str,
    output: str,
    zero: str,
) -> Options:
    """The options in the form of the operator's schema.

    Raises:
        TypeError: R or spacing is not of numbers.
        ValueError: an unknown word, or a number outside its range.
    """
    output_code = _code(function, "output", output, _OUTPUTS)
    spacing_y, spacing_x = _spacing(function, spacing)
    in_pixels = spacing_y == 1 and spacing_x == 1
    if output_code == BINS:
        radius = float(whole_radius(function, R))
    else:
        radius = _radius(function, R)
        if output_code == SQUARED and in_pixels and (radius > LARGEST_SQUARED_RADIUS or radius % 1 != 0):
            raise ValueError(
                f"{function}: expected R a whole number from 1 to {LARGEST_SQUARED_RADIUS} or None for squared "
                f"distances in pixels, got {R!r}"
            )
    zero_code = _code(function, "zero", zero, _ZEROS)
    is_border = border_code(function, border)
    return Options(radius, label_mode(function, mask, labels), spacing_y, spacing_x, is_border, output_code, zero_code)


def border_code(function: str, border: str) -> bool:
    """Whether a frame of background surrounds each plane.

    Raises:
        ValueError: border is not "none" or "background".
    """
    return _code(function, "border", border, _BORDERS) == 1


def label_mode(function: str, mask: Tensor, labels: bool) -> bool:
    """Whether foreground values are labels of different objects; a bool mask has a single label.

    Raises:
        TypeError: labels is not a bool.
    """
    check_flag(function, "labels", labels)
    return labels and mask.dtype != torch.bool


def whole_radius(function: str, R: float | None) -> int:
    """The R of distance bins, a whole number from 1 to 255.

    Raises:
        TypeError: R is not a number.
        ValueError: R is None, not whole or outside the range.
    """

    def expected() -> str:
        return f"{function}: expected R a whole number from 1 to {LARGEST_BIN} for bins, got {R!r}"

    if R is None:
        raise ValueError(expected())
    radius = number(R)
    if radius is None:
        raise TypeError(expected())
    if not 1 <= radius <= LARGEST_BIN or radius % 1 != 0:
        raise ValueError(expected())
    return int(radius)


def bin_count(function: str, K: int, R: int) -> int:
    """K, from 1 to R.

    Raises:
        TypeError: K is not an integer.
        ValueError: K is outside the range.
    """
    count = whole_number(K)
    if count is None:
        raise TypeError(f"{function}: expected K an int from 1 to R = {R}, got {K!r}")
    if not 1 <= count <= R:
        raise ValueError(f"{function}: expected K from 1 to R = {R}, got {K}")
    return count


def one_hot_code(function: str, one_hot: bool, dtype: torch.dtype | None) -> int:
    """0 for labels, else 1 + the position of the dtype (default float32) among `ONE_HOT_DTYPES`.

    Raises:
        TypeError: one_hot is not a bool, or dtype is not one of them.
        ValueError: a dtype is given without one_hot.
    """
    check_flag(function, "one_hot", one_hot)
    if dtype is None:
        return 1 + ONE_HOT_DTYPES.index(torch.float32) if one_hot else 0
    if dtype not in ONE_HOT_DTYPES:
        raise TypeError(f"{function}: expected dtype uint8, float16, bfloat16, float32 or float64, got {dtype!r}")
    if not one_hot:
        raise ValueError(f"{function}: expected dtype only with one_hot=True (labels are uint8), got {dtype}")
    return 1 + ONE_HOT_DTYPES.index(dtype)


def result_dtype(radius: float, spacing_y: float, spacing_x: float, output: int) -> torch.dtype:
    """Dtype of the transform's result."""
    if output == BINS:
        return torch.uint8
    if output != SQUARED or spacing_y != 1 or spacing_x != 1:
        return torch.float32
    return torch.int32 if radius else torch.int64


def _radius(function: str, R: float | None) -> float:
    """R as a float, 0 for None."""
    if R is None:
        return 0.0

    def expected() -> str:
        return f"{function}: expected R a finite number >= 1 or None, got {R!r}"

    radius = number(R)
    if radius is None:
        raise TypeError(expected())
    if not 1 <= radius < math.inf:
        raise ValueError(expected())
    return float(radius)


def _spacing(function: str, spacing: tuple[float, float]) -> tuple[float, float]:
    def expected() -> str:  # a function, because the symbolic numbers of a compiler cannot be formatted
        return f"{function}: expected spacing (sy, sx) of two numbers from 1e-12 to 1e12, got {spacing!r}"

    if not isinstance(spacing, (tuple, list)):
        raise TypeError(expected())
    if len(spacing) != 2:
        raise ValueError(expected())
    steps = []
    for given in spacing:
        step = number(given)
        if step is None:
            raise TypeError(expected())
        if not _SMALLEST_SPACING <= step <= _LARGEST_SPACING:
            raise ValueError(expected())
        steps.append(float(step))
    return steps[0], steps[1]


def _code(function: str, name: str, word: str, words: dict[str, int] | dict[str, bool]) -> int:
    check_word(function, name, word, tuple(words))
    return int(words[word])
