"""torch.nn layers over the fused operators, a subpackage a family."""

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
    "ContentLoss",
    "MeanFeatureLoss",
    "ScaledMSELoss",
    "StyleLoss",
    "TVLoss",
    "TextureLoss",
    "WassersteinStyleLoss",
]
