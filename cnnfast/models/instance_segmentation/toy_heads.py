"""The three ways to a mask that the toy task compares: inside the box, with an object mask network, in a larger box."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from cnnfast.layers.distance import InverseDistanceTransform
from cnnfast.models.instance_segmentation.object_masks.decoding import bin_labels
from cnnfast.models.instance_segmentation.object_masks.losses import omn_loss
from cnnfast.models.instance_segmentation.object_masks.targets import OMNTargets, max_radius, omn_targets
from cnnfast.models.instance_segmentation.object_masks.windows import paste_windows, sample_windows, window_boxes
from cnnfast.ops import disc_union

SIZE = 28
"""Cells a side of a box."""

_STRIDE = 2
_WIDTH = 16


class MaskMethod(ABC):
    """A mask for each box, learnt from pictures with one object each.

    Attributes:
        name: in tables.
        channels: of a network's output.
        context: cells by which the features reach beyond the box on every side.
        halo: cells by which the mask does.
    """

    name: str
    channels: int
    context: int
    halo: int

    def network(self) -> ToyNetwork:
        """A new network, its weights from torch's random numbers."""
        return ToyNetwork(self.channels, self.context)

    @abstractmethod
    def loss(self, logits: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
        """Of a network's output [n,C,S',S'] against the objects' masks [n,H,W], for boxes [n,4]."""

    @abstractmethod
    def windows(self, logits: Tensor) -> Tensor:
        """Masks [n,1,S+2P,S+2P] in [0,1] from a network's output."""

    @abstractmethod
    def ideal_windows(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """Masks from an output without fault, the best that the method can do."""

    def paste(self, windows: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Masks [n,H,W] bool of the picture."""
        return paste_windows(windows, boxes, SIZE, self.halo, image_size, 0.5)[:, 0]


class BinaryMasks(MaskMethod):
    """A probability in each cell, inside the box or inside the box grown by `halo` cells.

    Args:
        name: in tables.
        halo: 0 is Mask R-CNN's way. A larger one is the control: its features come from outside the box, too.
    """

    channels = 1

    def __init__(self, name: str = "binary mask in box", halo: int = 0) -> None:
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
    """An object mask network: bins of distances inside the box, decoded as a union of discs that may leave it.

    Args:
        name: in tables.
        R: distance in cells at which the bins end.
        K: bins.
    """

    context = 0

    def __init__(self, name: str = "object mask network", R: int = 9, K: int = 5) -> None:
        self.name, self._R, self._K = name, R, K
        self.channels, self.halo = K + 1, max_radius(R, K)
        self._radii = InverseDistanceTransform(K, R).radii.tolist()

    def loss(self, logits: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
        """Cross-entropy of the bins."""
        return omn_loss(logits, None, self._targets(masks, boxes))["loss_mask_bins"]

    def windows(self, logits: Tensor) -> Tensor:
        """The union of the discs of the likeliest bins."""
        return self._union(bin_labels(logits))

    def ideal_windows(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """The union of the discs of the true bins inside the box."""
        return self._union(self._targets(masks, boxes).labels)

    def _targets(self, masks: Tensor, boxes: Tensor) -> OMNTargets:
        return omn_targets([masks], [boxes], [_own(boxes)], self._R, self._K, SIZE)

    def _union(self, labels: Tensor) -> Tensor:
        return disc_union(labels, self._radii, pad=self.halo)[:, None]


class ToyNetwork(nn.Module):
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
        steps = ((2, 1), (1, 1), (1, 2), (1, 4), (1, 4))
        sources = (3, *[_WIDTH] * len(steps))
        self.context = context
        self.backbone = nn.Sequential(
            *(_block(source, stride, dilation) for source, (stride, dilation) in zip(sources, steps, strict=False))
        )
        self.head = nn.Sequential(
            _block(_WIDTH),
            _block(_WIDTH),
            nn.ConvTranspose2d(_WIDTH, _WIDTH, 2, stride=2),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, channels, 1),
        )

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """See the class."""
        regions = torch.cat([_own(boxes)[:, None].to(boxes.dtype), window_boxes(boxes, SIZE, self.context)], 1)
        side = (SIZE + 2 * self.context) // 2
        features = roi_align(self.backbone(images), regions, side, 1 / _STRIDE, sampling_ratio=2, aligned=True)
        return self.head(features)


def _block(source: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(source, _WIDTH, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(_WIDTH), nn.ReLU())


def _own(boxes: Tensor) -> Tensor:
    """Box i belongs to object i, in picture i."""
    return torch.arange(len(boxes), device=boxes.device)
