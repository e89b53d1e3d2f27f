"""Training targets of an object mask network: bins of distances inside each box, and the mask in its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnfast.arguments.checks import check_word
from cnnfast.models.instance_segmentation.object_masks.checks import check_bins, check_grid
from cnnfast.models.instance_segmentation.object_masks.windows import IMAGE_EDGES, sample_windows
from cnnfast.ops import bin_radii, mask_to_bins


class OMNTargets(NamedTuple):
    """Targets of n boxes.

    Attributes:
        labels: [n,S,S] uint8, bins 0..K of the box's cells.
        masks: [n,S+2P,S+2P] bool, the objects in the windows.
        valid: [n,S+2P,S+2P] bool, cells that count in the loss of the mask: their centres are in the picture.
    """

    labels: Tensor
    masks: Tensor
    valid: Tensor


def max_radius(R: int, K: int) -> int:
    """Cells by which the largest disc reaches beyond its centre: floor((K - 1) R / K), the halo P of a window.

    Example:
        >>> max_radius(9, 5), max_radius(9, 9)
        (7, 8)
    """
    return bin_radii(R, K)[-1]


def omn_targets(
    gt_masks: Sequence[Tensor],
    boxes: Sequence[Tensor],
    matched: Sequence[Tensor],
    R: int = 9,
    K: int = 5,
    S: int = 28,
    image_edge: str = "open",
) -> OMNTargets:
    r"""Bins and masks of boxes, from the whole masks of the objects they belong to.

    The mask is resampled in the box's window with a halo of R - 1 cells, all that distances below R depend on. The bins

    .. math::
        n(p) = \lceil K \min(\lceil d(p) \rceil, R) / R \rceil

    count distances d to the object's own boundary, also where that is outside the box, and never to the box's edge.

    Args:
        gt_masks: by picture, [G,H,W], bool or integers, non-zero is foreground.
        boxes: by picture, [n,4], (x0,y0,x1,y1) in pixels.
        matched: by picture, [n] int64, index of the mask of each box.
        R: distance in cells at which the bins end.
        K: bins.
        S: cells a side of the box.
        image_edge: "open" (the edge of the picture is no boundary) or "closed" (it is one).

    Returns:
        Targets of all boxes, those of the first picture first; halo P = floor((K - 1) R / K).

    Raises:
        ValueError: lists of different lengths or without a picture, shapes that do not fit, an index without mask,
            boxes that are not finite, K > R, an unknown word, or tensors on different devices.
        TypeError: a dtype that is not as above.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.targets import omn_targets
        >>> mask = torch.zeros(1, 12, 12, dtype=torch.bool)
        >>> mask[:, 2:10, 2:10] = True
        >>> box = torch.tensor([[0.0, 0.0, 6.0, 6.0]])  # a quarter of the object, whose edges to the right are far
        >>> omn_targets([mask], [box], [torch.tensor([0])], R=3, K=3, S=6).labels[0]
        tensor([[0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0],
                [0, 0, 1, 1, 1, 1],
                [0, 0, 1, 2, 2, 2],
                [0, 0, 1, 2, 3, 3],
                [0, 0, 1, 2, 3, 3]], dtype=torch.uint8)
    """
    check_bins("omn_targets", R, K)
    check_grid("omn_targets", S)
    check_word("omn_targets", "image_edge", image_edge, IMAGE_EDGES)
    for name, parts in (("gt_masks", gt_masks), ("boxes", boxes), ("matched", matched)):
        if not isinstance(parts, (Sequence, Tensor)):
            raise TypeError(
                f"omn_targets: expected {name} a list of tensors, one a picture, got {type(parts).__name__}"
            )
    counts = [len(gt_masks), len(boxes), len(matched)]
    if min(counts) == 0 or len(set(counts)) != 1:
        raise ValueError(
            f"omn_targets: expected gt_masks, boxes and matched of as many pictures, at least one, got {counts}"
        )
    halo = R - 1
    sampled = [
        sample_windows(masks, part, index, S, halo, image_edge)
        for masks, part, index in zip(gt_masks, boxes, matched, strict=True)
    ]
    masks, inside = (torch.cat(each) for each in zip(*sampled, strict=True))
    labels = F.pad(mask_to_bins(masks, R, K), [-halo] * 4)
    # The decoded mask has a smaller halo than the distances need.
    shrink = [max_radius(R, K) - halo] * 4
    return OMNTargets(labels, F.pad(masks, shrink), F.pad(inside, shrink))
