"""Loss of texture synthesis."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnfast.layers import StyleLoss
from cnnfast.models.style.picture.objective import RELATIVE_FACTOR, PictureObjective
from cnnfast.models.style.picture.terms import GramTerm


class TextureObjective(PictureObjective):
    r"""A picture against the Gram matrices of a sample.

    With weights "relative" the loss is 1e6 times the mean over layers, weighted by w_l, of
    :math:`\sum (G_l - T_l)^2 / \sum T_l^2`, with "gatys" the sum of w_l E_l of Gatys et al. 2015.

    Args:
        extractor: [1,3,H,W] -> dict of features.
        layers: layer -> w_l.
        weights: "relative" or "gatys".
        padding: padding of the extractor for the picture, where it differs from that for the sample.

    Source: Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015, equations 3, 4.
    """

    def __init__(
        self,
        extractor: nn.Module,
        layers: dict[str, float],
        *,
        weights: str = "relative",
        padding: str | None = None,
    ) -> None:
        factor = RELATIVE_FACTOR / len(layers) if weights == "relative" else 1.0
        grams = {n: GramTerm(n, StyleLoss(weight=factor * w, scale=weights)) for n, w in layers.items()}
        super().__init__(extractor, dict(grams), padding=padding)
        self._grams = grams

    def capture(self, sample: Tensor, pixel_weight: Tensor | None = None) -> None:
        """Take the targets from a sample [3,h,w], its pixels weighted by [h,w] if given."""
        self._pad(self._sample_padding)

        def pixel_weights(layer: str, size: tuple[int, int]) -> Tensor | None:
            return None if pixel_weight is None else functional.adaptive_avg_pool2d(pixel_weight[None, None], size)

        sums = self._tiled().sums(self._sample(sample), self._terms, pixel_weights)
        self._pad(self._padding)
        for name, term in self._grams.items():
            term.capture([(torch.ones_like(sums[name][1]), sums[name])])
        self._captured()
