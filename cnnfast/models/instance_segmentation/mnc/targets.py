"""Sampling of the boxes that a multi-task network cascade is trained on, and their targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, clip_boxes_to_image, roi_align

from cnnfast.models.instance_segmentation.object_masks.windows import window_patches

Target = Mapping[str, Tensor]
"""Ground truth of a picture: boxes [m,4], labels [m] from 1 on, masks [m,H,W]."""

FOREGROUND_IOU = 0.5
"""Least IoU with an object at which a box, and later its mask, is foreground."""

FOREGROUND_SHARE = 0.3
"""Largest share of the sampled boxes that is foreground."""

NEAR_SHARE = 0.85
"""Share of the background boxes that overlap an object by `NEAR_IOU` or more."""

NEAR_IOU = 0.1

BINARY_THRESHOLD = 0.4
"""Least value of a mask at which a pixel is foreground."""

# Standard deviations (.1,.1,.2,.2) of the refinement of boxes.
BOX_CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


@dataclass(frozen=True)
class RoITargets:
    """Boxes of a batch of pictures, each with the object it belongs to.

    Attributes:
        boxes: by picture, [n_b,4].
        labels: by picture, [n_b], class of the object that the box overlaps by `FOREGROUND_IOU`, or 0.
        matched: by picture, [n_b], index of the object that it overlaps most; meaningless where the label is 0.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    matched: list[Tensor]

    def foreground(self) -> RoITargets:
        """The boxes that belong to an object."""
        chosen = [label > 0 for label in self.labels]
        parts = (
            [part[c] for part, c in zip(parts, chosen, strict=True)]
            for parts in (self.boxes, self.labels, self.matched)
        )
        return RoITargets(*parts)


def match_rois(boxes: Sequence[Tensor], targets: Sequence[Target]) -> RoITargets:
    """Match each box with the object that it overlaps most.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.mnc.targets import match_rois
        >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 2.0, 2.0]])
        >>> truth = {"boxes": torch.tensor([[0.0, 0.0, 8.0, 8.0]]), "labels": torch.tensor([3])}
        >>> match_rois([boxes], [truth]).labels
        [tensor([3, 0])]
    """
    labels, matched = [], []
    for part, target in zip(boxes, targets, strict=True):
        overlap, index = _best_overlap(part, target["boxes"])
        label = torch.zeros_like(index)
        found = overlap >= FOREGROUND_IOU
        label[found] = target["labels"][index[found]].to(label.dtype)
        labels.append(label)
        matched.append(index)
    return RoITargets(list(boxes), labels, matched)


def with_ground_truth(boxes: Sequence[Tensor], targets: Sequence[Target]) -> list[Tensor]:
    """The boxes of each picture followed by those of its objects."""
    return [torch.cat([part, target["boxes"].to(part)]) for part, target in zip(boxes, targets, strict=True)]


def sample_rois(proposals: Sequence[Tensor], targets: Sequence[Target], rois_per_image: int = 64) -> RoITargets:
    """Random boxes of each picture, the ground truth among the candidates.

    Up to `FOREGROUND_SHARE` of them overlap an object by `FOREGROUND_IOU`. Of the rest, `NEAR_SHARE` have an overlap
    between `NEAR_IOU` and that, the others less. If there are too few boxes of one kind, the sample is smaller.

    Args:
        proposals: by picture, [n_b,4].
        targets: by picture.
        rois_per_image: most boxes of a picture.

    Returns:
        The boxes with their objects; gradients in the boxes are kept.

    Source: Dai, He, Sun, CVPR 2016, and its published configuration.
    """
    candidates = with_ground_truth(proposals, targets)
    sampled = []
    for boxes, target in zip(candidates, targets, strict=True):
        overlap, _ = _best_overlap(boxes, target["boxes"])
        inside = overlap >= FOREGROUND_IOU
        foreground = _choose(inside, round(rois_per_image * FOREGROUND_SHARE))
        rest = rois_per_image - len(foreground)
        near = _choose(~inside & (overlap >= NEAR_IOU), round(rest * NEAR_SHARE))
        far = _choose(overlap < NEAR_IOU, round(rest * (1 - NEAR_SHARE)))
        sampled.append(boxes[torch.cat([foreground, near, far])])
    return match_rois(sampled, targets)


def _best_overlap(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    if len(objects) == 0 or len(boxes) == 0:
        return boxes.new_zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    # A box without area overlaps nothing; two of them would give 0/0.
    best = box_iou(boxes.detach(), objects.to(boxes)).nan_to_num_(0.0).max(1)
    return best.values, best.indices


def _choose(mask: Tensor, count: int) -> Tensor:
    index = torch.where(mask)[0]
    return index[torch.randperm(len(index), device=index.device)[:count]]


def refine_boxes(
    boxes: Sequence[Tensor],
    deltas: Tensor,
    segment_scores: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    skip_background: bool,
) -> list[Tensor]:
    """Move each box by the deltas of its most likely class, and cut it at the picture's edge.

    Args:
        boxes: by picture, [n_b,4].
        deltas: [n,1+C,4] of all pictures, in the standard deviations of `BOX_CODER`.
        segment_scores: [n,1+C].
        image_sizes: by picture, (height, width).
        skip_background: take the best class apart from the background, as in training.

    Returns:
        By picture, [n_b,4], in the same order; differentiable in boxes and deltas.
    """
    best = segment_scores.detach()[:, 1:].argmax(1) + 1 if skip_background else segment_scores.detach().argmax(1)
    chosen = deltas[torch.arange(len(deltas), device=deltas.device), best]
    counts = [len(part) for part in boxes]
    moved = BOX_CODER.decode_single(chosen.to(boxes[0].dtype), torch.cat(list(boxes))).split(counts)
    return [clip_boxes_to_image(part, size) for part, size in zip(moved, image_sizes, strict=True)]


def box_mask_targets(rois: RoITargets, targets: Sequence[Target], size: int) -> Tensor:
    """The objects inside their boxes, resized bilinearly to S x S and cut at `BINARY_THRESHOLD`: [n,1,S,S] in {0,1}."""
    masks = []
    for boxes, matched, target in zip(rois.boxes, rois.matched, targets, strict=True):
        regions = torch.cat([matched[:, None].to(boxes.dtype), boxes.detach()], 1)
        whole = target["masks"][:, None].to(boxes.dtype)
        masks.append(roi_align(whole, regions, size, sampling_ratio=1, aligned=True))
    return (torch.cat(masks) >= BINARY_THRESHOLD).to(masks[0].dtype)


def segment_labels(windows: Tensor, rois: RoITargets, targets: Sequence[Target], halo: int) -> Tensor:
    """Classes of the masks: that of the box where mask and object overlap by `FOREGROUND_IOU`, else 0.

    Args:
        windows: [n,1,S+2P,S+2P], soft masks.
        rois: their boxes.
        targets: by picture.
        halo: P.

    Returns:
        [n] int64.
    """
    counts = [len(part) for part in rois.boxes]
    result = []
    for part, boxes, labels, matched, target in zip(
        windows.detach().split(counts), rois.boxes, rois.labels, rois.matched, targets, strict=True
    ):
        labels = labels.clone()
        inside = torch.where(labels > 0)[0]
        overlap = _mask_overlap(part[inside], boxes[inside].detach(), target["masks"], matched[inside], halo)
        labels[inside[overlap < FOREGROUND_IOU]] = 0
        result.append(labels)
    return torch.cat(result)


def _mask_overlap(windows: Tensor, boxes: Tensor, objects: Tensor, matched: Tensor, halo: int) -> Tensor:
    """IoU of each window's mask, in the picture, with its object."""
    size = windows.shape[-1] - 2 * halo
    objects = objects > 0
    union = objects.flatten(1).sum(1)[matched]
    shared = torch.zeros_like(union)
    image_size = (objects.shape[1], objects.shape[2])
    for index, top, left, values in window_patches(windows, boxes, size, halo, image_size):
        mask = values >= BINARY_THRESHOLD
        truth = objects[matched[index], top : top + mask.shape[0], left : left + mask.shape[1]]
        shared[index] = (mask & truth).sum()
        union[index] += (mask & ~truth).sum()
    return shared / union.clamp(min=1)
