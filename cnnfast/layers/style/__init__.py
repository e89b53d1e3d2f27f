"""Losses of neural texture synthesis and style transfer."""

from cnnfast.layers.style.content import ContentLoss
from cnnfast.layers.style.gram import StyleLoss
from cnnfast.layers.style.texture import TextureLoss
from cnnfast.layers.style.total_variation import TVLoss
from cnnfast.layers.style.wasserstein import WassersteinStyleLoss

__all__ = [
    "ContentLoss",
    "StyleLoss",
    "TVLoss",
    "TextureLoss",
    "WassersteinStyleLoss",
]
