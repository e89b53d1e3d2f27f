"""A feed-forward style network evaluated in strips of rows, with the same result as at once and bounded memory.

An instance norm needs the mean and variance of a whole picture, so a picture cannot be cut into tiles that are put
through the network one by one. Here every norm gets its statistics in a pass over the strips of the layer below it.
A strip of a layer is computed from the strips below it, down to the last layer that is stored as a whole: layers with
few values per pixel of the picture (at reduced resolution) are stored, wide ones at full resolution are recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnfast.models.style.feed_forward.blocks import Extend, InstanceNorm, RowMap, Stage

# Layers with at most so many values per pixel of the picture are stored as a whole: 16 are 64 bytes in float32.
_KEPT_VALUES = 16


@dataclass
class _Whole:
    """A layer that is stored as a whole."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, channels, height, width = self.values.shape
        return batch, channels, height, width

    def rows(self, first: int, last: int) -> Tensor:
        return self.values[:, :, first:last]


@dataclass
class _Mapped:
    """A layer that is recomputed from rows of another layer."""

    source: _Rows
    map: RowMap
    channels: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, _, height, width = self.source.shape
        return batch, self.channels, self.map.output_side(height), self.map.output_side(width)

    def rows(self, first: int, last: int) -> Tensor:
        height = self.source.shape[2]
        start, end = self.map.in_rows(first, last, height)
        return self.map.on_rows(self.source.rows(start, end), start, first, last, height)


@dataclass
class _Pointwise:
    """A function of another layer, pixel by pixel."""

    source: _Rows
    function: Callable[[Tensor], Tensor]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.source.shape

    def rows(self, first: int, last: int) -> Tensor:
        return self.function(self.source.rows(first, last))


@dataclass
class _Sum:
    """A layer plus a larger one without its outermost `crop` px."""

    inner: _Rows
    outer: _Rows
    crop: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.inner.shape

    def rows(self, first: int, last: int) -> Tensor:
        width = self.inner.shape[3]
        outer = self.outer.rows(first + self.crop, last + self.crop)
        return self.inner.rows(first, last) + outer[..., self.crop : self.crop + width]


_Rows = _Whole | _Mapped | _Pointwise | _Sum


class _Moments:
    """Mean and variance of every channel of every picture, merged over strips by the formulas of Chan et al. (1979)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, strip: Tensor) -> None:
        count = strip.shape[2] * strip.shape[3]
        variance, mean = (moment.double() for moment in _variance_and_mean(strip))
        total = self._count + count
        step = mean - self._mean
        self._squares = self._squares + variance * count + step.square() * (self._count * count / total)
        self._mean = self._mean + step * (count / total)
        self._count = total

    def affine(self, norm: InstanceNorm) -> tuple[Tensor, Tensor]:
        """Scale and shift [B,C,1,1] that are equivalent to the norm."""
        assert isinstance(self._mean, Tensor) and isinstance(self._squares, Tensor)
        scale = norm.weight.double() * (self._squares / self._count + norm.eps).rsqrt()
        shift = norm.bias.double() - scale * self._mean
        return scale[..., None, None], shift[..., None, None]


def _variance_and_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean of every channel of every picture, [B,C] each, in float32 or float64."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    if x.device.type != "cpu":
        return torch.var_mean(x.to(dtype), (2, 3), correction=0)
    # On the CPU var_mean takes 15 times as long as a group norm, which computes the same statistics.
    if not x.is_contiguous(memory_format=torch.channels_last):
        x = x.contiguous()
    batch, channels, height, width = x.shape
    one, zero = x.new_ones(channels, dtype=dtype), x.new_zeros(channels, dtype=dtype)
    _, mean, inverse = torch.native_group_norm(x, one, zero, batch, channels, height * width, channels, 0.0)
    return inverse.double().pow(-2), mean


class StripEvaluation:
    """A network's stages on whole pictures, `strip` rows at a time.

    Args:
        stages: of the network, in evaluation mode.
        strip: rows of the picture that are evaluated at once; proportionally fewer at reduced resolution.
        progress: called after every strip with the finished share of all passes, from 0 to 1.
    """

    def __init__(self, stages: Sequence[Stage], strip: int, progress: Callable[[float], None] | None = None) -> None:
        self._stages, self._strip, self._progress = stages, strip, progress
        self._passes = 1 + sum(isinstance(stage.norm, InstanceNorm) for stage in stages)
        self._finished = 0

    def __call__(self, picture: Tensor) -> Iterator[tuple[int, Tensor]]:
        """First row and rows of the output, strip by strip, for a picture [B,3,H,W]."""
        self._picture = picture
        self._finished = 0
        layer: _Rows = _Whole(picture)
        kept: _Rows = layer
        for stage in self._stages:
            if stage.opens:
                # Read twice: by the residual branch and by the sum.
                kept = layer = self._keep(layer)
            layer = self._apply(stage, layer)
            if stage.closes:
                layer = _Sum(layer, kept, stage.crop)
        del kept
        yield from self._strips(layer)

    def _apply(self, stage: Stage, layer: _Rows) -> _Rows:
        layer = _Mapped(layer, stage.map, _channels(stage.map, layer.shape[1]))
        if isinstance(stage.norm, InstanceNorm):
            moments = _Moments()
            if self._values_per_pixel(layer) <= _KEPT_VALUES:
                layer = self._keep(layer, moments)
            else:
                for _, rows in self._strips(layer):
                    moments.add(rows)
            return _Pointwise(layer, _normalise(*moments.affine(stage.norm), stage.relu))
        if stage.norm is not None:
            layer = _Pointwise(layer, stage.norm)
        return _Pointwise(layer, torch.relu) if stage.relu else layer

    def _values_per_pixel(self, layer: _Rows) -> float:
        _, channels, height, width = layer.shape
        return channels * height * width / (self._picture.shape[2] * self._picture.shape[3])

    def _keep(self, layer: _Rows, moments: _Moments | None = None) -> _Rows:
        """The layer stored as a whole; its statistics are added to `moments`."""
        if isinstance(layer, _Whole):
            return layer
        whole: Tensor | None = None
        for first, rows in self._strips(layer, counts=moments is not None):
            if whole is None:
                layout = torch.channels_last if rows.is_contiguous(memory_format=torch.channels_last) else None
                whole = torch.empty(layer.shape, dtype=rows.dtype, device=rows.device)
                whole = whole if layout is None else whole.to(memory_format=layout)
            whole[:, :, first : first + rows.shape[2]] = rows
            if moments is not None:
                moments.add(rows)
        assert whole is not None
        return _Whole(whole)

    def _strips(self, layer: _Rows, counts: bool = True) -> Iterator[tuple[int, Tensor]]:
        height = layer.shape[2]
        step = max(1, round(self._strip * height / self._picture.shape[2]))
        for first in range(0, height, step):
            last = min(height, first + step)
            yield first, layer.rows(first, last)
            if counts and self._progress is not None:
                self._progress((self._finished + last / height) / self._passes)
        self._finished += counts


def _channels(layer: RowMap, inputs: int) -> int:
    convolution: nn.Conv2d | nn.ConvTranspose2d | None = getattr(layer, "conv2d", None)
    return inputs if convolution is None else convolution.out_channels


def _normalise(scale: Tensor, shift: Tensor, relu: bool) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        y = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
        return y.relu_() if relu else y

    return function


def _shapes(stages: Sequence[Stage], x: Tensor) -> Iterator[tuple[int, int, int]]:
    """Number of values of each stage's input, of its enlarged and padded input, and of its output."""
    batch, channels, height, width = x.shape
    for stage in stages:
        before = batch * channels * height * width
        extend = getattr(stage.map, "extend", stage.map if isinstance(stage.map, Extend) else None)
        between = 0
        if extend is not None:
            between = batch * channels * extend.output_side(height) * extend.output_side(width)
        channels = _channels(stage.map, channels)
        height, width = stage.map.output_side(height), stage.map.output_side(width)
        yield before, between, batch * channels * height * width


def peak_bytes(stages: Sequence[Stage], x: Tensor) -> int:
    """Bytes that the stages take when they are run on whole pictures x, beyond x itself.

    Enlarging and padding make a copy each; a norm with its ReLU makes one of the output.
    """
    values = max(before + max(2 * between, between + after, 2 * after) for before, between, after in _shapes(stages, x))
    return values * x.element_size()


def kept_bytes(stages: Sequence[Stage], x: Tensor) -> int:
    """Bytes of the layers that `StripEvaluation` stores at the same time: up to three in a residual block."""
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    after = [values for _, _, values in _shapes(stages, x) if values <= _KEPT_VALUES * pixels]
    return 3 * max(after, default=0) * x.element_size()
