"""torch.nn layers over the fused operators, a subpackage a family."""

from cnnfast.layers.distance import BinsToMask, InverseDistanceTransform, MaskToBins
from cnnfast.layers.style import (
    ContentLoss,
    MeanFeatureLoss,
    ScaledMSELoss,
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
    "MeanFeatureLoss",
    "ScaledMSELoss",
    "StyleLoss",
    "TVLoss",
    "TextureLoss",
    "WassersteinStyleLoss",
]
