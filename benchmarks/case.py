"""What is measured: a case, the implementations that are called for it, and what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Work:
    """What a case cannot do without: floating-point operations, and bytes to and from memory."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Implementation:
    """A way to solve a case.

    Attributes:
        name: column of the tables; those of ours begin with "cnnfast".
        build: returns the call to be timed, or raises ImportError if this machine does not have it.
        tolerance: largest relative error of a result that still counts as right.
        expected: results in float64, or None where the case has no such thing.
    """

    name: str
    build: Callable[[], Call]
    tolerance: float = 0.0
    expected: Callable[[], Sequence[Tensor]] | None = None


@dataclass(frozen=True)
class Case:
    """One operation on one input.

    Attributes:
        group: the operation, a table of the report.
        label: the input, a row of that table.
        shape: of the input.
        work: what the bound is computed from; None has no bound.
        dtype: name of the dtype, or "tf32" for float32 whose products may be rounded to TF32.
        device: "cpu" or "cuda".
        rounds: of calls that are made at least; slow cases make fewer than seven.
        implementations: makes them, ours first. Nothing large is allocated before one of them is built or checked.
        details: what else a record of the case says.
    """

    group: str
    label: str
    shape: tuple[int, ...] = ()
    work: Work | None = None
    dtype: str = "float32"
    device: str = "cpu"
    rounds: int = 7
    implementations: Callable[[], Iterable[Implementation]] = tuple
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the case is found by."""
        return f"{self.group}, {self.label} {self.dtype}"


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of tensors: float32 for "tf32"."""
    return torch.float32 if name == "tf32" else getattr(torch, name)


@contextmanager
def matmul_precision(dtype: str) -> Iterator[None]:
    """Inside, products of float32 matrices may be rounded to TF32 if the dtype is "tf32"."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def forward(function: Callable[..., Tensor], *inputs: Tensor) -> Call:
    """The call of a function that records nothing for a backward pass."""
    return torch.no_grad()(lambda: (function(*inputs),))


def forward_and_backward(function: Callable[..., Tensor], *inputs: Tensor, upstream: Tensor | None = None) -> Call:
    """The call of a function and its backward pass; returns its result and the gradients of all inputs.

    `upstream` is the gradient of the result; a scalar result needs none.
    """
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    if upstream is not None:
        upstream = upstream.to(function(*leaves).dtype)

    def call() -> tuple[Tensor, ...]:
        result = function(*leaves)
        return result.detach(), *torch.autograd.grad(result, leaves, upstream)

    return call
