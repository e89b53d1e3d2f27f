"""Layers of feed-forward style networks, each of which can also be evaluated on some rows of its output alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MODES = ("zeros", "reflect", "replicate")


class RowMap(nn.Module, ABC):
    """A layer whose output rows depend on few input rows each.

    `forward` maps a whole [B,C,H,W]; `on_rows` gives rows [first, last) of the same result from the input rows that
    `in_rows` names, where `height` is always that of the whole input.
    """

    @abstractmethod
    def output_side(self, side: int) -> int:
        """Height (or width) of the output for that of the input."""

    @abstractmethod
    def in_rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """Input rows [first, last) that output rows [first, last) depend on."""

    @abstractmethod
    def on_rows(self, x: Tensor, start: int, first: int, last: int, height: int) -> Tensor:
        """Output rows [first, last) from input rows x, which begin at row `start`."""


def border_index(first: int, last: int, side: int, mode: str) -> Tensor:
    """Rows in 0..side-1 that border padding copies to rows first..last-1, some of which may lie outside the picture.

    Example:
        >>> from cnnfast.models.style.feed_forward.blocks import border_index
        >>> border_index(-2, 4, 3, "reflect").tolist(), border_index(-2, 4, 3, "replicate").tolist()
        ([2, 1, 0, 1, 2, 1], [0, 0, 0, 1, 2, 2])
        >>> border_index(-1, 2, 1, "reflect").tolist()
        [0, 0, 0]
    """
    index = torch.arange(first, last)
    if mode == "replicate" or side == 1:
        return index.clamp(0, side - 1)
    period = 2 * (side - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def _parameters(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias, converted to the dtype of x."""
    assert layer.bias is not None
    return layer.weight.to(x.dtype), layer.bias.to(x.dtype)


class Extend(RowMap):
    """Nearest-neighbour upsampling, then padding by `padding` px on every side.

    Args:
        padding: px.
        mode: "zeros", "reflect" (at the enlarged picture's outermost pixels) or "replicate".
        upsample: whole factor.
    """

    def __init__(self, padding: int = 0, mode: str = "reflect", upsample: int = 1) -> None:
        super().__init__()
        if mode not in _MODES:
            raise ValueError(f"Extend: expected mode {', '.join(_MODES)}, got {mode!r}")
        self.padding, self.mode, self.upsample = padding, mode, upsample

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] to [B,C,u H + 2 p,u W + 2 p]."""
        if self.upsample > 1:
            x = F.interpolate(x, scale_factor=float(self.upsample), mode="nearest")
        return self._padded(x, self.padding)

    def _padded(self, x: Tensor, rows: int) -> Tensor:
        if not self.padding:
            return x
        sides = [self.padding, self.padding, rows, rows]
        return F.pad(x, sides) if self.mode == "zeros" else F.pad(x, sides, self.mode)

    def output_side(self, side: int) -> int:
        """U * side + 2 p."""
        return self.upsample * side + 2 * self.padding

    def _sources(self, first: int, last: int, height: int) -> Tensor:
        enlarged = self.upsample * height
        index = torch.arange(first - self.padding, last - self.padding)
        if self.mode != "zeros":
            index = border_index(first - self.padding, last - self.padding, enlarged, self.mode)
        return index.clamp(0, enlarged - 1) // self.upsample

    def in_rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """See `RowMap`."""
        index = self._sources(first, last, height)
        return int(index.min()), int(index.max()) + 1

    def on_rows(self, x: Tensor, start: int, first: int, last: int, height: int) -> Tensor:
        """See `RowMap`."""
        sources = self._sources(first, last, height) - start
        if self.upsample > 1 or not torch.equal(sources, torch.arange(x.shape[2])):
            x = x.index_select(2, sources.to(x.device))
        if self.upsample > 1:
            x = F.interpolate(x, scale_factor=(1.0, float(self.upsample)), mode="nearest")
        x = self._padded(x, 0)
        if self.mode == "zeros" and self.padding:
            above = min(max(0, self.padding - first), last - first)
            below = min(max(0, last - self.padding - self.upsample * height), last - first)
            x[:, :, :above] = 0
            x[:, :, last - first - below :] = 0
        return x


class ConvLayer(RowMap):
    """Nearest-neighbour upsampling, padding by half the kernel, and a convolution with bias.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: odd side in px.
        stride: px.
        upsample: factor of the upsampling.
        mode: "reflect", "replicate", "zeros" or "none" (no padding).
        device: of the parameters.
        dtype: of the parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        upsample: int = 1,
        mode: str = "reflect",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        padding = 0 if mode == "none" else kernel // 2
        self.extend = Extend(padding, "zeros" if mode == "none" else mode, upsample)
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] to [B,outputs,H',W']."""
        return self._convolved(self.extend(x))

    def _convolved(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *_parameters(self.conv2d, x), self.conv2d.stride)

    @property
    def _kernel(self) -> int:
        return self.conv2d.kernel_size[0]

    @property
    def _stride(self) -> int:
        return self.conv2d.stride[0]

    def output_side(self, side: int) -> int:
        """(u side + 2 p - kernel) // stride + 1."""
        return (self.extend.output_side(side) - self._kernel) // self._stride + 1

    def _window(self, first: int, last: int) -> tuple[int, int]:
        """Rows of the extended input that output rows depend on."""
        return first * self._stride, (last - 1) * self._stride + self._kernel

    def in_rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """See `RowMap`."""
        return self.extend.in_rows(*self._window(first, last), height)

    def on_rows(self, x: Tensor, start: int, first: int, last: int, height: int) -> Tensor:
        """See `RowMap`."""
        return self._convolved(self.extend.on_rows(x, start, *self._window(first, last), height))


class TransposedConv(RowMap):
    """Transposed convolution 3x3 of stride 2 with padding 1 and output padding 1: [B,C,H,W] to [B,outputs,2H,2W]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.conv2d = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.conv_transpose2d(x, *_parameters(self.conv2d, x), (2, 2), (1, 1), (1, 1))

    def output_side(self, side: int) -> int:
        """Twice the side."""
        return 2 * side

    def in_rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """See `RowMap`."""
        return max(0, first // 2), min(height, last // 2 + 1)

    def on_rows(self, x: Tensor, start: int, first: int, last: int, height: int) -> Tensor:
        """See `RowMap`."""
        # Without padding of the rows, the first row of the result is output row 2 * start - 1.
        y = F.conv_transpose2d(x, *_parameters(self.conv2d, x), (2, 2), (0, 1), (0, 1))
        begin = first - (2 * start - 1)
        return y[:, :, begin : begin + last - first]


class InstanceNorm(nn.Module):
    """Instance norm: every channel of every picture gets mean 0 and variance 1, then a learned scale and shift.

    The result is that of ``torch.nn.InstanceNorm2d(affine=True)``. Running statistics in old state dicts are unused
    and ignored when loading.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.

    Shape:
        - x: [B,C,H,W], H W > 1.
        - result: [B,C,H,W].

    Args:
        channels: C.
        eps: added to the variance.
        device: of the parameters.
        dtype: of the parameters.
    """

    _UNUSED = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        # A group norm of one channel per group is the same, three times as fast on a CPU, and keeps channels_last.
        return F.group_norm(x, self.weight.numel(), self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self._UNUSED:
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"{self.weight.numel()}, eps={self.eps}"


class Stage(NamedTuple):
    """One step of a network: a layer, a norm, a ReLU, and the start or end of a residual connection.

    Attributes:
        map: convolution, transposed convolution or padding.
        norm: `InstanceNorm`, ``nn.BatchNorm2d`` or None.
        relu: whether a ReLU follows.
        opens: a residual connection starts at the input of this stage.
        closes: the residual connection is added to the output of this stage.
        crop: px that the residual connection loses on every side.
    """

    map: RowMap
    norm: nn.Module | None = None
    relu: bool = False
    opens: bool = False
    closes: bool = False
    crop: int = 0


def run_stages(stages: Sequence[Stage], x: Tensor) -> Tensor:
    """The output of all stages, one after the other."""
    kept = x
    for stage in stages:
        if stage.opens:
            kept = x
        x = stage.map(x)
        if stage.norm is not None:
            x = stage.norm(x)
        if stage.relu:
            x = F.relu(x, inplace=stage.norm is not None and not torch.is_grad_enabled())
        if stage.closes:
            crop = stage.crop
            x = x + (kept[:, :, crop:-crop, crop:-crop] if crop else kept)
    return x
