"""Texture loss and its gradient with the memory of one tile, equal to the whole-picture ones up to rounding.

A Gram matrix is a sum over positions. A first pass without gradient adds up G over tiles; the loss and R = dL/dG follow
from the sum; a second pass computes each tile's features again and sends dF = 2 R F back into the picture. A tile is
read with a halo as wide as the receptive field reaches, starts on a multiple of the network's stride, and only its
interior counts, so every feature enters once, with the value it has in the whole picture. Tiles at the picture's edge
meet the network's own padding there, and no other tile does. Periodic pictures are read across their edges instead, and
a last position that reaches into the next period counts by its share of this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.layers import StyleLoss
from cnnfast.ops import gram_matrix

Extractor = Callable[[Tensor], dict[str, Tensor]]


class Span(NamedTuple):
    """One axis of a tile: the interior [start, stop) and what is read around it [low, high), in px."""

    start: int
    stop: int
    low: int
    high: int


def spans(size: int, tile: int, halo: int, stride: int, *, periodic: bool = False) -> list[Span]:
    """Cut an axis into interiors of `tile` px, multiples of `stride`, each with its halo.

    Args:
        size: px of the axis.
        tile: wanted px of an interior; rounded up to a multiple of `stride`.
        halo: px to read beside an interior, a multiple of `stride`; clipped at the edges unless periodic.
        stride: px between positions of the coarsest feature map.
        periodic: read across the edges, and cover a last incomplete stride completely.

    Example:
        >>> from cnnfast.models.style.tiling import spans
        >>> spans(50, 32, 16, 16)
        [Span(start=0, stop=32, low=0, high=48), Span(start=32, stop=50, low=16, high=50)]
        >>> spans(50, 64, 16, 16, periodic=True)
        [Span(start=0, stop=64, low=-16, high=80)]
    """
    tile = max(1, -(-tile // stride)) * stride
    end = -(-size // stride) * stride if periodic else size
    starts = list(range(0, max(end - stride, 0) + 1, tile))
    stops = [*starts[1:], end]
    if periodic:
        return [Span(a, b, a - halo, b + halo) for a, b in zip(starts, stops, strict=True)]
    return [Span(a, b, max(0, a - halo), min(size, b + halo)) for a, b in zip(starts, stops, strict=True)]


def _stride_of(length: int, positions: int, stride: int) -> int:
    """The px between positions of a feature map of an axis of that many px: a divisor of the network's stride."""
    for candidate in range(1, stride + 1):
        if stride % candidate == 0 and length // candidate == positions:
            return candidate
    raise ValueError(
        f"synthesize_texture: expected feature maps whose stride divides {stride} px for tiling, "
        f"got {positions} positions over {length} px"
    )


class _Part(NamedTuple):
    """A tile's share of a feature map [1,C,h,w], and how much each position counts [1,1,h,w] (None: 1)."""

    features: Tensor
    weight: Tensor | None

    @property
    def total(self) -> float:
        return self.features.shape[-2:].numel() if self.weight is None else float(self.weight.sum())


def _interior(features: Tensor, rows: Span, columns: Span, size: Sequence[int], stride: int) -> _Part:
    """Features of the interior. Positions that begin a new period count by the share that the old one still has."""
    ranges, shares = [], []
    for span, positions, side in zip((rows, columns), features.shape[-2:], size, strict=True):
        step = _stride_of(span.high - span.low, positions, stride)
        ranges.append(slice((span.start - span.low) // step, (span.stop - span.low) // step))
        starts = torch.arange(span.start // step, span.stop // step, device=features.device) * step
        shares.append(((side - starts) / step).clamp(0, 1))
    complete = rows.stop <= size[0] and columns.stop <= size[1]
    weight = None if complete else torch.outer(*shares)[None, None].to(features.dtype)
    return _Part(features[..., ranges[0], ranges[1]], weight)


class TiledTextureLoss:
    """Loss and gradient of a picture against captured Gram matrices, tile by tile.

    Args:
        extractor: [1,3,h,w] -> dict of [1,C,h/s,w/s].
        losses: layer -> captured :class:`~cnnfast.layers.StyleLoss` with normalize "hw" and scale "gatys" or
            "relative", not centred.
        tile: interior of a tile in px.
        halo: px that a feature sees beyond its own position, rounded up to a multiple of `stride`.
        stride: px between positions of the coarsest map.
        periodic: the picture wraps around.

    Source: the sum over positions in Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks",
    NIPS 2015, equation 2.
    """

    def __init__(
        self,
        extractor: Extractor,
        losses: dict[str, StyleLoss],
        *,
        tile: int,
        halo: int,
        stride: int,
        periodic: bool = False,
    ) -> None:
        for loss in losses.values():
            if loss.normalize != "hw" or loss.scale not in ("gatys", "relative") or loss.centered:
                raise ValueError(f"TiledTextureLoss: expected normalize 'hw', scale 'gatys' or 'relative', got {loss}")
        self._extractor = extractor
        self._losses = losses
        self._tile, self._halo, self._stride, self._periodic = tile, halo, stride, periodic

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Loss (scalar), its gradient [1,3,H,W] and every layer's term, of an image [1,3,H,W]."""
        image = image.detach()
        cut = [spans(side, self._tile, self._halo, self._stride, periodic=self._periodic) for side in image.shape[-2:]]
        tiles = [(rows, columns) for rows in cut[0] for columns in cut[1]]
        gradient = torch.zeros_like(image, memory_format=torch.contiguous_format)
        if len(tiles) == 1:
            terms = self._single(image, *tiles[0], gradient)
        else:
            grams = self._grams(image, tiles)
            terms, slopes = self._terms(grams)
            for rows, columns in tiles:
                self._send_back(image, rows, columns, slopes, gradient)
        return torch.stack(list(terms.values())).sum(), gradient, terms

    def _parts(self, tile: Tensor, rows: Span, columns: Span, size: Sequence[int]) -> dict[str, _Part]:
        features = self._extractor(tile)
        return {name: _interior(features[name], rows, columns, size, self._stride) for name in self._losses}

    def _read(self, image: Tensor, rows: Span, columns: Span) -> Tensor:
        if not self._periodic:
            return image[..., rows.low : rows.high, columns.low : columns.high]
        return image[..., self._wrapped(rows, image.shape[-2])[:, None], self._wrapped(columns, image.shape[-1])]

    @staticmethod
    def _wrapped(span: Span, size: int) -> Tensor:
        return torch.arange(span.low, span.high) % size

    def _add(self, gradient: Tensor, rows: Span, columns: Span, part: Tensor) -> None:
        if not self._periodic:
            gradient[..., rows.low : rows.high, columns.low : columns.high] += part
            return
        height, width = gradient.shape[-2:]
        # A halo may be wider than the picture: first fold the columns, then the rows, duplicates and all.
        folded = part.new_zeros(*part.shape[:-1], width)
        folded.index_add_(-1, self._wrapped(columns, width).to(part.device), part)
        gradient.index_add_(-2, self._wrapped(rows, height).to(part.device), folded)

    def _single(self, image: Tensor, rows: Span, columns: Span, gradient: Tensor) -> dict[str, Tensor]:
        tile = self._read(image, rows, columns).clone().requires_grad_(True)
        parts = self._parts(tile, rows, columns, image.shape[-2:])
        terms = {name: loss(*parts[name]) for name, loss in self._losses.items()}
        (part,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), tile)
        self._add(gradient, rows, columns, part)
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def _grams(self, image: Tensor, tiles: list[tuple[Span, Span]]) -> dict[str, tuple[Tensor, float]]:
        """Unnormalised Gram matrix [1,C,C] and number of positions of every layer."""
        sums: dict[str, tuple[Tensor, float]] = {}
        for rows, columns in tiles:
            parts = self._parts(self._read(image, rows, columns), rows, columns, image.shape[-2:])
            for name, part in parts.items():
                gram, positions = gram_matrix(part.features, "none", weight=part.weight), part.total
                if name in sums:
                    gram, positions = gram + sums[name][0], positions + sums[name][1]
                sums[name] = gram, positions
        return sums

    def _terms(self, grams: dict[str, tuple[Tensor, float]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every layer's term w s sum (G/M - T)^2 and 2 dL/dG = 4 w s (G/M - T) / M, with G the sum over positions."""
        terms, slopes = {}, {}
        for name, (gram, positions) in grams.items():
            loss = self._losses[name]
            assert loss.target is not None
            target = loss.target
            scale = 1 / (4 * gram.shape[-1] ** 2) if loss.scale == "gatys" else 1 / target.square().sum()
            difference = gram / positions - target
            terms[name] = loss.weight * scale * difference.square().sum()
            slopes[name] = 4 * loss.weight * scale / positions * difference
        return terms, slopes

    def _send_back(self, image: Tensor, rows: Span, columns: Span, slopes: dict[str, Tensor], gradient: Tensor) -> None:
        tile = self._read(image, rows, columns).clone().requires_grad_(True)
        parts = self._parts(tile, rows, columns, image.shape[-2:])
        outputs, cotangents = [], []
        for name, part in parts.items():
            features = part.features
            with torch.no_grad():
                slope = (slopes[name] @ features.flatten(2).to(slopes[name].dtype)).view_as(features)
                slope = slope if part.weight is None else slope * part.weight
            outputs.append(features)
            cotangents.append(slope.to(features.dtype))
        (share,) = torch.autograd.grad(outputs, tile, cotangents)
        self._add(gradient, rows, columns, share)
