"""Limits of what is read: the number of pixels and the range of values."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.images.errors import ImageError

MAX_PIXELS = 1_000_000_000
"""Largest picture that is read, in px. A small file can unfold to more than any memory (a decompression bomb)."""


def check_range(values: Tensor, what: str, unit: int = 1) -> Tensor:
    """Values of 0..unit divided by the unit, in place; anything outside, and NaN, is an `ImageError`."""
    low, high = (float(v) for v in torch.aminmax(values))
    if not (low >= 0 and high <= unit):
        raise ImageError(f"load_image: expected {what} values of 0..{unit}, got {low:g} to {high:g}")
    return values.div_(unit)
