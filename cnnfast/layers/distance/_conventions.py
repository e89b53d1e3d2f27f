"""Conventions of where distances begin, and the discs that restore a mask from them."""

from __future__ import annotations

from cnnfast.arguments import distance as arguments
from cnnfast.arguments.checks import check_word
from cnnfast.ops import bin_radii

CONVENTIONS = ("exact", "inner_boundary")


def checked_radii(function: str, R: int, K: int, convention: str) -> tuple[int, ...]:
    """Radius of the disc of every bin.

    "exact" counts distances from the background: D - 1 for the smallest distance D of a bin. "inner_boundary" counts
    them from the object's outermost layer of pixels, which is at distance 0: D itself.

    Raises:
        TypeError: R or K is not a whole number.
        ValueError: R or K is out of range, or the convention is unknown.
    """
    arguments.bin_count(function, K, arguments.whole_radius(function, R))
    check_word(function, "convention", convention, CONVENTIONS)
    first = 1 if convention == "inner_boundary" else 0
    return tuple(radius + first for radius in bin_radii(int(R), K))
