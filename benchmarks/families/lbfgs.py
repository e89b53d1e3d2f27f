"""One step of our L-BFGS against one of torch.optim.LBFGS, on a function that costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.case import Call, Case, Implementation, Work
from cnnfast.models.style.picture.lbfgs import LBFGS

STEP = "L-BFGS step"
SIDES = (256, 512, 1024)
HISTORY = 20
HEADLINE = f"3x512x512, history {HISTORY}"


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


def with_full_history(step: Callable[[], Tensor]) -> Call:
    """A step as a call, after so many that its history is full."""
    for _ in range(HISTORY + 2):
        step()
    return lambda: (step(),)


def ours(function: Quadratic) -> Call:
    """One step of ours."""
    optimizer = LBFGS(torch.zeros_like(function.centre), function, history=HISTORY)

    def step() -> Tensor:
        loss = optimizer.step()
        if optimizer.stalled:
            raise RuntimeError("lbfgs: the optimiser has converged, its steps are empty")
        return torch.tensor(loss)

    return with_full_history(step)


def torch_optim(function: Quadratic) -> Call:
    """One step of torch.optim.LBFGS with the same first step length."""
    x = torch.zeros_like(function.centre).requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=HISTORY, tolerance_grad=-1, tolerance_change=-1)

    @torch.no_grad()
    def closure() -> Tensor:
        loss, x.grad = function(x)
        return loss

    return with_full_history(lambda: optimizer.step(closure))


def objective_alone(function: Quadratic) -> Call:
    """One evaluation, which both steps contain."""
    return lambda: function(torch.zeros_like(function.centre))[:1]


def cases(device: str, quick: bool) -> Iterator[Case]:
    """Pictures of several sizes; S and Y, the history, are read twice a step."""
    for side in SIDES[:1] if quick else SIDES:
        n = 3 * side * side
        work = Work(flops=2 * 2 * 2 * HISTORY * n, bytes=2 * 2 * HISTORY * n * 4)

        def implementations(side: int = side) -> Iterator[Implementation]:
            for name, build in (
                ("cnnfast", ours),
                ("torch.optim.LBFGS", torch_optim),
                ("objective alone", objective_alone),
            ):
                yield Implementation(name, lambda build=build: build(Quadratic(side)))

        yield Case(STEP, f"3x{side}x{side}, history {HISTORY}", (3, side, side), work, implementations=implementations)
