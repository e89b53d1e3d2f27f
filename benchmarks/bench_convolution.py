"""3x3 convolutions of the layers of a VGG at 256x256 with frozen weights, and their gradient for the input."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import Call, Case, Effort, Implementation, Work, measure
from cnnfast.features.frozen import FrozenConv2d

FORWARD, BOTH = "3x3 convolution forward", "3x3 convolution forward+backward"
# Channels, and the side of the maps.
LAYERS = ((64, 256), (128, 128), (256, 64), (512, 32))
TOLERANCE = 1e-4


class Problem:
    """Maps, weights and the gradient of a result of one layer, all in channels_last."""

    def __init__(self, channels: int, side: int, backward: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (1, channels, side, side)
        self.x = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        self.gradient = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        self.weight = torch.randn(channels, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        self.bias = torch.randn(channels, generator=generator)
        self.backward = backward

    def work(self) -> Work:
        """Products of tiles of 4x4 px with 36 values, a quarter of the direct algorithm's; transformations are free."""
        passes, size = 1 + self.backward, self.x.numel()
        flops = 2 * 36 / 16 * size * self.x.shape[1] * passes
        return Work(flops=flops, bytes=4 * (2 * size + self.weight.numel()) * passes)

    def call(self, function: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Call:
        """The function, or it and its gradient."""
        if not self.backward:
            return lambda: (function(x),)
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()

        def call() -> tuple[Tensor, ...]:
            y = function(leaf)
            return y.detach(), *torch.autograd.grad(y, leaf, gradient)

        return call

    def ours(self) -> Call:
        """The layer of the feature networks."""
        channels = self.x.shape[1]
        layer = FrozenConv2d(channels, channels, 3, padding=1).requires_grad_(False)
        layer.load_state_dict({"weight": self.weight, "bias": self.bias})
        layer.to(memory_format=torch.channels_last)
        return self.call(layer, self.x, self.gradient)

    def eager(self, memory_format: torch.memory_format) -> Call:
        """`conv2d`, which is oneDNN's."""
        x, gradient, weight = (t.contiguous(memory_format=memory_format) for t in (self.x, self.gradient, self.weight))
        return self.call(lambda maps: F.conv2d(maps, weight, self.bias, padding=1), x, gradient)

    def nnpack(self) -> Call:
        """NNPACK's convolution, also with fewer multiplications, which PyTorch takes for large batches alone."""
        if not torch.backends.nnpack.is_available():  # type: ignore[attr-defined]
            raise ImportError("this torch has no NNPACK")
        x, gradient = self.x.contiguous(), self.gradient.contiguous()
        function = torch._nnpack_spatial_convolution
        return self.call(lambda maps: function(maps, self.weight, self.bias, padding=[1, 1]), x, gradient)

    @functools.cache  # noqa: B019  (a problem lives as long as its case)
    def expected(self) -> tuple[Tensor, ...]:
        """Results in float64."""
        weight, bias = self.weight.double(), self.bias.double()
        function = self.call(
            lambda maps: F.conv2d(maps, weight, bias, padding=1), self.x.double(), self.gradient.double()
        )
        return function()


def problem(channels: int, side: int, backward: bool) -> tuple[Case, list[Implementation]]:
    """The case of one layer."""
    layer = Problem(channels, side, backward)
    case = Case(BOTH if backward else FORWARD, f"1x{channels}x{side}x{side}", layer.work())
    return case, [
        Implementation("cnnfast", layer.ours, TOLERANCE, layer.expected),
        Implementation("eager", lambda: layer.eager(torch.contiguous_format), TOLERANCE, layer.expected),
        Implementation("eager channels_last", lambda: layer.eager(torch.channels_last), TOLERANCE, layer.expected),
        Implementation("NNPACK", layer.nnpack, TOLERANCE, layer.expected),
    ]


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = ""
) -> Iterator[dict[str, Any]]:
    """Measure every layer."""
    for backward in (False, True):
        for channels, side in LAYERS[-1:] if quick else LAYERS:
            case, implementations = problem(channels, side, backward)
            if cases in f"{case.group} {case.label}":
                yield measure(case, implementations, roofline, effort)
