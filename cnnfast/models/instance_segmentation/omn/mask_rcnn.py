"""torchvision's Mask R-CNN with an object mask network: masks that leave their boxes, from the same calls."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from cnnfast.detection.checks import check_detector_call
from cnnfast.models.instance_segmentation.object_masks.branch import MatchedBoxes, OMNBranch
from cnnfast.models.instance_segmentation.object_masks.heads import OMNHead


class OMNRoIHeads(RoIHeads):
    """torchvision's heads of boxes and keypoints, with an object mask network instead of the mask branch.

    Args:
        heads: the heads whose parts are taken over.
        branch: the masks.
    """

    def __init__(self, heads: RoIHeads, branch: OMNBranch) -> None:
        # Thresholds and samplers are taken over below, as they are.
        super().__init__(
            box_roi_pool=heads.box_roi_pool,
            box_head=heads.box_head,
            box_predictor=heads.box_predictor,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=512,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=heads.score_thresh,
            nms_thresh=heads.nms_thresh,
            detections_per_img=heads.detections_per_img,
            keypoint_roi_pool=heads.keypoint_roi_pool,
            keypoint_head=heads.keypoint_head,
            keypoint_predictor=heads.keypoint_predictor,
        )
        self.proposal_matcher = heads.proposal_matcher
        self.fg_bg_sampler = heads.fg_bg_sampler
        self.box_coder = heads.box_coder
        self.box_similarity = heads.box_similarity
        self.mask_branch = branch
        self._sampled: MatchedBoxes | None = None
        self.train(heads.training)

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """As torchvision's; the boxes with an object are kept for the masks."""
        samples = super().select_training_samples(proposals, targets)
        boxes, matched, labels, _ = samples
        found = [label > 0 for label in labels]
        picked = [[part[f] for part, f in zip(parts, found, strict=True)] for parts in (boxes, matched, labels)]
        self._sampled = MatchedBoxes(*picked)
        return samples

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """As torchvision's, with masks of windows [n,1,S+2P,S+2P]."""
        # Without mask_predictor torchvision's forward leaves the masks out.
        result, losses = super().forward(features, proposals, image_shapes, targets)
        if not self.training:
            boxes, labels = [r["boxes"] for r in result], [r["labels"] for r in result]
            windows = self.mask_branch.windows(features, boxes, image_shapes, labels)
            for detections, part in zip(result, windows, strict=True):
                detections["masks"] = part
            return result, losses
        sampled, self._sampled = self._sampled, None
        assert targets is not None and sampled is not None
        gt_masks = [target["masks"] for target in targets]
        losses.update(self.mask_branch.losses(features, sampled, image_shapes, gt_masks))
        return result, losses


class OMNTransform(GeneralizedRCNNTransform):
    """torchvision's transform, whose ``postprocess`` turns the masks of windows into masks of the whole picture.

    Args:
        transform: the one whose settings are taken over.
        branch: the branch that makes the windows.
    """

    def __init__(self, transform: GeneralizedRCNNTransform, branch: OMNBranch) -> None:
        super().__init__(
            transform.min_size,
            transform.max_size,
            transform.image_mean,
            transform.image_std,
            transform.size_divisible,
            transform.fixed_size,
            _skip_resize=transform._skip_resize,
        )
        # In a tuple, so that the branch is a submodule of the heads alone.
        self._branch = (branch,)
        self.train(transform.training)

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Boxes, keypoints and masks of the pictures as they were before they were resized."""
        if self.training:
            return result
        windows = [detections.pop("masks") for detections in result]
        result = super().postprocess(result, image_shapes, original_image_sizes)
        for detections, part, size in zip(result, windows, original_image_sizes, strict=True):
            detections["masks"] = self._branch[0].paste(part, detections["boxes"], size)
        return result


def convert_maskrcnn_to_omn(
    model: MaskRCNN,
    R: int = 9,
    K: int = 5,
    *,
    class_specific: bool = False,
    activation: str = "softmax",
    **options: Any,
) -> MaskRCNN:
    """Replace the mask branch of a Mask R-CNN of torchvision by an object mask network.

    Backbone, proposals and boxes keep their weights and their names in the state dict. The mask branch keeps its
    convolutions and their weights; its last layer predicts bins instead of classes, starts at random and is to be
    trained. The model is called as before: in training it wants targets with masks and returns losses, now with
    "loss_mask_bins"; in evaluation ``result["masks"]`` are [n,1,H,W] in [0,1].

    Args:
        model: changed in place.
        R: distance in cells, of which a box has 28 a side, at which the bins end.
        K: bins.
        class_specific: bins of their own for each class.
        activation: "softmax" over background and bins, or "sigmoid".
        options: decode, context, image_edge, lambda_bin and lambda_mask of `OMNBranch`.

    Returns:
        The model.

    Raises:
        TypeError: model is no Mask R-CNN with torchvision's own heads and transform.
        ValueError: an option out of range, or a mask branch whose features are not square.

    Note:
        The model checks pictures and targets before each call: wrong kinds, dtypes and devices raise TypeError or
        ValueError, as do boxes without area or not finite.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017; He et al., "Mask R-CNN", ICCV 2017.

    Example:
        >>> import torch
        >>> from torchvision.models.detection import maskrcnn_resnet50_fpn
        >>> from cnnfast.models.instance_segmentation import convert_maskrcnn_to_omn
        >>> model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=64, num_classes=3)
        >>> model = convert_maskrcnn_to_omn(model).eval()
        >>> with torch.no_grad():
        ...     (result,) = model([torch.rand(3, 60, 80)])
        >>> sorted(result), result["masks"].shape[1:]
        (['boxes', 'labels', 'masks', 'scores'], torch.Size([1, 60, 80]))
    """
    if not isinstance(model, MaskRCNN):
        raise TypeError(f"convert_maskrcnn_to_omn: expected model a torchvision MaskRCNN, got {type(model).__name__}")
    for name, expected in (("roi_heads", RoIHeads), ("transform", GeneralizedRCNNTransform)):
        if type(getattr(model, name)) is not expected:
            got = type(getattr(model, name)).__name__
            raise TypeError(f"convert_maskrcnn_to_omn: expected {name} of type {expected.__name__}, got {got}")
    heads = model.roi_heads
    height, width = heads.mask_roi_pool.output_size
    if height != width:
        raise ValueError(f"convert_maskrcnn_to_omn: expected square features of boxes, got {height} x {width}")
    classes = heads.box_predictor.cls_score.out_features if class_specific else None
    head = _head_like(heads, model.backbone.out_channels, R, K, height, classes, activation)
    branch = OMNBranch(heads.mask_roi_pool, head, **options).to(next(model.parameters()).device)
    model.roi_heads = OMNRoIHeads(heads, branch)
    model.transform = OMNTransform(model.transform, branch)
    model.register_forward_pre_hook(check_detector_call, with_kwargs=True)
    return model


def maskrcnn_omn(
    backbone: nn.Module,
    num_classes: int,
    R: int = 9,
    K: int = 5,
    *,
    class_specific: bool = False,
    activation: str = "softmax",
    decode: str = "soft",
    context: int = 0,
    image_edge: str = "open",
    lambda_bin: float = 1.0,
    lambda_mask: float = 0.1,
    **kwargs: Any,
) -> MaskRCNN:
    """A Mask R-CNN whose masks may leave their boxes.

    Args:
        backbone: with attribute ``out_channels``, as torchvision's Mask R-CNN takes it.
        num_classes: the background included.
        R: distance in cells at which the bins end.
        K: bins.
        class_specific: bins of their own for each class.
        activation: "softmax" over background and bins, or "sigmoid".
        decode: "soft", "hard" or "max", see `decode_bins`.
        context: cells by which boxes grow for the masks.
        image_edge: "open" or "closed", see `sample_windows`.
        lambda_bin: weight of the loss of the bins.
        lambda_mask: weight of the loss of the decoded mask.
        kwargs: of torchvision's ``MaskRCNN``.

    Raises:
        TypeError: a backbone that is no module with ``out_channels``.
        ValueError: an option out of range.

    Source: see `convert_maskrcnn_to_omn`.

    Example:
        >>> import torch
        >>> from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        >>> from cnnfast.models.instance_segmentation import maskrcnn_omn
        >>> backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        >>> model = maskrcnn_omn(backbone, num_classes=3, decode="hard", min_size=64).eval()
        >>> model.roi_heads.mask_branch.head.size, model.roi_heads.mask_branch.head.halo
        (28, 7)
    """
    if not isinstance(backbone, nn.Module) or not hasattr(backbone, "out_channels"):
        raise TypeError(f"maskrcnn_omn: expected backbone a module with out_channels, got {type(backbone).__name__}")
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"maskrcnn_omn: expected num_classes of at least 2, background and a class, got {num_classes}")
    return convert_maskrcnn_to_omn(
        MaskRCNN(backbone, num_classes, **kwargs),
        R,
        K,
        class_specific=class_specific,
        activation=activation,
        decode=decode,
        context=context,
        image_edge=image_edge,
        lambda_bin=lambda_bin,
        lambda_mask=lambda_mask,
    )


def _head_like(
    heads: RoIHeads, in_channels: int, R: int, K: int, roi_size: int, classes: int | None, activation: str
) -> OMNHead:
    """A head with the convolutions of a mask branch of torchvision, or with new ones where the branch is another."""
    predictor = heads.mask_predictor
    if not isinstance(predictor, MaskRCNNPredictor):
        return OMNHead(in_channels, R, K, roi_size=roi_size, num_classes=classes, activation=activation)
    upsample = predictor.conv5_mask
    head = OMNHead(
        upsample.in_channels,
        R,
        K,
        roi_size=roi_size,
        trunk_channels=(),
        upsampled_channels=upsample.out_channels,
        num_classes=classes,
        activation=activation,
    )
    head.trunk, head.upsample = heads.mask_head, upsample
    return head
