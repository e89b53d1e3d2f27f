"""Windows: boxes with a halo of cells around them, from the picture to the window and back.

A box (x0,y0,x1,y1) has continuous coordinates; pixel i covers [i,i+1). It is divided in S x S cells, and its window has
P more cells on every side: S + 2 P cells a side, in which a mask may leave the box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_device, check_tensor, check_word
from cnnfast.detection.checks import check_boxes, check_masks
from cnnfast.models.instance_segmentation.object_masks.checks import check_grid

IMAGE_EDGES = ("open", "closed")
"""Beyond the picture's edge its outermost pixels are repeated, or there is background."""


def window_boxes(boxes: Tensor, size: int, halo: int) -> Tensor:
    r"""Boxes grown by P of their S cells on every side.

    .. math::
        (x_0 - P w,\; y_0 - P h,\; x_1 + P w,\; y_1 + P h), \quad w = (x_1 - x_0) / S, \quad h = (y_1 - y_0) / S

    Args:
        boxes: [n,4], (x0,y0,x1,y1).
        size: S.
        halo: P; negative numbers shrink the boxes.

    Returns:
        [n,4].

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.windows import window_boxes
        >>> window_boxes(torch.tensor([[0.0, 0.0, 28.0, 14.0]]), 28, 7)
        tensor([[-7.0000, -3.5000, 35.0000, 17.5000]])
    """
    cell = (boxes[:, 2:] - boxes[:, :2]) / size
    return torch.cat([boxes[:, :2] - halo * cell, boxes[:, 2:] + halo * cell], 1)


def sample_windows(
    masks: Tensor, boxes: Tensor, matched: Tensor, size: int, halo: int, image_edge: str = "open"
) -> tuple[Tensor, Tensor]:
    """Whole masks resampled at the centres of the cells of windows: bilinear, and foreground from 0.5 on.

    Args:
        masks: [G,H,W], bool or integers, non-zero is foreground.
        boxes: [n,4], in pixels.
        matched: [n] int64, the mask of each box.
        size: S.
        halo: P.
        image_edge: "open" (the outermost pixels are repeated beyond the edge of the picture, which therefore is no
            boundary of the object) or "closed" (background beyond the edge).

    Returns:
        the masks [n,S+2P,S+2P] bool, and which cells have their centre in the picture, [n,S+2P,S+2P] bool.

    Raises:
        ValueError: shapes that do not fit, an index without mask, boxes that are not finite, an unknown word, or
            tensors on different devices.
        TypeError: a dtype that is not as above.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, whose windows have no halo.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.windows import sample_windows
        >>> mask = torch.tensor([[[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]])
        >>> box = torch.tensor([[1.0, 1.0, 3.0, 3.0]])
        >>> sample_windows(mask, box, torch.tensor([0]), 2, 1)[0].int()  # goes on below the picture
        tensor([[[0, 0, 0, 0],
                 [0, 1, 1, 0],
                 [0, 1, 1, 1],
                 [0, 1, 1, 1]]], dtype=torch.int32)
    """
    _check_sampling(masks, boxes, matched, size, halo, image_edge)
    cells = size + 2 * halo
    if len(boxes) == 0:
        return (boxes.new_zeros(0, cells, cells, dtype=torch.bool),) * 2
    # Half types are too coarse for coordinates.
    outer = window_boxes(boxes.detach().to(torch.promote_types(boxes.dtype, torch.float32)), size, halo)
    steps = (torch.arange(cells, device=boxes.device, dtype=outer.dtype) + 0.5) / cells
    x = outer[:, :1] + (outer[:, 2:3] - outer[:, :1]) * steps
    y = outer[:, 1:2] + (outer[:, 3:] - outer[:, 1:2]) * steps
    height, width = masks.shape[1:]
    value = outer.new_zeros(len(boxes), cells, cells)
    for row, row_weight in _neighbours(y, height, image_edge):
        for column, column_weight in _neighbours(x, width, image_edge):
            corner = masks[matched[:, None, None], row[:, :, None], column[:, None, :]] != 0
            value += corner * row_weight[:, :, None] * column_weight[:, None, :]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    return value >= 0.5, inside


def _neighbours(position: Tensor, side: int, image_edge: str) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around each continuous position along a side: their indices and bilinear weights."""
    at = position - 0.5
    at = at.clamp(0, side - 1) if image_edge == "open" else at.clamp(-1, side)
    low = at.floor()
    found = []
    for index, weight in ((low, 1 - (at - low)), (low + 1, at - low)):
        present = (index >= 0) & (index < side)
        found.append((index.clamp(0, side - 1).long(), weight * present))
    return found


class WindowPatch(NamedTuple):
    """The part of a picture that one window covers.

    Attributes:
        window: which one.
        top: first row in the picture.
        left: first column in the picture.
        values: [h,w].
    """

    window: int
    top: int
    left: int
    values: Tensor


@torch.no_grad()
def window_patches(
    windows: Tensor, boxes: Tensor, size: int, halo: int, image_size: tuple[int, int]
) -> Iterator[WindowPatch]:
    """Windows resampled at the pixels of a picture, one after the other, each with its place in the picture.

    A pixel belongs to a window if its centre does. Its value is interpolated bilinearly between the centres of the
    cells around it; beyond the centres of the outermost cells their values are repeated. Windows that cover no pixel,
    and boxes without area, are left out.

    Args:
        windows: [n,1,S+2P,S+2P] floating or bool.
        boxes: [n,4] in pixels.
        size: S.
        halo: P.
        image_size: (height, width).

    Yields:
        patches by rising index, float32, or float64 for float64 windows. Altogether they need memory for the windows'
        areas, however large the picture is.

    Raises:
        ValueError: shapes that do not fit, boxes that are not finite, or tensors on different devices.
        TypeError: arguments of the wrong kind or dtype.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.windows import window_patches
        >>> box = torch.tensor([[900.0, 700.0, 902.0, 701.0]])
        >>> list(window_patches(torch.ones(1, 1, 4, 4), box, 4, 0, (1000, 1000)))
        [WindowPatch(window=0, top=700, left=900, values=tensor([[1., 1.]]))]
    """
    _check_pasting(windows, boxes, size, halo, image_size)
    values = windows[:, 0].to(torch.float64 if windows.dtype == torch.float64 else torch.float32)
    outer = window_boxes(boxes.detach().double(), size, halo).tolist()
    for index, (x0, y0, x1, y1) in enumerate(outer):
        left, right = _covered(x0, x1, image_size[1])
        top, bottom = _covered(y0, y1, image_size[0])
        if left < right and top < bottom:
            above, below, down = _cells_around(top, bottom, y0, y1, values)
            before, behind, across = _cells_around(left, right, x0, x1, values)
            rows = torch.lerp(values[index, above], values[index, below], down[:, None])
            yield WindowPatch(index, top, left, torch.lerp(rows[:, before], rows[:, behind], across))


def _covered(low: float, high: float, side: int) -> tuple[int, int]:
    """Pixels [first, last) whose centre is in [low, high), cut to a picture's side."""
    first, last = (math.ceil(min(max(value - 0.5, 0.0), float(side))) for value in (low, high))
    return first, last


def _cells_around(first: int, last: int, low: float, high: float, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cells before and behind the centres of pixels [first, last), and the interpolation weight of those behind.

    The window's edges are at low and high.
    """
    cells = values.shape[-1]
    centre = torch.arange(first, last, dtype=torch.float64, device=values.device) + 0.5
    at = ((centre - low) * (cells / (high - low)) - 0.5).clamp(0, cells - 1)
    before = at.floor()
    behind = (before + 1).clamp(max=cells - 1)
    return before.long(), behind.long(), (at - before).to(values.dtype)


@torch.no_grad()
def paste_windows(
    windows: Tensor,
    boxes: Tensor,
    size: int,
    halo: int,
    image_size: tuple[int, int],
    threshold: float | None = None,
) -> Tensor:
    """Masks of the whole picture from windows, by `window_patches`; 0 outside the windows.

    Beyond the result it needs memory for one window's area at a time.

    Args:
        windows: [n,1,S+2P,S+2P] floating or bool, in [0,1].
        boxes: [n,4] in pixels.
        size: S.
        halo: P.
        image_size: (height, width).
        threshold: of the foreground, None for the values as they are.

    Returns:
        [n,1,H,W], float32 (float64 for float64 windows), with a threshold bool: whether a value reaches it.

    Raises:
        ValueError: shapes that do not fit, boxes that are not finite, or tensors on different devices.
        TypeError: arguments of the wrong kind or dtype.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017; the counterpart for masks that end
        with their box is in He et al., "Mask R-CNN", ICCV 2017, section 3.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.windows import paste_windows
        >>> box = torch.tensor([[1.0, 2.0, 2.0, 3.0]])  # one cell of one pixel, and one more on every side
        >>> paste_windows(torch.ones(1, 1, 3, 3), box, 1, 1, (4, 5), threshold=0.5)[0, 0].int()
        tensor([[0, 0, 0, 0, 0],
                [1, 1, 1, 0, 0],
                [1, 1, 1, 0, 0],
                [1, 1, 1, 0, 0]], dtype=torch.int32)
    """
    _check_pasting(windows, boxes, size, halo, image_size)
    dtype = torch.float64 if windows.dtype == torch.float64 else torch.float32
    masks = windows.new_zeros(len(windows), 1, *image_size, dtype=dtype if threshold is None else torch.bool)
    for index, top, left, values in window_patches(windows, boxes, size, halo, image_size):
        part = masks[index, 0, top : top + values.shape[0], left : left + values.shape[1]]
        part.copy_(values if threshold is None else values >= threshold)
    return masks


def _check_sampling(masks: Tensor, boxes: Tensor, matched: Tensor, size: int, halo: int, image_edge: str) -> None:
    check_grid("sample_windows", size, halo)
    check_word("sample_windows", "image_edge", image_edge, IMAGE_EDGES)
    check_masks("sample_windows", masks)
    check_boxes("sample_windows", boxes, like=masks)
    check_tensor("sample_windows", matched, "matched")
    check_device("sample_windows", matched, masks, "matched", "masks")
    if matched.dtype != torch.int64:
        raise TypeError(f"sample_windows: expected matched of dtype torch.int64, got {matched.dtype}")
    if matched.shape != (len(boxes),):
        raise ValueError(f"sample_windows: expected matched of shape [{len(boxes)}], got {list(matched.shape)}")
    if len(boxes) == 0:
        return
    if masks.numel() == 0:
        raise ValueError(f"sample_windows: expected a mask for {len(boxes)} boxes, got masks {list(masks.shape)}")
    if matched.min() < 0 or matched.max() >= len(masks):
        got = [int(matched.min()), int(matched.max())]
        raise ValueError(f"sample_windows: expected matched in 0..{len(masks) - 1}, got {got[0]}..{got[1]}")


def _check_pasting(windows: Tensor, boxes: Tensor, size: int, halo: int, image_size: tuple[int, int]) -> None:
    check_grid("paste_windows", size, halo)
    check_tensor("paste_windows", windows, "windows")
    if not windows.is_floating_point() and windows.dtype != torch.bool:
        raise TypeError(f"paste_windows: expected windows of a floating dtype or bool, got {windows.dtype}")
    check_boxes("paste_windows", boxes, like=windows)
    cells = size + 2 * halo
    if windows.shape != (len(boxes), 1, cells, cells):
        expected = [len(boxes), 1, cells, cells]
        raise ValueError(f"paste_windows: expected windows of shape {expected}, got {list(windows.shape)}")
    if len(image_size) != 2 or not all(isinstance(side, int) and side >= 0 for side in image_size):
        raise ValueError(f"paste_windows: expected image_size (height, width) in pixels, got {image_size!r}")
