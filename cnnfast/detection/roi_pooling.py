"""Features of boxes from one map or a pyramid of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from cnnfast.arguments.checks import check_word
from cnnfast.detection.roi_warp import RoIWarp

ROI_METHODS = ("align", "warp")
"""RoIAlign with aligned coordinates, which has no gradient in the boxes, and RoI warping, which has."""


class RoIPooler(nn.Module):
    """S x S features of each box, from the map that suits the box's size.

    Boxes choose their level as in feature pyramid networks: a box of 224 x 224 px takes the map of stride 16. Maps
    named "pool", which torchvision's pyramids add for the anchors alone, are left out.

    Shape:
        - features: maps [B,C,H_l,W_l] by name, the finest first.
        - boxes: B tensors [n_b,4], in pixels of the picture.
        - image_size: (height, width) of the batch of pictures, padding included.
        - output: [n,C,S,S].

    Args:
        output_size: S.
        method: "align" (2 x 2 samples a bin) or "warp".

    Raises:
        ValueError: unknown method.

    Source: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1; He et al., "Mask R-CNN",
        ICCV 2017, section 3.

    Example:
        >>> import torch
        >>> from cnnfast.detection.roi_pooling import RoIPooler
        >>> features = {"0": torch.rand(1, 3, 16, 16), "1": torch.rand(1, 3, 8, 8)}
        >>> RoIPooler(14)(features, [torch.tensor([[4.0, 4.0, 50.0, 40.0]])], (64, 64)).shape
        torch.Size([1, 3, 14, 14])
    """

    def __init__(self, output_size: int, method: str = "align") -> None:
        super().__init__()
        check_word("RoIPooler", "method", method, ROI_METHODS)
        self.output_size, self.method = output_size, method

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], image_size: tuple[int, int]) -> Tensor:
        """See the class."""
        maps = [level for name, level in features.items() if name != "pool"]
        scales = [level.shape[-2] / image_size[0] for level in maps]
        if len(maps) == 1:
            return self._pool(maps[0], boxes, scales[0])
        finest, coarsest = (round(-math.log2(scale)) for scale in (scales[0], scales[-1]))
        levels = LevelMapper(finest, coarsest)([part.detach() for part in boxes])
        levels_by_picture = levels.split([len(part) for part in boxes])
        parts, order = [], []
        for index, (level, scale) in enumerate(zip(maps, scales, strict=True)):
            here = [part[chosen == index] for part, chosen in zip(boxes, levels_by_picture, strict=True)]
            parts.append(self._pool(level, here, scale))
            order.append(torch.where(levels == index)[0])
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _pool(self, features: Tensor, boxes: Sequence[Tensor], scale: float) -> Tensor:
        if self.method == "warp":
            return RoIWarp(self.output_size, scale)(features, boxes)
        # Half types are too coarse for coordinates.
        compute = torch.promote_types(features.dtype, torch.float32)
        typed = [part.to(compute) for part in boxes]
        pooled = roi_align(features.to(compute), typed, self.output_size, scale, sampling_ratio=2, aligned=True)
        return pooled.to(features.dtype)

    def extra_repr(self) -> str:
        """Size and method."""
        return f"{self.output_size}, method={self.method!r}"
