"""Losses of neural texture synthesis and style transfer."""

from cnnfast.layers.style.content import ContentLoss, MeanFeatureLoss, ScaledMSELoss
from cnnfast.layers.style.gram import StyleLoss
from cnnfast.layers.style.texture import TextureLoss
from cnnfast.layers.style.total_variation import TVLoss
from cnnfast.layers.style.wasserstein import WassersteinStyleLoss

__all__ = [
    "ContentLoss",
    "MeanFeatureLoss",
    "ScaledMSELoss",
    "StyleLoss",
    "TVLoss",
    "TextureLoss",
    "WassersteinStyleLoss",
]
