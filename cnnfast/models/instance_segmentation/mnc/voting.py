"""Mask voting: one mask from all that overlap, for each box that survives non-maximum suppression."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from cnnfast.detection.boxes import tight_boxes
from cnnfast.models.instance_segmentation.object_masks.windows import window_boxes, window_patches

# Pixels of soft masks that are averaged at a time: 0.13 GB.
_PIECE = 2**25


@torch.no_grad()
def mask_voting(
    windows: Tensor,
    boxes: Tensor,
    scores: Tensor,
    image_size: tuple[int, int],
    *,
    halo: int = 0,
    nms_threshold: float = 0.3,
    vote_threshold: float = 0.5,
    mask_threshold: float = 0.4,
    score_threshold: float = 0.0,
    max_detections: int = 100,
) -> dict[str, Tensor]:
    r"""Detections of one picture from the overlapping masks of all its boxes.

    For each class, non-maximum suppression of the boxes by the class's scores; of what is left in all classes, the best
    `max_detections`. The mask of each is an average over the boxes that overlap it,

    .. math::
        M = \Big[\sum_j w_j m_j \ge t\Big], \quad w_j = s_j / \sum_i s_i, \quad j: \mathrm{IoU}(b, b_j) \ge u

    with the pasted soft masks m and their scores s for this class. A detection's box is the tight box of its mask;
    those without a pixel are left out.

    Args:
        windows: [n,1,S+2P,S+2P] in [0,1], each on its box grown by P cells on all sides.
        boxes: [n,4], (x0,y0,x1,y1) in pixels. Boxes without area are ignored.
        scores: [n,1+C], the background's first.
        image_size: (height, width).
        halo: P.
        nms_threshold: IoU above which the better box suppresses the other.
        vote_threshold: u, of a box that votes.
        mask_threshold: t.
        score_threshold: detections have a score above it.
        max_detections: in all classes together.

    Returns:
        boxes [m,4], labels [m] from 1 on, scores [m] in falling order, masks [m,1,H,W] bool.

    Raises:
        ValueError: shapes that do not fit one another.

    Source: Dai, He, Sun, "Instance-aware Semantic Segmentation via Multi-task Network Cascades", CVPR 2016, section
        3.5; windows larger than the box as in Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.mnc.voting import mask_voting
        >>> boxes = torch.tensor([[2.0, 2.0, 6.0, 6.0], [2.0, 2.0, 6.0, 7.0]])
        >>> result = mask_voting(torch.ones(2, 1, 4, 4), boxes, torch.tensor([[0.1, 0.9], [0.2, 0.8]]), (8, 8))
        >>> result["boxes"], result["scores"]  # the second has 0.8 of 1.7 votes for the last row
        (tensor([[2., 2., 6., 7.]]), tensor([0.9000]))
    """
    _check(windows, boxes, scores, halo)
    proper = (boxes[:, 2:] > boxes[:, :2]).all(1)
    windows, boxes, scores = windows[proper].float(), boxes[proper].float(), scores[proper].float()
    chosen, labels = _candidates(boxes, scores, nms_threshold, score_threshold, max_detections)
    masks = torch.zeros(len(chosen), *image_size, dtype=torch.bool, device=boxes.device)
    # A box that is kept for several classes has the same voters in each: their masks are pasted once.
    for box in chosen.unique():
        members = torch.where(chosen == box)[0]
        voters = torch.where(box_iou(boxes[box][None], boxes)[0] >= vote_threshold)[0]
        weights = scores[voters][:, labels[members]].T
        weights = weights / weights.sum(1, keepdim=True)
        step = max(1, _PIECE // (image_size[0] * image_size[1]))
        for part, rows in zip(members.split(step), weights.split(step), strict=True):
            _vote(masks, part, windows[voters], boxes[voters], rows, halo, mask_threshold)
    found = masks.flatten(1).any(1)
    if not found.all():  # a copy of the masks is large
        chosen, labels, masks = chosen[found], labels[found], masks[found]
    return {
        "boxes": tight_boxes(masks),
        "labels": labels,
        "scores": scores[chosen, labels],
        "masks": masks[:, None],
    }


def _check(windows: Tensor, boxes: Tensor, scores: Tensor, halo: int) -> None:
    if windows.dim() != 4 or windows.shape[1] != 1 or windows.shape[2] != windows.shape[3]:
        raise ValueError(f"mask_voting: expected windows of shape [n,1,S+2P,S+2P], got {list(windows.shape)}")
    if not 0 <= 2 * halo < windows.shape[3]:
        raise ValueError(f"mask_voting: expected halo in 0..{(windows.shape[3] - 1) // 2}, got {halo}")
    if boxes.shape != (len(windows), 4):
        raise ValueError(f"mask_voting: expected boxes of shape [{len(windows)},4], got {list(boxes.shape)}")
    if scores.dim() != 2 or len(scores) != len(windows) or scores.shape[1] < 1:
        raise ValueError(f"mask_voting: expected scores of shape [{len(windows)},1+C], got {list(scores.shape)}")


def _candidates(
    boxes: Tensor, scores: Tensor, nms_threshold: float, score_threshold: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Indices of boxes and their classes, by falling score."""
    index, label = torch.where(scores[:, 1:] > score_threshold)
    label = label + 1
    keep = batched_nms(boxes[index], scores[index, label], label, nms_threshold)[:limit]
    return index[keep], label[keep]


def _vote(
    masks: Tensor,
    members: Tensor,
    windows: Tensor,
    boxes: Tensor,
    weights: Tensor,
    halo: int,
    threshold: float,
) -> None:
    """Set `masks` of `members` to the average of `windows` by the rows of `weights`, within the windows' hull."""
    size = windows.shape[-1] - 2 * halo
    outer = window_boxes(boxes, size, halo)
    low, high = outer[:, :2].amin(0).tolist(), outer[:, 2:].amax(0).tolist()
    left, top = (max(0, math.floor(value)) for value in low)
    right = min(masks.shape[2], math.ceil(high[0]))
    bottom = min(masks.shape[1], math.ceil(high[1]))
    if left >= right or top >= bottom:
        return
    region = (bottom - top, right - left)
    shifted = boxes - boxes.new_tensor([left, top, left, top])
    average = windows.new_zeros(len(members), *region)
    for voter, y, x, values in window_patches(windows, shifted, size, halo, region):
        height, width = values.shape
        average[:, y : y + height, x : x + width] += weights[:, voter, None, None] * values
    masks[members, top:bottom, left:right] = average >= threshold
