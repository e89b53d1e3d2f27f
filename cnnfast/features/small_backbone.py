"""A small backbone with a feature pyramid, for small pictures and for machines without a GPU."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork


class SmallBackbone(nn.Module):
    """Eight convolutions with batch norm, and maps of strides 4, 8 and 16 with the same channels.

    Shape:
        - pictures: [B,3,H,W].
        - output: "0", "1", "2": [B,C,H/4,W/4], [B,C,H/8,W/8], [B,C,H/16,W/16].

    Attributes:
        MAPS: their names.

    Args:
        width: channels of stride 2; each halving of the sides doubles them.
        out_channels: C.

    Source: the pyramid is that of Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.

    Example:
        >>> import torch
        >>> from cnnfast.features.small_backbone import SmallBackbone
        >>> features = SmallBackbone(8, 16)(torch.rand(1, 3, 64, 48))
        >>> [tuple(level.shape[1:]) for level in features.values()]
        [(16, 16, 12), (16, 8, 6), (16, 4, 3)]
    """

    MAPS = ("0", "1", "2")

    def __init__(self, width: int = 32, out_channels: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        self.stem = _stage(3, widths[0])
        self.stages = nn.ModuleList(_stage(before, after) for before, after in pairwise(widths))
        self.fpn = FeaturePyramidNetwork(widths[1:], out_channels)
        self.out_channels = out_channels

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps = OrderedDict[str, Tensor]()
        x = self.stem(pictures)
        for name, stage in zip(self.MAPS, self.stages, strict=True):
            x = maps[name] = stage(x)
        features: dict[str, Tensor] = self.fpn(maps)
        return features


def _stage(before: int, after: int) -> nn.Sequential:
    """Two convolutions, the first one of stride 2."""
    return nn.Sequential(Conv2dNormActivation(before, after, stride=2), Conv2dNormActivation(after, after))
