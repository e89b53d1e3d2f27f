"""Boxes and areas of masks."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.detection.checks import check_masks


def tight_boxes(masks: Tensor) -> Tensor:
    """The smallest boxes around masks, in continuous coordinates: the last row and column belong to the box.

    Args:
        masks: [n,H,W], bool or integers, non-zero is foreground.

    Returns:
        [n,4] float32, (x0,y0,x1,y1); zeros for a mask without a pixel.

    Raises:
        ValueError: another shape.
        TypeError: another dtype.

    Example:
        >>> import torch
        >>> from cnnfast.detection.boxes import tight_boxes
        >>> tight_boxes(torch.tensor([[[0, 0, 0], [0, 1, 1]]]))
        tensor([[1., 1., 3., 2.]])
    """
    check_masks("tight_boxes", masks)
    if masks.numel() == 0:
        return torch.zeros(len(masks), 4, device=masks.device)
    foreground = masks if masks.dtype == torch.bool else masks != 0
    sides = [_first_and_end(foreground.any(axis)) for axis in (1, 2)]
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], 1).float()


def mask_areas(masks: Tensor) -> Tensor:
    """Number of pixels of each mask, one by one: torch sums bool values as eight bytes each, a copy of all masks.

    Args:
        masks: [n,H,W] bool.

    Returns:
        [n] int64.

    Example:
        >>> import torch
        >>> from cnnfast.detection.boxes import mask_areas
        >>> mask_areas(torch.eye(3, dtype=torch.bool).expand(2, 3, 3))
        tensor([3, 3])
    """
    if len(masks) == 0:
        return torch.zeros(0, dtype=torch.int64, device=masks.device)
    return torch.stack([mask.count_nonzero() for mask in masks])


def _first_and_end(line: Tensor) -> tuple[Tensor, Tensor]:
    """First true index of each row of [n,L], and one beyond the last; 0 and 0 where there is none."""
    counted = line.to(torch.uint8)
    first = counted.argmax(1)
    end = line.shape[1] - counted.flip(1).argmax(1)
    return first, end * line.any(1)
