"""torch.nn layers over the fused operators, a subpackage a family."""

from cnnfast.layers.distance import BinsToMask, InverseDistanceTransform, MaskToBins
from cnnfast.layers.style import (
    ContentLoss,
    StyleLoss,
    TextureLoss,
    TVLoss,
    WassersteinStyleLoss,
)

__all__ = [
    "BinsToMask",
    "ContentLoss",
    "InverseDistanceTransform",
    "MaskToBins",
    "StyleLoss",
    "TVLoss",
    "TextureLoss",
    "WassersteinStyleLoss",
]
