"""The ways to a mask that `box_quality` compares: inside the box, with an object mask network, in a larger box."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, roi_align

from cnnfast.layers import BinsToMask, InverseDistanceTransform
from cnnfast.models.instance_segmentation import (
    OMNTargets,
    omn_loss,
    omn_targets,
    sample_windows,
    window_boxes,
)
from examples.instance_segmentation.scenes import dilated_backbone

SIZE = 28
"""Cells a side of a box."""

_WIDTH = 16


class MaskNetwork(nn.Module):
    """Five dilated convolutions, RoIAlign, and a head that doubles the grid.

    Shape:
        - images: [n,3,H,W]; boxes: [n,4], one in each picture.
        - output: [n,channels,S',S'] with S' = 28 + 2 context.

    Args:
        channels: of the output.
        context: cells by which the features reach beyond the box on every side.
    """

    def __init__(self, channels: int, context: int = 0) -> None:
        super().__init__()
        self.context = context
        self.backbone = dilated_backbone(_WIDTH)
        self.head = nn.Sequential(
            Conv2dNormActivation(_WIDTH, _WIDTH),
            Conv2dNormActivation(_WIDTH, _WIDTH),
            nn.ConvTranspose2d(_WIDTH, _WIDTH, 2, stride=2),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, channels, 1),
        )

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """See the class."""
        regions = torch.cat([_own(boxes)[:, None].to(boxes.dtype), window_boxes(boxes, SIZE, self.context)], 1)
        side = (SIZE + 2 * self.context) // 2
        features = roi_align(self.backbone(images), regions, side, 0.5, sampling_ratio=2, aligned=True)
        return self.head(features)


class MaskMethod(ABC):
    """A mask for each box, learnt from pictures with one object each.

    Attributes:
        name: in tables.
        channels: of a network's output.
        context: cells by which the features reach beyond the box on every side.
        halo: cells P by which the mask does.
    """

    name: str
    channels: int
    context: int
    halo: int

    @abstractmethod
    def loss(self, logits: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
        """Of a network's output [n,C,S',S'] against the objects' masks [n,H,W], for boxes [n,4]."""

    @abstractmethod
    def windows(self, logits: Tensor) -> Tensor:
        """Masks [n,1,S+2P,S+2P] in [0,1] from a network's output."""

    @abstractmethod
    def ideal_windows(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """Masks from an output without fault, the best that the method can do."""


class BinaryMasks(MaskMethod):
    """A probability in each cell, inside the box (as Mask R-CNN) or inside the box grown by `halo` cells."""

    channels = 1

    def __init__(self, name: str, halo: int = 0) -> None:
        self.name, self.halo, self.context = name, halo, halo

    def loss(self, logits: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
        """Binary cross-entropy over the cells in the picture."""
        truth, valid = sample_windows(masks, boxes, _own(boxes), SIZE, self.halo)
        total = F.binary_cross_entropy_with_logits(logits[:, 0], truth.float(), valid.float(), reduction="sum")
        return total / valid.sum().clamp(min=1)

    def windows(self, logits: Tensor) -> Tensor:
        """Probabilities."""
        return logits.sigmoid()

    def ideal_windows(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """The object's mask, cut at the window."""
        return sample_windows(masks, boxes, _own(boxes), SIZE, self.halo)[0][:, None]


class ObjectMasks(MaskMethod):
    """An object mask network: K bins of distances up to R inside the box, decoded as discs that may leave it."""

    context = 0

    def __init__(self, name: str, R: int = 9, K: int = 5) -> None:
        self.name, self.channels = name, K + 1
        self.halo = InverseDistanceTransform(K, R).pad
        self._decode = BinsToMask(R, K, pad=self.halo)

    def loss(self, logits: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
        """Cross-entropy of the bins."""
        return omn_loss(logits, None, self._targets(masks, boxes))["loss_mask_bins"]

    def windows(self, logits: Tensor) -> Tensor:
        """The union of the discs of the likeliest bins."""
        return self._decode(logits.argmax(1, keepdim=True).to(torch.uint8))

    def ideal_windows(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """The union of the discs of the true bins inside the box."""
        return self._decode(self._targets(masks, boxes).labels[:, None])

    def _targets(self, masks: Tensor, boxes: Tensor) -> OMNTargets:
        return omn_targets([masks], [boxes], [_own(boxes)], self._decode.R, self._decode.K, SIZE)


def compared_methods() -> tuple[MaskMethod, MaskMethod, MaskMethod]:
    """Binary mask in the box, object mask network, and the control: a binary mask in the network's larger window."""
    omn = ObjectMasks("object mask network")
    return BinaryMasks("binary mask in box"), omn, BinaryMasks("control: wider box", omn.halo)


def _own(boxes: Tensor) -> Tensor:
    """Box i belongs to object i, in picture i."""
    return torch.arange(len(boxes), device=boxes.device)
