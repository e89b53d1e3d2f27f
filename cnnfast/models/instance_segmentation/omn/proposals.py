"""Segment proposals: the boxes of a region proposal network, each with the mask of an object mask network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign, box_iou

from cnnfast.arguments.checks import check_device
from cnnfast.detection.anchors import pyramid_anchors, single_map_anchors
from cnnfast.detection.checks import check_pictures
from cnnfast.models.instance_segmentation.object_masks.branch import MatchedBoxes, OMNBranch
from cnnfast.models.instance_segmentation.object_masks.heads import BinHead, OMNHead

_PRE_NMS = 12000
_NMS_THRESHOLD = 0.7
_IMAGE_MEAN, _IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

POSITIVE_IOU = 0.5
"""Least IoU of a box with an object for the box to be trained on the object's mask."""


class ScoredProposals(RegionProposalNetwork):
    """torchvision's region proposal network, which also returns the objectness of its boxes.

    Anchors are positive from IoU 0.7 and negative below 0.3; 256 of each picture are sampled, half of them positive.
    Of the best 12000 boxes of each map, non-maximum suppression at 0.7 keeps the best `proposals` in all.

    Args:
        in_channels: of the feature maps.
        anchors: anchor boxes.
        proposals: most boxes of a picture.
    """

    def __init__(self, in_channels: int, anchors: AnchorGenerator, proposals: int) -> None:
        head = RPNHead(in_channels, anchors.num_anchors_per_location()[0])
        before, after = ({"training": count, "testing": count} for count in (_PRE_NMS, proposals))
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, before, after, _NMS_THRESHOLD)
        self._scores: list[Tensor] = []

    def filter_proposals(self, *args: Any) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision's; keeps the scores, which torchvision's forward does not return."""
        boxes, self._scores = super().filter_proposals(*args)
        return boxes, self._scores

    def propose(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Boxes [n,4] and scores [n] in falling order, by picture, and losses in training."""
        boxes, losses = self(images, features, targets)
        scores, self._scores = self._scores, []
        return boxes, scores, losses


class RPNOMN(nn.Module):
    """Class-agnostic segment proposals.

    A region proposal network gives boxes and their objectness; an object mask network gives each a mask, which may
    leave it. Both are trained together, the masks on boxes that overlap an object by `POSITIVE_IOU` or more.

    In training, ``forward`` returns the losses "loss_objectness", "loss_rpn_box_reg", "loss_mask_bins" and
    "loss_mask"; in evaluation, for each picture, boxes [n,4], masks [n,1,H,W] bool and scores [n] in falling order.

    Shape:
        - images: list of [3,H,W], RGB in [0,1].
        - targets: list of dicts, boxes [m,4] in pixels and masks [m,H,W] of bool or integers.

    Args:
        backbone: one map or a pyramid of maps of ``out_channels`` channels.
        R: distance in cells at which the bins end.
        K: bins.
        head: an object mask network for ``backbone.out_channels``; None is an `OMNHead`.
        roi_pool: torchvision's MultiScaleRoIAlign for the head; None is one of 14 x 14 bins.
        anchors: anchor boxes; None has three ratios and, on a pyramid, one scale a level, else 128, 256 and 512 px.
        proposals: most boxes of a picture.
        masks_per_image: most boxes of a picture on which masks are trained.
        mask_threshold: of a mask's pixels.
        min_size: px of the shorter side to which pictures are resized.
        max_size: largest px of the longer side, which takes precedence.
        options: decode, context, image_edge, lambda_bin and lambda_mask of `OMNBranch`.

    Raises:
        TypeError: a backbone without ``out_channels``, or pictures and targets of another kind or dtype.
        ValueError: an option out of range, or pictures and targets that do not fit one another.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 4.2 (segment proposals);
        Ren et al., "Faster R-CNN", NIPS 2015, for the boxes.

    Example:
        >>> import torch
        >>> from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        >>> from cnnfast.models.instance_segmentation import RPNOMN
        >>> model = RPNOMN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), min_size=64).eval()
        >>> with torch.no_grad():
        ...     (result,) = model([torch.rand(3, 60, 80)])
        >>> sorted(result), result["masks"].shape[1:]
        (['boxes', 'masks', 'scores'], torch.Size([1, 60, 80]))
    """

    def __init__(
        self,
        backbone: nn.Module,
        R: int = 9,
        K: int = 5,
        *,
        head: BinHead | None = None,
        roi_pool: nn.Module | None = None,
        anchors: AnchorGenerator | None = None,
        proposals: int = 300,
        masks_per_image: int = 64,
        mask_threshold: float = 0.5,
        min_size: int = 800,
        max_size: int = 1333,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, nn.Module) or not hasattr(backbone, "out_channels"):
            raise TypeError(f"RPNOMN: expected backbone a module with out_channels, got {type(backbone).__name__}")
        for name, count in (("proposals", proposals), ("masks_per_image", masks_per_image)):
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"RPNOMN: expected {name} of at least 1, got {count!r}")
        if not 0 < mask_threshold < 1:
            raise ValueError(f"RPNOMN: expected mask_threshold between 0 and 1, got {mask_threshold}")
        pyramid = isinstance(backbone, BackboneWithFPN)
        if roi_pool is None:
            roi_pool = MultiScaleRoIAlign(["0", "1", "2", "3"] if pyramid else ["0"], 14, sampling_ratio=2)
        if anchors is None:
            anchors = pyramid_anchors() if pyramid else single_map_anchors()
        channels: int = backbone.out_channels  # type: ignore[assignment]
        self.masks_per_image, self.mask_threshold = masks_per_image, mask_threshold
        self.transform = GeneralizedRCNNTransform(min_size, max_size, _IMAGE_MEAN, _IMAGE_STD)
        self.backbone = backbone
        self.rpn = ScoredProposals(channels, anchors, proposals)
        self.mask_branch = OMNBranch(roi_pool, OMNHead(channels, R, K) if head is None else head, **options)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, proposals otherwise; see the class."""
        check_pictures("RPNOMN", images, targets, training=self.training, labels=False)
        check_device("RPNOMN", images[0], next(self.parameters()), "pictures", "the model")
        if not self.training:
            return [
                found | {"masks": paste(torch.arange(len(found["boxes"])))}
                for found, paste in self.detect_windows(images)
            ]
        assert targets is not None
        batch, resized = self.transform(list(images), [dict(target) for target in targets])
        features = self._features(batch)
        boxes, _, losses = self.rpn.propose(batch, features, resized)
        rois = self._positive(boxes, resized)
        masks = [target["masks"] for target in resized]
        return losses | self.mask_branch.losses(features, rois, batch.image_sizes, masks)

    def _positive(self, proposals: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> MatchedBoxes:
        """Random boxes that overlap an object; the objects' own boxes are among the candidates."""
        boxes, matched = [], []
        for part, target in zip(proposals, targets, strict=True):
            candidates = torch.cat([part, target["boxes"].to(part)])
            if len(target["boxes"]) == 0:
                candidates = candidates[:0]
                index = candidates.new_zeros(0, dtype=torch.int64)
            else:
                best = box_iou(candidates, target["boxes"].to(part)).max(1)
                found = torch.where(best.values >= POSITIVE_IOU)[0]
                found = found[torch.randperm(len(found), device=found.device)[: self.masks_per_image]]
                candidates, index = candidates[found], best.indices[found]
            boxes.append(candidates)
            matched.append(index)
        return MatchedBoxes(boxes, matched)

    def detect_windows(self, images: Sequence[Tensor]) -> list[tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]]:
        """Proposals without masks of the whole picture, of which there would be hundreds.

        Args:
            images: as for ``forward``, in evaluation mode.

        Returns:
            By picture boxes [n,4] and scores [n], and a function from indices [k] of them to masks [k,1,H,W] bool.
        """
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        batch, _ = self.transform(list(images))
        features = self._features(batch)
        boxes, scores, _ = self.rpn.propose(batch, features, None)
        windows = self.mask_branch.windows(features, boxes, batch.image_sizes)
        found = [{"boxes": part, "scores": score} for part, score in zip(boxes, scores, strict=True)]
        found = self.transform.postprocess(found, batch.image_sizes, sizes)
        return [
            (proposals, partial(self._paste, part, proposals["boxes"], size))
            for proposals, part, size in zip(found, windows, sizes, strict=True)
        ]

    def _features(self, batch: ImageList) -> dict[str, Tensor]:
        features = self.backbone(batch.tensors)
        return {"0": features} if isinstance(features, Tensor) else features

    def _paste(self, windows: Tensor, boxes: Tensor, size: tuple[int, int], index: Tensor) -> Tensor:
        index = index.to(boxes.device)
        return self.mask_branch.paste(windows[index], boxes[index], size, self.mask_threshold)
