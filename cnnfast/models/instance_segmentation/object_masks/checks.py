"""Checks of the arguments that heads, targets, windows and losses of object masks share."""

from __future__ import annotations

from cnnfast.arguments.checks import whole_number
from cnnfast.arguments.distance import bin_count, whole_radius


def check_bins(function: str, R: int, K: int) -> None:
    """Raise unless 1 <= K <= R <= 255, both integers."""
    bin_count(function, K, whole_radius(function, R))


def check_grid(function: str, size: int, halo: int = 0) -> None:
    """Raise unless size >= 1 cells a side and halo >= 0 cells around them."""
    for name, value, least in (("size", size, 1), ("halo", halo, 0)):
        if whole_number(value) is None:
            raise TypeError(f"{function}: expected {name} an int, got {type(value).__name__}")
        if value < least:
            raise ValueError(f"{function}: expected {name} of at least {least}, got {value}")
