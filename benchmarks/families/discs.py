"""The inverse distance transform against deconvolutions with disc kernels, as programs without it compute it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.case import Call, Case, Implementation, Work, forward, forward_and_backward
from benchmarks.peers import compiled
from cnnfast import ops, reference
from cnnfast.arguments.discs import bin_radii

DEVICES = ("cpu", "cuda")
FORWARD = "inverse_distance_transform forward"
BACKWARD = "inverse_distance_transform forward+backward"
OPERATIONS = (FORWARD, BACKWARD)
# Size of B, and the distance R at which the transform was cut off.
SHAPES = (((8, 9, 512, 512), 9), ((2, 16, 512, 512), 16), ((64, 9, 112, 112), 9), ((256, 5, 28, 28), 9))
QUICK_SHAPES = (((2, 9, 64, 64), 9), ((16, 5, 28, 28), 9))
TOLERANCE = 1e-4
# cuDNN rounds the inputs of float32 convolutions to TF32, unless a program forbids it.
CUDNN_TOLERANCE = 5e-3
# A deconvolution of the largest case takes seconds.
ROUNDS = 3

Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One operation on one input."""

    operation: str
    shape: tuple[int, int, int, int]
    R: int
    device: str = "cpu"

    def case(self) -> Case:
        """The case of this problem."""
        return Case(
            self.operation,
            f"{'x'.join(map(str, self.shape))} R={self.R}",
            self.shape,
            self.work,
            device=self.device,
            rounds=ROUNDS,
            implementations=lambda: Bench(self).implementations(),
        )

    @property
    def radii(self) -> tuple[int, ...]:
        """Radius of the discs of every bin."""
        return bin_radii(self.R, self.shape[1])

    @property
    def work(self) -> Work:
        """Per pixel 2 rho + 1 additions a bin and 2 rho for all, backward again; every array once to or from memory.

        Backward forms the products for the weights too; B is read once more, and its gradient is written.
        """
        n, k, h, w = self.shape
        largest = max(self.radii)
        rows = sum(2 * radius + 1 for radius in self.radii)
        pixels, results = n * h * w, n * (h + 2 * largest) * (w + 2 * largest)
        flops, moved = pixels * (rows + k) + 2 * largest * results, k * pixels + results
        if self.operation == BACKWARD:
            flops, moved = flops + pixels * (rows + 2 * largest + 3 * k), moved + 2 * k * pixels + results
        return Work(flops, 4 * moved)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities of bins, weights, and a bias that keeps the masks away from 1."""
        generator = torch.Generator().manual_seed(0)
        bins = torch.rand(self.shape, generator=generator) * 0.01
        weight = torch.rand(self.shape[1], generator=generator) + 0.5
        return bins.to(self.device), weight.to(self.device), torch.tensor(-2.0, device=self.device)


def disc(radius: int, size: int, device: str) -> Tensor:
    """Ones in a disc, in the middle of a square of zeros."""
    steps = torch.arange(size, device=device) - size // 2
    return (steps.square()[:, None] + steps.square() <= radius * radius).float()


def deconvolution(radii: tuple[int, ...], device: str) -> Decoder:
    """One deconvolution of all bins, with kernels of the size of the largest disc."""
    size = 2 * max(radii) + 1
    discs = torch.stack([disc(radius, size, device) for radius in radii])[:, None]

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kernel = discs * weight[:, None, None, None]
        return torch.sigmoid(functional.conv_transpose2d(bins, kernel, bias[None]))

    return decode


def deconvolution_per_bin(radii: tuple[int, ...], device: str) -> Decoder:
    """A deconvolution a bin, each with a kernel of its own size, added up: the layers of the paper."""
    discs = [disc(radius, 2 * radius + 1, device)[None, None] for radius in radii]
    largest = max(radii)

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        total = bias
        for n, radius in enumerate(radii):
            margin = largest - radius
            part = functional.conv_transpose2d(bins[:, n : n + 1], discs[n] * weight[n])
            total = total + functional.pad(part, (margin,) * 4)
        return torch.sigmoid(total)

    return decode


def fourier(radii: tuple[int, ...], device: str) -> Decoder:
    """Products of Fourier transforms: in float64 the right result, where a deconvolution would take 46 GB."""
    largest = max(radii)
    discs = torch.stack([disc(radius, 2 * largest + 1, device) for radius in radii]).double()

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = [side + 2 * largest for side in bins.shape[-2:]]
        kernels = torch.fft.rfft2(discs * weight[:, None, None], s=size)
        sums = torch.fft.irfft2((torch.fft.rfft2(bins, s=size) * kernels).sum(1, keepdim=True), s=size)
        return torch.sigmoid(sums + bias)

    return decode


class Bench:
    """Everything that is called for one problem; tensors are made when they are first asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.expected = functools.cache(self._expected)

    @functools.cached_property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem.inputs`."""
        return self.problem.inputs()

    def call(self, decode: Decoder, *inputs: Tensor) -> Call:
        """The operation with the given decoder, returning all its results."""
        inputs = inputs or self.inputs
        if self.problem.operation == FORWARD:
            return forward(decode, *inputs)
        n, _, h, w = self.problem.shape
        margin = 2 * max(self.problem.radii)
        upstream = torch.randn((n, 1, h + margin, w + margin), generator=torch.Generator().manual_seed(1))
        return forward_and_backward(decode, *inputs, upstream=upstream.to(self.problem.device))

    def _expected(self) -> list[Tensor]:
        """Results in float64."""
        exact = fourier(self.problem.radii, self.problem.device)
        return [value.detach() for value in self.call(exact, *(tensor.double() for tensor in self.inputs))()]

    def implementations(self) -> Iterator[Implementation]:
        """Ours, then the alternatives."""
        radii, device = self.problem.radii, self.problem.device
        builds: dict[str, Callable[[], Call]] = {
            "cnnfast": lambda: self.call(lambda b, w, c: ops.inverse_distance_transform(b, radii, w, c)),
            "eager": lambda: self.call(lambda b, w, c: reference.inverse_distance_transform(b, radii, w, c)),
            "conv_transpose2d": lambda: self.call(deconvolution(radii, device)),
            "channels_last": self._channels_last,
            "torch.compile": lambda: self.call(compiled(deconvolution(radii, device))),
            "one a bin": lambda: self.call(deconvolution_per_bin(radii, device)),
        }
        for name, build in builds.items():
            rounded = device == "cuda" and name not in ("cnnfast", "eager")
            yield Implementation(name, build, CUDNN_TOLERANCE if rounded else TOLERANCE, self.expected)

    def _channels_last(self) -> Call:
        bins, weight, bias = self.inputs
        decode = deconvolution(self.problem.radii, self.problem.device)
        return self.call(decode, bins.to(memory_format=torch.channels_last), weight, bias)


def cases(device: str, quick: bool) -> Iterator[Case]:
    """Both operations at every shape."""
    for operation in OPERATIONS:
        for shape, R in QUICK_SHAPES if quick else SHAPES:
            yield Problem(operation, shape, R, device).case()
