"""3x3 convolutions of the layers of a VGG at 256x256 with frozen weights, and their gradient for the input."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Call, Case, Implementation, Work, forward, forward_and_backward
from cnnfast.features.frozen import FrozenConv2d

FORWARD, BOTH = "3x3 convolution forward", "3x3 convolution forward+backward"
# Channels, and the side of the maps.
LAYERS = ((64, 256), (128, 128), (256, 64), (512, 32))
TOLERANCE = 1e-4


def case(channels: int, side: int, backward: bool) -> Case:
    """The case of one layer.

    Its FLOPs are the products of tiles of 4x4 px with 36 values, a quarter of the direct algorithm's; transformations
    are free.
    """
    shape, passes = (1, channels, side, side), 1 + backward
    size = channels * side * side
    work = Work(2 * 36 / 16 * size * channels * passes, 4 * (2 * size + 9 * channels**2) * passes)
    return Case(
        BOTH if backward else FORWARD,
        "x".join(map(str, shape)),
        shape,
        work,
        implementations=lambda: Bench(shape, backward).implementations(),
    )


class Bench:
    """Maps, weights and the gradient of a result of one layer, all in channels_last."""

    def __init__(self, shape: tuple[int, int, int, int], backward: bool) -> None:
        self.shape, self.backward = shape, backward
        self.expected = functools.cache(self._expected)

    @functools.cached_property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps, the gradient of the result, weights and biases."""
        generator, channels = torch.Generator().manual_seed(0), self.shape[1]
        x, upstream = (
            torch.randn(self.shape, generator=generator).contiguous(memory_format=torch.channels_last) for _ in range(2)
        )
        weight = torch.randn(channels, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        return x, upstream, weight, torch.randn(channels, generator=generator)

    def implementations(self) -> Iterator[Implementation]:
        """Ours, then PyTorch's."""
        for name, build in (
            ("cnnfast", self.ours),
            ("eager", lambda: self.eager(torch.contiguous_format)),
            ("eager channels_last", lambda: self.eager(torch.channels_last)),
            ("NNPACK", self.nnpack),
        ):
            yield Implementation(name, build, TOLERANCE, self.expected)

    def call(self, function: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> Call:
        """The function, or it and its gradient."""
        return forward_and_backward(function, x, upstream=upstream) if self.backward else forward(function, x)

    def ours(self) -> Call:
        """The layer of the feature networks."""
        x, upstream, weight, bias = self.tensors
        layer = FrozenConv2d(x.shape[1], x.shape[1], 3, padding=1).requires_grad_(False)
        layer.load_state_dict({"weight": weight, "bias": bias})
        return self.call(layer.to(memory_format=torch.channels_last), x, upstream)

    def eager(self, memory_format: torch.memory_format) -> Call:
        """`conv2d`, which is oneDNN's."""
        x, upstream, weight = (tensor.contiguous(memory_format=memory_format) for tensor in self.tensors[:3])
        return self.call(lambda maps: F.conv2d(maps, weight, self.tensors[3], padding=1), x, upstream)

    def nnpack(self) -> Call:
        """NNPACK's convolution, also with fewer multiplications, which PyTorch takes for large batches alone."""
        if not torch.backends.nnpack.is_available():  # type: ignore[attr-defined]
            raise ImportError("this torch has no NNPACK")
        x, upstream, weight, bias = self.tensors
        function = torch._nnpack_spatial_convolution
        return self.call(
            lambda maps: function(maps, weight, bias, padding=[1, 1]), x.contiguous(), upstream.contiguous()
        )

    def _expected(self) -> tuple[Tensor, ...]:
        """Results in float64."""
        x, upstream, weight, bias = (tensor.double() for tensor in self.tensors)
        return tuple(self.call(lambda maps: F.conv2d(maps, weight, bias, padding=1), x, upstream)())


def cases(device: str, quick: bool) -> Iterator[Case]:
    """Every layer, forward and with its gradient."""
    for backward in (False, True):
        for channels, side in LAYERS[-1:] if quick else LAYERS:
            yield case(channels, side, backward)
