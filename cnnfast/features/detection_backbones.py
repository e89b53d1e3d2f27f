"""Backbones of a multi-task network cascade: VGG-16 up to conv5_3, ResNet-50 up to stage 4, and with a pyramid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.vgg import cfgs, make_layers
from torchvision.ops import FrozenBatchNorm2d

from cnnfast.weights import PREPROCESSINGS, Preprocessing, VGGWeights, vgg_convolution_names, vgg_layer_names

MNC_INPUT = Preprocessing("mnc", "BGR", 255.0, (102.9801, 115.9465, 122.7717))
"""Input convention of the published cascade."""

# conv1_1 to pool2.
_FROZEN_VGG_LAYERS = 10


def vgg16_c5(weights: VGGWeights | None = None, *, freeze: bool | None = None) -> nn.Module:
    """VGG-16 without its last pooling: 512 channels of stride 16.

    Args:
        weights: of the convolutions, with their input convention.
        freeze: whether conv1 and conv2 are frozen; None: if weights are given.

    Returns:
        A module with ``out_channels`` and ``preprocessing``.

    Raises:
        ValueError: weights of another network.

    Example:
        >>> from cnnfast.features.detection_backbones import vgg16_c5
        >>> backbone = vgg16_c5()
        >>> backbone.out_channels, backbone.preprocessing.order
        (512, 'BGR')
    """
    if weights is not None and weights.arch != "vgg16":
        raise ValueError(f"vgg16_c5: expected weights of vgg16, got {weights.arch}")
    layers = make_layers(cfgs["D"], batch_norm=False)[:-1]
    names = vgg_layer_names("vgg16")
    for name in vgg_convolution_names("vgg16"):
        layer = layers[names.index(name)]
        if weights is None:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        else:
            weight, bias = weights.state[name]
            layer.weight.data.copy_(weight)
            layer.bias.data.copy_(bias)
    if freeze or (freeze is None and weights is not None):
        layers[:_FROZEN_VGG_LAYERS].requires_grad_(False)
    return _described(layers, 512, MNC_INPUT if weights is None else PREPROCESSINGS[weights.preprocessing])


def resnet50_c4(weights: Any = None, *, freeze: bool | None = None) -> nn.Module:
    """ResNet-50 up to its fourth stage: 1024 channels of stride 16.

    Args:
        weights: one of torchvision's ``ResNet50_Weights``.
        freeze: whether the first two stages and all batch norms are frozen; None: if weights are given.

    Returns:
        A module with ``out_channels`` and ``preprocessing``.
    """
    frozen = weights is not None if freeze is None else freeze
    body = resnet50(weights=weights, norm_layer=_norm_layer(frozen))
    if frozen:
        for part in (body.conv1, body.bn1, body.layer1):
            part.requires_grad_(False)
    return _described(IntermediateLayerGetter(body, {"layer3": "0"}), 1024, PREPROCESSINGS["torchvision"])


def resnet50_fpn(weights: Any = None, *, freeze: bool | None = None) -> nn.Module:
    """ResNet-50 with a feature pyramid: 256 channels of strides 4 to 32, and 64 for the anchors alone.

    Args:
        weights: one of torchvision's ``ResNet50_Weights``.
        freeze: whether the first two stages and all batch norms are frozen; None: if weights are given.

    Returns:
        A module with ``out_channels`` and ``preprocessing``.
    """
    frozen = weights is not None if freeze is None else freeze
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=weights,
        norm_layer=_norm_layer(frozen),
        trainable_layers=3 if frozen else 5,
    )
    return _described(backbone, 256, PREPROCESSINGS["torchvision"])


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "vgg16": vgg16_c5,
    "resnet50_c4": resnet50_c4,
    "resnet50_fpn": resnet50_fpn,
}
"""Backbones by name, without weights."""


def _norm_layer(frozen: bool) -> type[nn.Module]:
    return FrozenBatchNorm2d if frozen else nn.BatchNorm2d


def _described(module: Any, out_channels: int, preprocessing: Preprocessing) -> nn.Module:
    module.out_channels, module.preprocessing = out_channels, preprocessing
    return module
