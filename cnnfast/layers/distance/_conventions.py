"""Conventions of where distances begin, and the discs that restore a mask from them."""

from __future__ import annotations

from typing import NamedTuple

from cnnfast.arguments import distance as arguments
from cnnfast.arguments.checks import check_word
from cnnfast.ops import bin_radii

CONVENTIONS = ("exact", "inner_boundary")


class Bins(NamedTuple):
    """Bins of a distance transform: R and K as Python's integers, and the radius of the disc of every bin."""

    R: int
    K: int
    radii: tuple[int, ...]


def checked_bins(function: str, R: int, K: int, convention: str) -> Bins:
    """The bins that R, K and a convention mean.

    "exact" counts distances from the background: D - 1 for the smallest distance D of a bin. "inner_boundary" counts
    them from the object's outermost layer of pixels, which is at distance 0: D itself.

    Raises:
        TypeError: R or K is not a whole number.
        ValueError: R or K is out of range, or the convention is unknown.
    """
    R = arguments.whole_radius(function, R)
    K = arguments.bin_count(function, K, R)
    check_word(function, "convention", convention, CONVENTIONS)
    first = 1 if convention == "inner_boundary" else 0
    return Bins(R, K, tuple(radius + first for radius in bin_radii(R, K)))
