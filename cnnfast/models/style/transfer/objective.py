"""Loss of style transfer: content, style statistics and smoothness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.features.preprocessing import InputConvention
from cnnfast.layers import ContentLoss, StyleLoss, TVLoss, WassersteinStyleLoss
from cnnfast.models.style.picture.objective import PictureObjective
from cnnfast.models.style.picture.terms import ContentTerm, GramTerm, MomentsTerm, StatisticTerm, Term
from cnnfast.models.style.picture.tiling import PixelWeights, equal_weights
from cnnfast.models.style.transfer.presets import StylePreset
from cnnfast.models.style.transfer.regions import Guides, StyleRegions


@dataclass(frozen=True)
class StyleWeights:
    """Factors of the three parts of the loss, and of the layers within the first two."""

    content: float
    style: float
    tv: float
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]


class StyleObjective(PictureObjective):
    r"""Content, style and smoothness of a picture.

    .. math:: L(x) = \alpha \sum_l c_l L^{content}_l + \beta \sum_l w_l L^{style}_l + \gamma L^{TV}

    in the forms that a preset chooses. A style statistic is the mean of those of several styles, weighted by their
    blends; with regions there is one for each region, and their losses are averaged.

    Args:
        extractor: [1,3,H,W] -> dict of features.
        preset: forms of the terms.
        weights: alpha, beta, gamma, c_l and w_l, for a network whose input channels span `preset.unit`.

    Source: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, equation 7;
    regions: Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 4.
    """

    def __init__(self, extractor: nn.Module, preset: StylePreset, weights: StyleWeights) -> None:
        super().__init__(extractor, {})
        self._preset, self._factors = preset, weights
        if weights.tv:
            self._pixel_terms["total variation"] = TVLoss(weights.tv, preset.tv_kind)

    def capture(
        self,
        content: Tensor,
        styles: Sequence[Tensor],
        blends: Sequence[float],
        regions: StyleRegions | None = None,
    ) -> None:
        """Take the targets.

        Args:
            content: [3,H,W], of the size of the picture to make.
            styles: at least one [3,h,w], of any sizes.
            blends: share of each style; they add up to 1.
            regions: masks of the contents' and styles' own sizes, checked by
                :func:`~cnnfast.models.style.transfer.regions.check_regions`.
        """
        kind = "simple" if regions is None else regions.guides
        masks = [None] * len(styles) if regions is None else regions.styles
        terms = {layer: self._style_term(layer) for layer, share in self._factors.style_layers.items() if share}
        examples = [
            self._tiled().sums(self._sample(picture), terms, self._guides(mask, kind))
            for picture, mask in zip(styles, masks, strict=True)
        ]
        guides = self._guides(None if regions is None else regions.content, kind)
        self._terms, totals = self._capture_content(content, guides, terms)
        for layer, term in terms.items():
            kept = self._capture_style(term, [sums[layer] for sums in examples], blends, totals[layer])
            if isinstance(guides, Guides):
                guides.restrict(layer, kept)
            if bool(kept.any()):
                self._terms[f"style {layer}"] = term
        if terms and not any(f"style {layer}" in self._terms for layer in terms):
            raise InputError(
                f"stylize: expected positions in the regions of some style layer, got none ({kind} guides)"
            )
        self._pixel_weights = guides
        self._captured()

    def _guides(self, masks: Tensor | None, kind: str) -> PixelWeights:
        return equal_weights if masks is None else Guides(masks, kind, self._extractor)

    def _style_term(self, layer: str) -> StatisticTerm:
        weight = self._factors.style * self._factors.style_layers[layer]
        if self._preset.style_loss == "wasserstein":
            return MomentsTerm(layer, WassersteinStyleLoss(weight * self._unit**2))
        weight *= self._unit ** _GRAM_POWERS[self._preset.style_scale]
        normalize, scale = self._preset.normalize, self._preset.style_scale
        return GramTerm(layer, StyleLoss(weight=weight, normalize=normalize, scale=scale))

    @property
    def _unit(self) -> float:
        """Factor from this network's input scale to that of the network that the preset's weights were made for."""
        preprocessing = getattr(self._extractor, "preprocessing", None)
        if not isinstance(preprocessing, InputConvention):
            return 1.0
        convention = preprocessing.convention
        return self._preset.unit * (sum(convention.std) / 3) / convention.unit

    def _capture_content(
        self, content: Tensor, guides: PixelWeights, layers: Iterable[str]
    ) -> tuple[dict[str, Term], dict[str, Tensor]]:
        """Content terms with their targets, and of the style layers the sum of every region's pixel weights, [R]."""
        shares = {layer: share for layer, share in self._factors.content_layers.items() if share}
        lines: dict[str, dict[int, list[Tensor]]] = {layer: {} for layer in shares}
        totals: dict[str, Tensor] = {}
        with torch.no_grad():
            for parts in self._tiled().parts(self._sample(content), {*shares, *layers}, guides):
                for layer, part in parts.items():
                    totals[layer] = part.total + totals.get(layer, 0)
                    if layer in lines:
                        lines[layer].setdefault(part.rows.start, []).append(part.features.clone())
        terms: dict[str, Term] = {}
        for layer, share in shares.items():
            weight = self._factors.content * share * self._unit ** _CONTENT_POWERS[self._preset.content_scale]
            term = ContentTerm(layer, ContentLoss(weight, self._preset.content_scale))
            term.loss.capture(torch.cat([torch.cat(line, -1) for line in lines[layer].values()], -2))
            terms[f"content {layer}"] = term
        return terms, totals

    def _capture_style(
        self, term: StatisticTerm, examples: list[list[Tensor]], blends: Sequence[float], content: Tensor
    ) -> Tensor:
        """Give a term its target; returns which regions [R] it compares: those that content and some style have."""
        shares = torch.stack(
            [blend * (sums[-1] > 0).to(sums[0].dtype) for blend, sums in zip(blends, examples, strict=True)]
        )
        kept = (shares.sum(0) > 0) & (content > 0)
        if bool(kept.any()):
            shares = shares[:, kept] / shares[:, kept].sum(0)
            term.capture([(share, [part[kept] for part in sums]) for share, sums in zip(shares, examples, strict=True)])
            # The loss is a mean over the regions that it compares; the others count as a loss of zero.
            term.loss.weight *= int(kept.sum()) / len(kept)
            if self._preset.per_channel:
                term.loss.weight /= examples[0][0].shape[-1] ** 2
        return kept


# The exponent k with which each form of a loss grows when the features are multiplied by a factor: factor^k.
_GRAM_POWERS = {"mean": 4, "gatys": 4, "sum": 4, "l1grad": 2, "relative": 0}
_CONTENT_POWERS = {"mean": 2, "gatys": 2, "l1grad": 1}
