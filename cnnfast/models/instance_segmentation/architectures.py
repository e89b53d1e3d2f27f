"""Networks of instance segmentation by name, from settings that a file can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from cnnfast.detection.anchors import small_anchors
from cnnfast.detection.checks import check_detector_call
from cnnfast.features.detection_backbones import resnet50_c4, vgg16_c5
from cnnfast.features.small_backbone import SmallBackbone
from cnnfast.models.instance_segmentation.mnc.network import MNCCascade
from cnnfast.models.instance_segmentation.object_masks.heads import OMNHead
from cnnfast.models.instance_segmentation.omn.mask_rcnn import convert_maskrcnn_to_omn
from cnnfast.models.instance_segmentation.omn.proposals import RPNOMN
from cnnfast.weights import PREPROCESSINGS

KINDS = ("maskrcnn-omn", "maskrcnn", "rpn-omn", "mnc-omn", "mnc")
"""Mask R-CNN with object masks and with torchvision's, segment proposals, and cascades with object and binary masks."""

BACKBONES = ("resnet50-fpn", "resnet18-fpn", "small", "resnet50-c4", "vgg16")
"""The last two have a single map and are for cascades."""

CLASSLESS = ("rpn-omn",)
"""Kinds that find objects of any class."""

_SINGLE_MAP = ("resnet50-c4", "vgg16")
# Options for pictures of about 100 px, and for machines without a GPU.
_SMALL_RCNN: dict[str, Any] = {
    "rpn_pre_nms_top_n_train": 400,
    "rpn_pre_nms_top_n_test": 400,
    "rpn_post_nms_top_n_train": 200,
    "rpn_post_nms_top_n_test": 100,
    "box_batch_size_per_image": 64,
}
_SMALL_PROPOSALS = 100
_SMALL_CASCADE: dict[str, Any] = {"min_box_size": 4.0, "proposals": _SMALL_PROPOSALS, "mask_width": 128, "width": 128}
_SMALL_REPRESENTATION = 256


@dataclass(frozen=True)
class ModelSettings:
    """Settings of a network.

    Attributes:
        kind: one of `KINDS`.
        backbone: one of `BACKBONES`.
        num_classes: with the background.
        R: truncation of the distances, in cells (object masks).
        K: bins of the distances (object masks).
        stages: 3 or 5 (cascades).
        min_size: px of the shorter side to which pictures are resized.
        max_size: largest px of the longer side, which takes precedence.
        frozen: whether batch norms and the first stages of the backbone are frozen.
        preprocessing: input convention of a VGG's weights; "" is its own.

    Raises:
        ValueError: unknown words, a backbone that does not suit the kind, or numbers out of range.

    Example:
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings
        >>> ModelSettings("maskrcnn", "vgg16")
        Traceback (most recent call last):
        ...
        ValueError: build_model: expected backbone resnet50-fpn or resnet18-fpn or small for maskrcnn, got 'vgg16'
    """

    kind: str = "maskrcnn-omn"
    backbone: str = "resnet50-fpn"
    num_classes: int = 2
    R: int = 9
    K: int = 5
    stages: int = 5
    min_size: int = 800
    max_size: int = 1333
    frozen: bool = False
    preprocessing: str = ""

    def __post_init__(self) -> None:
        """Checks all settings."""
        suited = self.backbones(self.kind)
        if self.kind not in KINDS:
            raise ValueError(f"build_model: expected kind {' or '.join(KINDS)}, got {self.kind!r}")
        if self.backbone not in suited:
            raise ValueError(
                f"build_model: expected backbone {' or '.join(suited)} for {self.kind}, got {self.backbone!r}"
            )
        classes = self.num_classes - 1
        if classes < 1:
            raise ValueError(f"build_model: expected at least one class beside the background, got {classes}")
        if self.kind in CLASSLESS and classes != 1:
            raise ValueError(f"build_model: expected one class for {self.kind}, got {classes}")
        if not 1 <= self.K <= self.R <= 255:
            raise ValueError(f"build_model: expected 1 <= K <= R <= 255, got R={self.R} and K={self.K}")
        if self.stages not in (3, 5):
            raise ValueError(f"build_model: expected stages 3 or 5, got {self.stages}")
        if not 1 <= self.min_size <= self.max_size:
            sizes = f"{self.min_size} and {self.max_size}"
            raise ValueError(f"build_model: expected 1 <= min_size <= max_size, got {sizes}")
        if self.preprocessing and self.preprocessing not in PREPROCESSINGS:
            known = " or ".join(PREPROCESSINGS)
            raise ValueError(f"build_model: expected preprocessing {known}, got {self.preprocessing!r}")

    @staticmethod
    def backbones(kind: str) -> tuple[str, ...]:
        """The backbones that suit a kind."""
        return BACKBONES if is_cascade(kind) else tuple(name for name in BACKBONES if name not in _SINGLE_MAP)

    def plain(self) -> dict[str, Any]:
        """As a dict for a file."""
        return asdict(self)


def is_cascade(kind: str) -> bool:
    """Whether networks of a kind are multi-task network cascades.

    Example:
        >>> from cnnfast.models.instance_segmentation.architectures import is_cascade
        >>> is_cascade("mnc-omn"), is_cascade("maskrcnn")
        (True, False)
    """
    return kind.startswith("mnc")


def default_sizes(kind: str) -> tuple[int, int]:
    """`min_size` and `max_size` of a kind, as published.

    Example:
        >>> from cnnfast.models.instance_segmentation.architectures import default_sizes
        >>> default_sizes("mnc")
        (600, 1000)
    """
    return (600, 1000) if is_cascade(kind) else (800, 1333)


def build_model(settings: ModelSettings) -> nn.Module:
    """A network with random weights, in training mode.

    Called with pictures and targets it returns its losses by name, in evaluation mode called with pictures boxes,
    labels, scores and masks [n,1,H,W].

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
        >>> model = build_model(ModelSettings("maskrcnn-omn", "small", min_size=64, max_size=64)).eval()
        >>> with torch.no_grad():
        ...     sorted(model([torch.rand(3, 64, 48)])[0])
        ['boxes', 'labels', 'masks', 'scores']
    """
    backbone = _backbone(settings)
    sizes: dict[str, Any] = {"min_size": settings.min_size, "max_size": settings.max_size}
    if is_cascade(settings.kind):
        return _cascade(settings, backbone, sizes)
    if settings.kind == "rpn-omn":
        return _proposals(settings, backbone, sizes)
    if settings.backbone == "small":
        model = MaskRCNN(backbone, None, **sizes, **_small_heads(backbone.out_channels, settings.num_classes))
    else:
        model = MaskRCNN(backbone, settings.num_classes, **sizes)
    if settings.kind == "maskrcnn-omn":
        return convert_maskrcnn_to_omn(model, settings.R, settings.K)
    model.register_forward_pre_hook(check_detector_call, with_kwargs=True)
    return model


def _cascade(settings: ModelSettings, backbone: Any, sizes: dict[str, Any]) -> MNCCascade:
    head = "omn" if settings.kind == "mnc-omn" else "binary"
    options = sizes | ({**_SMALL_CASCADE, "anchors": small_anchors()} if settings.backbone == "small" else {})
    return MNCCascade(backbone, settings.num_classes, head, settings.stages, R=settings.R, K=settings.K, **options)


def _proposals(settings: ModelSettings, backbone: Any, sizes: dict[str, Any]) -> RPNOMN:
    if settings.backbone != "small":
        return RPNOMN(backbone, settings.R, settings.K, **sizes)
    channels = backbone.out_channels
    return RPNOMN(
        backbone,
        head=OMNHead(channels, settings.R, settings.K, trunk_channels=(channels,) * 2, upsampled_channels=channels),
        roi_pool=MultiScaleRoIAlign(SmallBackbone.MAPS, 14, 2),
        anchors=small_anchors(),
        proposals=_SMALL_PROPOSALS,
        **sizes,
    )


def _small_heads(channels: int, num_classes: int) -> dict[str, Any]:
    return {
        **_SMALL_RCNN,
        "rpn_anchor_generator": small_anchors(),
        "box_head": TwoMLPHead(channels * 7**2, _SMALL_REPRESENTATION),
        "box_predictor": FastRCNNPredictor(_SMALL_REPRESENTATION, num_classes),
        "mask_head": MaskRCNNHeads(channels, (channels,) * 2, 1),
        "mask_predictor": MaskRCNNPredictor(channels, channels, num_classes),
    }


def _backbone(settings: ModelSettings) -> Any:
    norm = FrozenBatchNorm2d if settings.frozen else nn.BatchNorm2d
    name = settings.backbone
    if name == "small":
        return SmallBackbone()
    if name.endswith("-fpn"):
        return resnet_fpn_backbone(
            backbone_name=name.removesuffix("-fpn"),
            weights=None,
            norm_layer=norm,
            trainable_layers=3 if settings.frozen else 5,
        )
    if name == "resnet50-c4":
        return resnet50_c4(freeze=settings.frozen)
    backbone: Any = vgg16_c5(freeze=settings.frozen)
    if settings.preprocessing:
        backbone.preprocessing = PREPROCESSINGS[settings.preprocessing]
    return backbone
