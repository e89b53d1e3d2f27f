"""Stages of a multi-task network cascade: a mask for each box, then classes and a better box from both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from cnnfast.models.instance_segmentation.mnc.masks import MaskBranch, MaskOutput

RESOLUTION = 14
"""Bins a side of the features of a box."""


@dataclass(frozen=True)
class StageOutput:
    """The output of two stages for n boxes.

    Attributes:
        mask: of the mask branch.
        class_logits: [n,1+C], what is in the box.
        segment_logits: [n,1+C], what is in the mask.
        deltas: [n,1+C,4], how to move the box, by class.
    """

    mask: MaskOutput
    class_logits: Tensor
    segment_logits: Tensor
    deltas: Tensor


def resize_from_corner(x: Tensor, size: int) -> Tensor:
    """Resize [n,1,S,S] bilinearly to [n,1,size,size], output i at input position i S / size.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.mnc.stages import resize_from_corner
        >>> resize_from_corner(torch.tensor([[[[0.0, 4.0, 8.0], [0.0, 4.0, 8.0], [0.0, 4.0, 8.0]]]]), 2)[0, 0]
        tensor([[0., 6.],
                [0., 6.]])
    """
    length = x.shape[-1]
    position = torch.arange(size, device=x.device, dtype=x.dtype) * (length / size)
    # Bilinear weights are hat functions of the distance; beyond the last value it is repeated.
    distance = position.clamp(max=length - 1)[:, None] - torch.arange(length, device=x.device, dtype=x.dtype)
    weights = (1 - distance.abs()).clamp(min=0)
    return weights @ x @ weights.T


def mask_pool(features: Tensor, masks: Tensor) -> Tensor:
    """Features of a box [n,C,H,H] times its mask [n,1,S,S], resized to H x H.

    Source: Dai, He, Sun, CVPR 2016, section 3.2.
    """
    return features * resize_from_corner(masks, features.shape[-1]).to(features.dtype)


class RegionBranch(nn.Module):
    """Classes of box and mask, and offsets of the box, from two paths of two fully connected layers each.

    Shape:
        - features: [n,C,H,H].
        - masks: [n,1,S,S] in [0,1], on the box.
        - output: class logits [n,1+classes], segment logits [n,1+classes], deltas [n,1+classes,4].

    Args:
        in_channels: C.
        num_classes: with the background.
        width: of the fully connected layers.

    Source: Dai, He, Sun, CVPR 2016, section 3.2.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        pooled = in_channels * (RESOLUTION // 2) ** 2
        self.mask_path, self.box_path = TwoMLPHead(pooled, width), TwoMLPHead(pooled, width)
        self.classes = nn.Linear(2 * width, num_classes)
        self.segments = nn.Linear(2 * width, num_classes)
        self.deltas = nn.Linear(2 * width, 4 * num_classes)
        for layer, std in ((self.classes, 0.01), (self.segments, 0.01), (self.deltas, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        masked = self.mask_path(F.max_pool2d(mask_pool(features, masks), 2))
        joined = torch.cat([masked, self.box_path(F.max_pool2d(features, 2))], 1)
        classes = self.classes(joined)
        return classes, self.segments(joined), self.deltas(joined).unflatten(1, (-1, 4))


class CascadeStage(nn.Module):
    """A mask branch, and classes and offsets from its masks: stages 2 and 3 of a cascade, or 4 and 5.

    Args:
        mask: from features to masks.
        region: from features and masks to classes and offsets.
    """

    def __init__(self, mask: MaskBranch, region: RegionBranch) -> None:
        super().__init__()
        self.mask, self.region = mask, region

    def regions(self, features: Tensor, mask: MaskOutput, teaching: Tensor | None = None) -> StageOutput:
        """Classes and offsets of n boxes from their features and masks.

        Args:
            features: [n,C,H,H].
            mask: of these boxes.
            teaching: [n] bool, the masks that get a gradient from the classes; None for all.
        """
        inner = self.mask.inner_windows(mask)
        if teaching is not None:
            inner = torch.where(teaching.view(-1, 1, 1, 1), inner, inner.detach())
        return StageOutput(mask, *self.region(features, inner))
