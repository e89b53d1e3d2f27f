"""One step of our L-BFGS against one of torch.optim.LBFGS, on a function that costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Call, Case, Effort, Implementation, Work, measure
from cnnfast.models.style.picture.lbfgs import LBFGS

STEP = "L-BFGS step"
SIDES = (256, 512, 1024)
HISTORY = 20


class Quadratic:
    """A separable quadratic over a picture whose curvatures span five decades, so that it takes long to minimise."""

    def __init__(self, side: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.curvature = 10 ** (-5 * torch.rand(3, side, side, generator=generator))
        self.centre = torch.rand(3, side, side, generator=generator)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and gradient."""
        difference = x - self.centre
        gradient = self.curvature * difference
        return 0.5 * torch.dot(gradient.view(-1), difference.view(-1)), gradient


def ours(function: Quadratic) -> Call:
    """One step of ours with a full history."""
    optimizer = LBFGS(torch.zeros_like(function.centre), function, history=HISTORY)

    def call() -> tuple[Tensor, ...]:
        loss = optimizer.step()
        if optimizer.stalled:
            raise RuntimeError("bench_lbfgs: the optimiser has converged, its steps are empty")
        return (torch.tensor(loss),)

    for _ in range(HISTORY + 2):
        call()
    return call


def torch_optim(function: Quadratic) -> Call:
    """One step of torch.optim.LBFGS with a full history and the same first step length."""
    x = torch.zeros_like(function.centre).requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=HISTORY, tolerance_grad=-1, tolerance_change=-1)

    @torch.no_grad()
    def closure() -> Tensor:
        loss, x.grad = function(x)
        return loss

    def call() -> tuple[Tensor, ...]:
        return (optimizer.step(closure),)

    for _ in range(HISTORY + 2):
        call()
    return call


def objective_alone(function: Quadratic) -> Call:
    """One evaluation, which both steps contain."""
    return lambda: function(torch.zeros_like(function.centre))[:1]


def problem(side: int) -> tuple[Case, list[Implementation]]:
    """The case of one picture size: S and Y are read twice a step."""
    function = Quadratic(side)
    n = function.centre.numel()
    work = Work(flops=2 * 2 * 2 * HISTORY * n, bytes=2 * 2 * HISTORY * n * 4)
    case = Case(STEP, f"3x{side}x{side}, history {HISTORY}", work)
    return case, [
        Implementation("cnnfast", lambda: ours(function)),
        Implementation("torch.optim.LBFGS", lambda: torch_optim(function)),
        Implementation("objective alone", lambda: objective_alone(function)),
    ]


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = ""
) -> Iterator[dict[str, Any]]:
    """Measure every picture size."""
    for side in SIDES[:1] if quick else SIDES:
        case, implementations = problem(side)
        if cases in f"{case.group} {case.label}":
            yield measure(case, implementations, roofline, effort)
