"""A loss and its gradient with the memory of one tile, equal to the whole-picture ones up to rounding.

Gram matrices, moments and squared distances are sums over positions. A first pass without gradient adds them up over
tiles and gives the loss and its derivative with respect to the sums. A second pass computes the features of each tile
again and propagates that derivative, such as dF = 2 (dL/dG) F, back to the picture.

A tile is read with a halo as wide as half the receptive field and starts at a multiple of the network's stride; only
its interior counts. So every feature enters once, with the value that it has in the whole picture. Only tiles at the
edge of the picture see the padding of the network. Periodic pictures are read across their edges instead, and a last
position that reaches into the next period counts by its share in this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.models.style.picture.terms import Part, Term

Extractor = Callable[[Tensor], dict[str, Tensor]]
# Maps a layer and the (h, w) of its feature map to pixel weights [1,R,h,w]; None: 1.
PixelWeights = Callable[[str, tuple[int, int]], Tensor | None]


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
        periodic: read across the edges, and extend the last tile to a whole stride.

    Example:
        >>> from cnnfast.models.style.picture.tiling import spans
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
    """Px between positions of a feature map along an axis of `length` px: a divisor of the network's stride."""
    for candidate in range(1, stride + 1):
        if stride % candidate == 0 and length // candidate == positions:
            return candidate
    raise ValueError(
        f"TiledPicture: expected feature maps whose stride divides {stride} px for tiling, "
        f"got {positions} positions over {length} px"
    )


def equal_weights(layer: str, size: tuple[int, int]) -> None:
    """All pixel weights are 1."""


class TiledPicture:
    """Features of a picture, part by part.

    Args:
        extractor: [1,3,h,w] -> dict of [1,C,h/s,w/s].
        tile: interior of a tile in px, or None for the whole picture at once.
        halo: px that a feature sees beyond its own position, rounded up to a multiple of `stride`.
        stride: px between positions of the coarsest map.
        periodic: the picture wraps around, which takes a tile.

    Source: the sum over positions in Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks",
    NIPS 2015, equation 2.
    """

    def __init__(
        self, extractor: Extractor, *, tile: int | None, halo: int = 0, stride: int = 1, periodic: bool = False
    ) -> None:
        self._extractor = extractor
        self._tile, self._halo, self._stride, self._periodic = tile, halo, stride, periodic

    def parts(self, image: Tensor, layers: Iterable[str], pixel_weights: PixelWeights) -> Iterator[dict[str, Part]]:
        """For every tile of an image [1,3,H,W] the parts of some layers, with their pixel weights."""
        for tile in self._tiles(image):
            yield dict(self._parts(self._read(image, *tile), *tile, image, layers, pixel_weights))

    def sums(self, image: Tensor, terms: Mapping[str, Term], pixel_weights: PixelWeights) -> dict[str, list[Tensor]]:
        """For every term the sums that its value is a function of, over an image [1,3,H,W]."""
        with torch.no_grad():
            totals: dict[str, list[Tensor]] = {}
            layers = {term.layer for term in terms.values()}
            for parts in self.parts(image, layers, pixel_weights):
                for name, term in terms.items():
                    sums = term.sums(parts[term.layer])
                    totals[name] = [a + b for a, b in zip(totals[name], sums, strict=True)] if name in totals else sums
        return totals

    def evaluate(
        self, image: Tensor, terms: Mapping[str, Term], pixel_weights: PixelWeights
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The sum of the terms of an image [1,3,H,W], a scalar, its gradient [1,3,H,W], and the value of every term."""
        image = image.detach()
        gradient = torch.zeros_like(image, memory_format=torch.contiguous_format)
        tiles = self._tiles(image)
        if len(tiles) == 1:
            leaf, own = self._own_sums(image, tiles[0], terms, pixel_weights)
            values = {name: term.of_sums(own[name]) for name, term in terms.items()}
            (part,) = torch.autograd.grad(torch.stack(list(values.values())).sum(), leaf)
            self._add(gradient, *tiles[0], part)
        else:
            values, slopes = _slopes(terms, self.sums(image, terms, pixel_weights))
            for tile in tiles:
                leaf, own = self._own_sums(image, tile, terms, pixel_weights)
                pairs = [pair for name in terms for pair in zip(own[name], slopes[name], strict=True)]
                # Numbers of positions have no gradient, and some losses do not use every sum.
                sums, cotangents = zip(*((s, g) for s, g in pairs if s.requires_grad and g is not None), strict=True)
                (part,) = torch.autograd.grad(sums, leaf, cotangents)
                self._add(gradient, *tile, part)
        values = {name: value.detach() for name, value in values.items()}
        return torch.stack(list(values.values())).sum(), gradient, values

    def _tiles(self, image: Tensor) -> list[tuple[Span, Span]]:
        height, width = image.shape[-2:]
        tile = max(height, width) if self._tile is None else self._tile
        cut = [spans(side, tile, self._halo, self._stride, periodic=self._periodic) for side in (height, width)]
        return [(rows, columns) for rows in cut[0] for columns in cut[1]]

    def _own_sums(
        self, image: Tensor, tile: tuple[Span, Span], terms: Mapping[str, Term], pixel_weights: PixelWeights
    ) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """A tile as a leaf, and its share of every term's sums."""
        leaf = self._read(image, *tile).clone().requires_grad_(True)
        own: dict[str, list[Tensor]] = {}
        for layer, part in self._parts(leaf, *tile, image, {term.layer for term in terms.values()}, pixel_weights):
            own |= {name: term.sums(part) for name, term in terms.items() if term.layer == layer}
        return leaf, own

    def _parts(
        self, read: Tensor, rows: Span, columns: Span, image: Tensor, layers: Iterable[str], pixel_weights: PixelWeights
    ) -> Iterator[tuple[str, Part]]:
        whole = slice(None)
        for name, features in streamed(self._extractor, read):
            if name not in layers:
                continue
            if self._tile is None:
                yield name, Part(features, pixel_weights(name, size_of(features)), whole, whole)
            else:
                yield name, _interior(features, rows, columns, size_of(image), self._stride, name, pixel_weights)

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
        # A halo may be wider than the picture: all columns, then all rows, that wrap to the same one are added up.
        folded = part.new_zeros(*part.shape[:-1], width)
        folded.index_add_(-1, self._wrapped(columns, width).to(part.device), part)
        gradient.index_add_(-2, self._wrapped(rows, height).to(part.device), folded)


def streamed(extractor: Extractor, image: Tensor) -> Iterable[tuple[str, Tensor]]:
    """Layers and their features, one at a time if the extractor can compute them so, see `VGGFeatures.stream`."""
    stream = getattr(extractor, "stream", None)
    return extractor(image).items() if stream is None else stream(image)


def size_of(maps: Tensor) -> tuple[int, int]:
    """(height, width) of [...,H,W]."""
    return maps.shape[-2], maps.shape[-1]


def _interior(
    features: Tensor,
    rows: Span,
    columns: Span,
    size: tuple[int, int],
    stride: int,
    layer: str,
    pixel_weights: PixelWeights,
) -> Part:
    """Features of the interior; positions that reach into the next period are weighted by their share in this one."""
    inner, outer, shares, whole = [], [], [], []
    for span, positions, side in zip((rows, columns), size_of(features), size, strict=True):
        step = _stride_of(span.high - span.low, positions, stride)
        inner.append(slice((span.start - span.low) // step, (span.stop - span.low) // step))
        outer.append(slice(span.start // step, span.stop // step))
        whole.append(side // step)
        starts = torch.arange(span.start // step, span.stop // step, device=features.device) * step
        shares.append(((side - starts) / step).clamp(0, 1))
    weight = pixel_weights(layer, (whole[0], whole[1]))
    if weight is not None:
        weight = weight[..., outer[0], outer[1]]
    elif rows.stop > size[0] or columns.stop > size[1]:
        weight = torch.outer(*shares)[None, None].to(features.dtype)
    return Part(features[..., inner[0], inner[1]], weight, *outer)


def _slopes(
    terms: Mapping[str, Term], totals: Mapping[str, Sequence[Tensor]]
) -> tuple[dict[str, Tensor], dict[str, Sequence[Tensor | None]]]:
    """The value of every term, and its derivative with respect to each of its sums, None for those it does not use."""
    values: dict[str, Tensor] = {}
    slopes: dict[str, Sequence[Tensor | None]] = {}
    for name, term in terms.items():
        leaves = [total.detach().requires_grad_(True) for total in totals[name]]
        value = term.of_sums(leaves)
        slopes[name] = torch.autograd.grad(value, leaves, allow_unused=True)
        values[name] = value.detach()
    return values, slopes
