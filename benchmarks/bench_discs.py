"""The inverse distance transform against deconvolutions with disc kernels, as programs without it compute it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common import Call, Case, Effort, Implementation, Work, measure
from cnnfast import ops
from cnnfast.arguments.discs import bin_radii

FORWARD = "inverse_distance_transform forward"
BACKWARD = "inverse_distance_transform forward+backward"
OPERATIONS = (FORWARD, BACKWARD)
# Size of B, and the distance R at which the transform was cut off.
SHAPES = (((8, 9, 512, 512), 9), ((2, 16, 512, 512), 16), ((64, 9, 112, 112), 9), ((256, 5, 28, 28), 9))
QUICK_SHAPES = (((2, 9, 64, 64), 9), ((16, 5, 28, 28), 9))
TOLERANCE = 1e-4
# A deconvolution of the largest case takes seconds.
ROUNDS = 3

Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One operation on one input."""

    operation: str
    shape: tuple[int, int, int, int]
    R: int

    @property
    def label(self) -> str:
        """Row of the tables."""
        return f"{'x'.join(map(str, self.shape))} R={self.R}"

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
        return bins, torch.rand(self.shape[1], generator=generator) + 0.5, torch.tensor(-2.0)


def disc(radius: int, size: int) -> Tensor:
    """Ones in a disc, in the middle of a square of zeros."""
    steps = torch.arange(size) - size // 2
    return (steps.square()[:, None] + steps.square() <= radius * radius).float()


def deconvolution(radii: tuple[int, ...]) -> Decoder:
    """One deconvolution of all bins, with kernels of the size of the largest disc."""
    size = 2 * max(radii) + 1
    discs = torch.stack([disc(radius, size) for radius in radii])[:, None]

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kernel = discs * weight[:, None, None, None]
        return torch.sigmoid(functional.conv_transpose2d(bins, kernel, bias[None]))

    return decode


def deconvolution_per_bin(radii: tuple[int, ...]) -> Decoder:
    """A deconvolution a bin, each with a kernel of its own size, added up: the layers of the paper."""
    discs = [disc(radius, 2 * radius + 1)[None, None] for radius in radii]
    largest = max(radii)

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        total = bias
        for n, radius in enumerate(radii):
            margin = largest - radius
            part = functional.conv_transpose2d(bins[:, n : n + 1], discs[n] * weight[n])
            total = total + functional.pad(part, (margin,) * 4)
        return torch.sigmoid(total)

    return decode


def fourier(radii: tuple[int, ...]) -> Decoder:
    """Products of Fourier transforms: in float64 the right result, where a deconvolution would take 46 GB."""
    largest = max(radii)
    discs = torch.stack([disc(radius, 2 * largest + 1) for radius in radii]).double()

    def decode(bins: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = [side + 2 * largest for side in bins.shape[-2:]]
        kernels = torch.fft.rfft2(discs * weight[:, None, None], s=size)
        sums = torch.fft.irfft2((torch.fft.rfft2(bins, s=size) * kernels).sum(1, keepdim=True), s=size)
        return torch.sigmoid(sums + bias)

    return decode


class Bench:
    """Everything that is called for one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.inputs = problem.inputs()
        n, _, h, w = problem.shape
        margin = 2 * max(problem.radii)
        self.upstream = torch.randn((n, 1, h + margin, w + margin), generator=torch.Generator().manual_seed(1))
        self._expected: list[Tensor] | None = None

    def call(self, decode: Decoder, inputs: tuple[Tensor, Tensor, Tensor] | None = None) -> Call:
        """The operation with the given decoder, returning all its results."""
        inputs = inputs or self.inputs
        if self.problem.operation == FORWARD:
            return torch.no_grad()(lambda: (decode(*inputs),))
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        upstream = self.upstream.to(leaves[0].dtype)

        def backward() -> tuple[Tensor, ...]:
            mask = decode(*leaves)
            return mask.detach(), *torch.autograd.grad(mask, leaves, upstream)

        return backward

    def expected(self) -> list[Tensor]:
        """Results in float64."""
        if self._expected is None:
            exact = tuple(tensor.double() for tensor in self.inputs)
            call = self.call(fourier(self.problem.radii), exact)
            self._expected = [value.detach() for value in call()]
        return self._expected

    def implementations(self) -> Iterator[Implementation]:
        """Ours, then the alternatives."""
        radii = self.problem.radii
        builds: dict[str, Callable[[], Call]] = {
            "cnnfast": lambda: self.call(lambda b, w, c: ops.inverse_distance_transform(b, radii, w, c)),
            "conv_transpose2d": lambda: self.call(deconvolution(radii)),
            "channels_last": self._channels_last,
            "torch.compile": self._compiled,
            "one a bin": lambda: self.call(deconvolution_per_bin(radii)),
        }
        for name, build in builds.items():
            yield Implementation(name, build, TOLERANCE, self.expected)

    def _channels_last(self) -> Call:
        bins, weight, bias = self.inputs
        return self.call(deconvolution(self.problem.radii), (bins.to(memory_format=torch.channels_last), weight, bias))

    def _compiled(self) -> Call:
        if shutil.which("c++") is None and shutil.which("g++") is None:
            raise ImportError("torch.compile needs a C++ compiler")
        torch.compiler.reset()
        return self.call(torch.compile(deconvolution(self.problem.radii), fullgraph=True, dynamic=False))


def problems(quick: bool) -> list[Problem]:
    """Both operations at every shape."""
    return [Problem(o, shape, R) for o in OPERATIONS for shape, R in (QUICK_SHAPES if quick else SHAPES)]


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = ""
) -> Iterator[dict[str, Any]]:
    """Measure all problems whose group and label contain a text."""
    effort = dataclasses.replace(effort, rounds=min(effort.rounds, ROUNDS))
    for problem in problems(quick):
        if cases not in f"{problem.operation} {problem.label}":
            continue
        case = Case(problem.operation, problem.label, problem.work)
        yield measure(case, list(Bench(problem).implementations()), roofline, effort)
