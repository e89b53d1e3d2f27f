"""Losses of classes, segments and offsets in a multi-task network cascade."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnfast.models.instance_segmentation.mnc.stages import StageOutput
from cnnfast.models.instance_segmentation.mnc.targets import BOX_CODER, RoITargets, Target

MASK_WEIGHT = 2.0
"""Weight of the losses of masks; all others have weight 1."""


def region_losses(
    output: StageOutput, rois: RoITargets, segment_labels: Tensor, targets: Sequence[Target]
) -> dict[str, Tensor]:
    r"""Cross-entropy of classes and segments, smooth L1 of the offsets of boxes that belong to an object.

    Means over all n boxes of the batch, the offsets' sums too:

    .. math::
        L_b = \frac{1}{n} \sum_{i: l_i > 0} \mathrm{smooth}_{L1}(d_{i l_i} - t_i)

    Args:
        output: of the stages.
        rois: the boxes and their objects.
        segment_labels: [n].
        targets: by picture.

    Returns:
        "loss_classifier", "loss_segment" and "loss_box_reg".

    Source: Dai, He, Sun, CVPR 2016, section 3.2; Girshick, "Fast R-CNN", ICCV 2015, section 2.3.
    """
    labels = torch.cat(rois.labels)
    return {
        "loss_classifier": _cross_entropy(output.class_logits, labels),
        "loss_segment": _cross_entropy(output.segment_logits, segment_labels),
        "loss_box_reg": _offset_loss(output.deltas, rois, targets),
    }


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels, reduction="sum") / max(len(labels), 1)


def _offset_loss(deltas: Tensor, rois: RoITargets, targets: Sequence[Target]) -> Tensor:
    labels = torch.cat(rois.labels)
    inside = torch.where(labels > 0)[0]
    foreground = rois.foreground()
    objects = [target["boxes"][index] for target, index in zip(targets, foreground.matched, strict=True)]
    boxes = torch.cat(foreground.boxes).detach()
    truth = BOX_CODER.encode_single(torch.cat(objects).to(boxes), boxes)
    predicted = deltas[inside, labels[inside]].to(truth.dtype)
    return F.smooth_l1_loss(predicted, truth, reduction="sum") / max(len(labels), 1)
