"""Multi-task network cascade: boxes, masks and classes, each stage on the result of the one before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import resize_boxes

from cnnfast.arguments.checks import check_word
from cnnfast.detection.anchors import pyramid_anchors, single_map_anchors
from cnnfast.detection.checks import check_boxes, check_pictures
from cnnfast.detection.roi_pooling import RoIPooler
from cnnfast.features.detection_backbones import BACKBONES
from cnnfast.models.instance_segmentation.mnc.cascade import Cascade
from cnnfast.models.instance_segmentation.mnc.masks import BinaryMaskBranch, MaskBranch, ObjectMaskBranch
from cnnfast.models.instance_segmentation.mnc.rpn import CascadeRPN
from cnnfast.models.instance_segmentation.mnc.stages import RESOLUTION, CascadeStage, RegionBranch
from cnnfast.models.instance_segmentation.mnc.targets import BINARY_THRESHOLD, Target
from cnnfast.models.instance_segmentation.mnc.transform import CascadeTransform
from cnnfast.models.instance_segmentation.mnc.voting import mask_voting
from cnnfast.models.instance_segmentation.object_masks.heads import OMNHeadFC
from cnnfast.models.instance_segmentation.object_masks.windows import paste_windows
from cnnfast.weights import PREPROCESSINGS

MASK_HEADS = ("binary", "omn")
"""Masks inside the box, and object mask networks, whose masks may leave it."""


class MNCCascade(nn.Module):
    r"""Multi-task network cascade of 3 or 5 stages.

    Stage 1 proposes boxes, stage 2 gives each a mask, stage 3 classifies box and mask and corrects the box; stages 4
    and 5 repeat 2 and 3 on the corrected boxes. The loss is

    .. math::
        L = L_1 + \sum_{t} (2 L_{mask} + L_{class} + L_{segment} + L_{box})

    summed over the one or two times t that stages 2 and 3 are run.

    Training: ``forward(images, targets)`` returns the weighted losses by name, those of stages 4 and 5 with the ending
    "_refined". Their sum is the loss of the whole. Evaluation: ``forward(images)`` returns, for each picture, boxes
    [n,4], labels [n], scores [n] and masks [n,1,H,W] bool, by `mask_voting` over the masks of stages 2 and 4.

    Shape:
        - images: tensors [3,H,W], RGB in [0,1], of any sizes.
        - targets: for each picture boxes [m,4] (x0,y0,x1,y1), labels [m] in 1..num_classes - 1, masks [m,H,W].

    Args:
        backbone: "vgg16", "resnet50_c4" or "resnet50_fpn" without weights, or a module from pictures to a map or a
            dict of maps, with ``out_channels`` and, unless its input convention is torchvision's, ``preprocessing``.
        num_classes: with the background.
        mask_head: "binary" or "omn".
        stages: 3 or 5.
        share: whether stages 4 and 5 are the same layers as 2 and 3.
        roi: "align", or "warp" for gradients through the boxes of later stages and of the proposals.
        mask_size: S, cells a side of a mask in its box.
        R: truncation of the distances, in cells (object masks).
        K: bins of the distances (object masks).
        activation: of the bins, "softmax", or "sigmoid" for independent maps as in the paper (object masks).
        decode: "soft", "hard" or "max", how masks are decoded for detections (object masks).
        inside_box: crop masks to their box, for comparisons (object masks); may be changed at any time.
        mask_width: of the hidden layer of the masks.
        width: of the fully connected layers of the classes; 1024 suits ResNets.
        anchors: of the proposals; by default nine of 128 to 512 px, for a pyramid three for each level.
        min_box_size: px of the input; smaller proposals are dropped.
        candidates: best boxes of a feature map before non-maximum suppression; None: 12000 in training and 6000 in
            testing.
        proposals: boxes of each picture after non-maximum suppression.
        rois_per_image: boxes of each picture to train on.
        min_size: px of the shorter side to which pictures are resized.
        max_size: largest px of the longer side, which takes precedence.
        nms_threshold: of the voting.
        max_detections: in each picture.

    Raises:
        ValueError: unknown words, wrong shapes, boxes without area, labels out of range.
        TypeError: a backbone without ``out_channels``; pictures that are no floating-point tensors.

    Source: Dai, He, Sun, "Instance-aware Semantic Segmentation via Multi-task Network Cascades", CVPR 2016; Hayder,
        He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, for object masks.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from cnnfast.models.instance_segmentation.mnc.network import MNCCascade
        >>> backbone = nn.Conv2d(3, 8, 16, stride=16)
        >>> backbone.out_channels = 8
        >>> model = MNCCascade(backbone, 3, "binary", 5, width=16, min_size=64, max_size=64, proposals=20).eval()
        >>> with torch.no_grad():
        ...     result = model([torch.rand(3, 64, 48)])[0]
        >>> sorted(result), result["masks"].shape[1:]
        (['boxes', 'labels', 'masks', 'scores'], torch.Size([1, 64, 48]))
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        num_classes: int,
        mask_head: str = "binary",
        stages: int = 5,
        share: bool = True,
        *,
        roi: str = "align",
        mask_size: int = 21,
        R: int = 9,
        K: int = 5,
        activation: str = "softmax",
        decode: str = "soft",
        inside_box: bool = False,
        mask_width: int = 256,
        width: int = 4096,
        anchors: AnchorGenerator | None = None,
        min_box_size: float = 16.0,
        candidates: int | None = None,
        proposals: int = 300,
        rois_per_image: int = 64,
        min_size: int = 600,
        max_size: int = 1000,
        nms_threshold: float = 0.3,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        check_word("MNCCascade", "mask_head", mask_head, MASK_HEADS)
        if stages not in (3, 5):
            raise ValueError(f"MNCCascade: expected stages 3 or 5, got {stages!r}")
        if num_classes < 2:
            raise ValueError(f"MNCCascade: expected num_classes at least 2, background and a class, got {num_classes}")
        self.backbone, channels = _backbone(backbone)
        self.num_classes, self.stages = num_classes, stages
        self.nms_threshold, self.max_detections = nms_threshold, max_detections
        preprocessing = getattr(self.backbone, "preprocessing", PREPROCESSINGS["torchvision"])
        self.transform = CascadeTransform(min_size, max_size, preprocessing)
        if anchors is None:
            anchors = pyramid_anchors() if isinstance(self.backbone, BackboneWithFPN) else single_map_anchors()
        self.rpn = CascadeRPN(
            channels,
            anchors,
            min_box_size=min_box_size,
            candidates=candidates,
            proposals=proposals,
            gradient_in_boxes=roi == "warp",
        )

        def stage() -> CascadeStage:
            mask: MaskBranch = BinaryMaskBranch(channels, RESOLUTION, mask_width, mask_size)
            if mask_head == "omn":
                head = OMNHeadFC(
                    channels, R, K, activation=activation, roi_size=RESOLUTION, size=mask_size, hidden=mask_width
                )
                mask = ObjectMaskBranch(head, decode)
            return CascadeStage(mask, RegionBranch(channels, num_classes, width))

        passes = (stages - 1) // 2
        layers = [stage() for _ in range(1 if share else passes)]
        self.cascade = Cascade(RoIPooler(RESOLUTION, roi), layers, passes, rois_per_image, inside_box)

    @property
    def inside_box(self) -> bool:
        """Whether masks are cropped to their box."""
        return self.cascade.inside_box

    @inside_box.setter
    def inside_box(self, value: bool) -> None:
        self.cascade.inside_box = value

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, detections otherwise; see the class."""
        check_pictures("MNCCascade", images, targets, training=self.training, classes=self.num_classes - 1)
        if not self.training:
            return self._detect(images)
        assert targets is not None
        batch, resized = self.transform(images, targets)
        features = self._features(batch)
        proposals, losses = self.rpn(batch, features, resized)
        return losses | self.cascade.losses(batch, features, proposals, resized)

    @torch.no_grad()
    def segment_boxes(
        self, images: Sequence[Tensor], boxes: Sequence[Tensor], *, refine: bool = False
    ) -> list[dict[str, Tensor]]:
        """Masks and classes of given boxes, without proposals and without voting.

        Args:
            images: as for ``forward``.
            boxes: by picture, [n,4] in its pixels.
            refine: correct the boxes and give them the masks of stage 4 instead of stage 2.

        Returns:
            By picture, in the given order: boxes [n,4], labels [n], scores [n], masks [n,1,H,W] bool.

        Raises:
            ValueError: `refine` with a cascade of three stages, or boxes for another number of pictures.
        """
        check_pictures("segment_boxes", images)
        if len(boxes) != len(images):
            raise ValueError(f"segment_boxes: expected boxes for {len(images)} images, got {len(boxes)}")
        for given in boxes:
            check_boxes("segment_boxes", given)
        if refine and self.stages == 3:
            raise ValueError("segment_boxes: expected a cascade of five stages to refine boxes, got three")
        batch, resized = self.transform(images, [{"boxes": given} for given in boxes])
        scaled = [target["boxes"] for target in resized]
        parts = self.cascade.predict(batch, self._features(batch), scaled)[-1 if refine else 0]
        results = []
        for image, size, part in zip(images, batch.image_sizes, parts, strict=True):
            original = (image.shape[1], image.shape[2])
            moved = resize_boxes(part.boxes, size, original)
            inner = part.windows.shape[-1] - 2 * self.cascade.halo
            masks = paste_windows(part.windows, moved, inner, self.cascade.halo, original, BINARY_THRESHOLD)
            best = part.scores[:, 1:].max(1)
            results.append({"boxes": moved, "labels": best.indices + 1, "scores": best.values, "masks": masks})
        return results

    def _features(self, batch: ImageList) -> dict[str, Tensor]:
        features = self.backbone(batch.tensors)
        return {"0": features} if isinstance(features, Tensor) else features

    def _detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        batch, _ = self.transform(images)
        features = self._features(batch)
        proposals, _ = self.rpn(batch, features)
        by_pass = self.cascade.predict(batch, features, proposals)
        results = []
        for image, size, parts in zip(images, batch.image_sizes, zip(*by_pass, strict=True), strict=True):
            original = (image.shape[1], image.shape[2])
            detections = mask_voting(
                torch.cat([part.windows for part in parts]),
                resize_boxes(torch.cat([part.boxes for part in parts]), size, original),
                torch.cat([part.scores for part in parts]),
                original,
                halo=self.cascade.halo,
                nms_threshold=self.nms_threshold,
                max_detections=self.max_detections,
            )
            results.append(detections)
        return results


def _backbone(backbone: str | nn.Module) -> tuple[nn.Module, int]:
    if isinstance(backbone, str):
        if backbone not in BACKBONES:
            expected = ", ".join(f'"{known}"' for known in BACKBONES)
            raise ValueError(f"MNCCascade: expected backbone {expected} or a module, got {backbone!r}")
        backbone = BACKBONES[backbone]()
    channels = getattr(backbone, "out_channels", None)
    if not isinstance(channels, int):
        raise TypeError(f"MNCCascade: expected a backbone with out_channels, got {type(backbone).__name__}")
    return backbone, channels
