"""Checks of the arguments that heads, targets, windows and losses of object masks share."""

from __future__ import annotations

import math


def check_bins(function: str, R: int, K: int) -> None:
    """Raise unless 1 <= K <= R <= 255."""
    for name, value in (("R", R), ("K", K)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{function}: expected {name} an int, got {type(value).__name__}")
    if not 1 <= R <= 255:
        raise ValueError(f"{function}: expected R in 1..255, got {R}")
    if not 1 <= K <= R:
        raise ValueError(f"{function}: expected K in 1..R = {R}, got {K}")


def check_grid(function: str, size: int, halo: int = 0) -> None:
    """Raise unless size >= 1 cells a side and halo >= 0 cells around them."""
    for name, value, least in (("size", size, 1), ("halo", halo, 0)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{function}: expected {name} an int, got {type(value).__name__}")
        if value < least:
            raise ValueError(f"{function}: expected {name} of at least {least}, got {value}")


def check_weight(function: str, name: str, value: float) -> None:
    """Raise unless the weight of a loss is a finite number of at least 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{function}: expected {name} a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{function}: expected {name} finite and of at least 0, got {value}")
