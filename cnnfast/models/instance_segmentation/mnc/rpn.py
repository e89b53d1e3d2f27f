"""Region proposals of a cascade, whose boxes may pass gradients back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

_CANDIDATES = {"training": 12000, "testing": 6000}

GRADIENT_LIMIT = 1 / 512
"""Largest gradient that features pass to a box's offset, per element."""


def clip_gradient(x: Tensor, limit: float = GRADIENT_LIMIT) -> Tensor:
    """A view of a tensor whose gradient is clamped to [-limit,limit] per element; other uses of the tensor are not.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.mnc.rpn import clip_gradient
        >>> x = torch.zeros(2, requires_grad=True)
        >>> (clip_gradient(x, 0.5) * torch.tensor([3.0, -0.25])).sum().backward()
        >>> x.grad
        tensor([ 0.5000, -0.2500])
    """
    clipped = x.view_as(x)
    if clipped.requires_grad:
        clipped.register_hook(lambda gradient: gradient.clamp(-limit, limit))
    return clipped


class CascadeRPN(RegionProposalNetwork):
    """Region proposal network of multi-task network cascades.

    Anchors are positive from IoU 0.7 and negative below 0.3; 256 of each picture are sampled, half of them positive.
    Non-maximum suppression at 0.7 keeps some of the best boxes of each map.

    Args:
        in_channels: of the feature maps.
        anchors: anchor boxes.
        min_box_size: px; proposals with a shorter side are dropped.
        candidates: best boxes of a map before non-maximum suppression; None: 12000 in training and 6000 in testing.
        proposals: largest number of boxes of a picture after it.
        gradient_in_boxes: whether, in training, proposals have a gradient in the predicted offsets. It is clamped
            to `GRADIENT_LIMIT`; that of the network's own losses is not.

    Source: Ren et al., "Faster R-CNN", NIPS 2015; Dai, He, Sun, CVPR 2016, section 3.3.
    """

    def __init__(
        self,
        in_channels: int,
        anchors: AnchorGenerator,
        *,
        min_box_size: float = 16.0,
        candidates: int | None = None,
        proposals: int = 300,
        gradient_in_boxes: bool = False,
    ) -> None:
        head = RPNHead(in_channels, anchors.num_anchors_per_location()[0])
        kept = {"training": proposals, "testing": proposals}
        before = dict(_CANDIDATES) if candidates is None else {"training": candidates, "testing": candidates}
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, before, kept, 0.7)
        self.min_size = min_box_size
        self.gradient_in_boxes = gradient_in_boxes

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes by picture, and losses in training, as torchvision's network gives them."""
        if not (self.training and self.gradient_in_boxes):
            return super().forward(images, features, targets)
        if targets is None:
            raise ValueError("CascadeRPN: expected targets in training, got None")
        maps = list(features.values())
        objectness, deltas = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        counts = [scores[0].numel() for scores in objectness]
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        proposals = self.box_coder.decode(clip_gradient(deltas), anchors).view(len(anchors), -1, 4)
        boxes, _ = self.filter_proposals(proposals, objectness, images.image_sizes, counts)
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        offsets = self.box_coder.encode(matched, anchors)
        loss_objectness, loss_box = self.compute_loss(objectness, deltas, labels, offsets)
        return boxes, {"loss_objectness": loss_objectness, "loss_rpn_box_reg": loss_box}
