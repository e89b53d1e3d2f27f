"""Masks of COCO's segmentations: polygons and run lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnfast.detection.data.base import AnnotationError
from cnnfast.detection.run_length import coco_masks

_LARGEST_NUMBER = 1e15
# Of the outline of a polygon that leaves the picture, in px: 0.1 GB while it is rasterised.
_LONGEST_OUTLINE = 1e6


def decode_segmentation(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """The mask [H,W] uint8 of COCO's polygons or run lengths.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, ...], or a dict of size [H,W] and counts.
        height: H.
        width: W.
        where: file, picture and annotation, for messages.

    As for pycocotools, a polygon of fewer than three corners beside another one covers no pixel, and of an odd count
    of numbers the last one is ignored.

    Raises:
        AnnotationError: it is of no such form, or of another size.

    Example:
        >>> from cnnfast.detection.data.coco_segmentation import decode_segmentation
        >>> decode_segmentation({"size": [2, 2], "counts": [0, 1, 2, 1]}, 2, 2, "here")
        array([[1, 0],
               [0, 1]], dtype=uint8)
    """
    if isinstance(segmentation, Mapping):
        size = segmentation.get("size")
        if not isinstance(size, Sequence) or list(size) != [height, width]:
            raise AnnotationError(f"{where}: expected run lengths of size {[height, width]}, got {size!r}")
        return _from_runs(_runs(segmentation.get("counts"), where), height, width, where)
    if not isinstance(segmentation, list) or not segmentation:
        what = "an empty list" if segmentation == [] else type(segmentation).__name__
        raise AnnotationError(f"{where}: expected a segmentation of polygons or run lengths, got {what}")
    for polygon in segmentation:
        _check_polygon(polygon, height, width, where)
    # Fewer than three corners cover nothing, and a number without its partner is no corner.
    polygons = [polygon[: len(polygon) // 2 * 2] for polygon in segmentation if len(polygon) > 5]
    if not polygons:
        got = f"{max(map(len, segmentation))} numbers"
        raise AnnotationError(f"{where}: expected polygons of at least three pairs of numbers, got {got}")
    library = coco_masks("CocoInstances")
    return library.decode(library.merge(library.frPyObjects(polygons, height, width)))


def _check_polygon(polygon: Any, height: int, width: int, where: str) -> None:
    """Raise if corners lie so far outside the picture that rasterising, whose cost is the outline's, would not end."""
    if not isinstance(polygon, list):
        raise AnnotationError(f"{where}: expected polygons as lists of numbers, got {type(polygon).__name__}")
    outside = [
        value
        for axis, side in ((0, width), (1, height))
        for value in polygon[axis::2]
        if not is_number(value) or not -side <= value <= 2 * side
    ]
    if not outside:
        return
    worst = next((value for value in outside if not is_number(value)), outside[0])
    if not is_number(worst) or _outline(polygon) > _LONGEST_OUTLINE:
        raise AnnotationError(f"{where}: expected corners in a picture of {width}x{height} px, got {worst!r}")


def _outline(polygon: list[float]) -> float:
    """Length of a closed polygon, in px."""
    corners = list(zip(polygon[::2], polygon[1::2], strict=False))
    return sum(math.dist(corner, other) for corner, other in zip(corners, corners[1:] + corners[:1], strict=True))


def _runs(counts: Any, where: str) -> list[int]:
    """Lengths of runs of 0 and 1, alternating."""
    if isinstance(counts, list):
        if all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
            return counts
        raise AnnotationError(f"{where}: expected counts of whole numbers, got others")
    if not isinstance(counts, str):
        raise AnnotationError(f"{where}: expected counts as a list or a string, got {type(counts).__name__}")
    # A character holds five bits, the lowest first, and a sixth that is set if more characters follow; the fifth bit of
    # the last character is the sign. From the fourth on, a number is the difference to the one two places before.
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise AnnotationError(f"{where}: expected counts as COCO writes them, got {character!r} among them")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << shift - 4
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise AnnotationError(f"{where}: expected whole counts, got a string that breaks off")
    return runs


def _from_runs(runs: list[int], height: int, width: int, where: str) -> np.ndarray:
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        got = "negative ones" if min(runs, default=0) < 0 else f"{sum(runs)} px"
        raise AnnotationError(f"{where}: expected counts of {height * width} px together, got {got}")
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.repeat(values.astype(np.uint8), runs).reshape(width, height).T


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number of a size that can be computed with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER
