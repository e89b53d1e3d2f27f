"""The loss of a feed-forward style network: content of the picture, style of another one, smoothness."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.features.vgg import VGGFeatures
from cnnfast.layers import ContentLoss, StyleLoss, TVLoss

FAST_STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""Layers of the style's statistics (Johnson, Alahi, Fei-Fei, ECCV 2016)."""

FAST_CONTENT_LAYERS = ("relu2_2",)
"""Layers of the content (Johnson, Alahi, Fei-Fei, ECCV 2016)."""

# Time constant, in steps, of the running means while the weight of the style is determined.
_MEMORY = 15

TERMS = ("content", "style", "tv")
"""Order of the terms."""


class PerceptualLoss(nn.Module):
    r"""Content, style and total variation of styled pictures, unweighted.

    .. math::
        L_c = \sum_l \mathrm{mean}(F_l(y) - F_l(x))^2, \quad
        L_s = \sum_l \mathrm{mean}(G_l(y) / (C_l M_l) - T_l)^2

    with the features F of a frozen network, their Gram matrices G over M positions, and those of the style, T, which
    are computed once and compared with every picture of a batch.

    Shape:
        - styled, pictures: [B,3,H,W], RGB, nominally in [0,1].
        - output: [3], content, style and total variation.

    Args:
        extractor: [B,3,H,W] to a dict of features, frozen.
        style: [3,h,w] in [0,1].
        style_layers: of the Gram matrices.
        content_layers: of the content.

    Raises:
        ValueError: a layer that the extractor does not have.

    Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016,
        section 3.2.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.feed_forward.losses import PerceptualLoss
        >>> class Net(torch.nn.Module):
        ...     def forward(self, image):
        ...         return {"a": image.exp()}
        >>> loss = PerceptualLoss(Net(), torch.rand(3, 9, 9), ["a"], ["a"])
        >>> x = torch.rand(2, 3, 8, 8)
        >>> loss(x, x)[0]
        tensor(0.)
    """

    def __init__(
        self, extractor: nn.Module, style: Tensor, style_layers: Sequence[str], content_layers: Sequence[str]
    ) -> None:
        super().__init__()
        self._extractors = (extractor, _cut(extractor, content_layers))
        self.style = nn.ModuleDict({name: StyleLoss(normalize="chw", scale="mean") for name in style_layers})
        self.content = nn.ModuleDict({name: ContentLoss() for name in content_layers})
        self.smoothness = TVLoss()
        with torch.no_grad():
            features = extractor(style[None])
        for name in (*style_layers, *content_layers):
            if name not in features:
                raise ValueError(f"PerceptualLoss: expected layers among {', '.join(features)}, got {name!r}")
        for name, loss in self.style.items():
            loss.capture(features[name])  # type: ignore[operator]

    def place(self, device: torch.device) -> None:
        """Move the extractor, which is not part of the module's parameters and state dict."""
        for extractor in self._extractors:
            extractor.to(device)

    def forward(self, styled: Tensor, pictures: Tensor) -> Tensor:
        """See the class."""
        extractor, shallow = self._extractors
        with torch.no_grad():
            wanted = shallow(pictures)
        features = extractor(styled)
        content, style = styled.new_zeros(()), styled.new_zeros(())
        for name, loss in self.content.items():
            loss.capture(wanted[name])  # type: ignore[operator]
            content = content + loss(features[name])
            loss.reset_parameters()  # type: ignore[operator]
        for name, loss in self.style.items():
            style = style + loss(features[name])
        return torch.stack([content, style, self.smoothness(styled)])


def _cut(extractor: nn.Module, layers: Sequence[str]) -> nn.Module:
    """A VGG that ends at the deepest of the layers; any other extractor as it is."""
    if not isinstance(extractor, VGGFeatures) or not set(layers) <= set(extractor.taps):
        return extractor
    cut = copy.deepcopy(extractor)
    names = list(cut.layers)
    for name in names[1 + max(map(names.index, layers)) :]:
        del cut.layers[name]
    cut.taps = tuple(layers)
    return cut


class TermWeights(nn.Module):
    """Weights of content, style and total variation; that of the style can be determined in training.

    Without a given style weight, it is chosen so that the weighted style loss is `strength` times the weighted content
    loss, both as running means over about 15 steps. It is updated during the first `settle` steps and fixed then. So a
    strength has the same meaning for every network and style.

    Args:
        content: weight.
        style: weight, or None to determine it.
        tv: weight.
        strength: wanted ratio of style to content.
        settle: number of steps until the weight is fixed.

    Raises:
        ValueError: a weight that is negative or not finite, or a strength that is not positive.
    """

    style_weight: Tensor
    means: Tensor
    seen: Tensor

    def __init__(
        self,
        content: float = 1.0,
        style: float | None = None,
        tv: float = 0.0,
        *,
        strength: float = 5.0,
        settle: int = 100,
    ) -> None:
        super().__init__()
        for name, value in (("content_weight", content), ("style_weight", style or 0.0), ("tv_weight", tv)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"train_fast_style: expected {name} of at least 0, got {value}")
        if not (math.isfinite(strength) and strength > 0):
            raise InputError(f"train_fast_style: expected a positive style_strength, got {strength}")
        if style is None and content == 0:
            raise InputError("train_fast_style: expected a style_weight with a content_weight of 0, got none")
        self._content, self._tv, self._strength, self._settle = content, tv, strength, settle
        self._found = style is None
        self.register_buffer("style_weight", torch.tensor(0.0 if style is None else style, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0))

    @torch.no_grad()
    def observe(self, terms: Tensor) -> None:
        """Update the weight of the style from the finite terms [3] of one step."""
        if not self._found or self.seen >= self._settle:
            return
        share = 1.0 if self.seen == 0 else 1 / _MEMORY
        self.means.lerp_(terms[:2].double(), share)
        content, style = self.means
        if style > 0:
            self.style_weight.copy_(self._strength * self._content * content / style)
        self.seen.add_(1)

    def forward(self, terms: Tensor) -> Tensor:
        """The weighted sum of terms [3]."""
        return self._content * terms[0] + self.style_weight.to(terms.dtype) * terms[1] + self._tv * terms[2]
