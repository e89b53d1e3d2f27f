"""Derivatives of the disc functions: first and second order, only what is wanted, at the price promised."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cnnfast import ops, reference
from tests.ops.discs import memory
from tests.ops.discs.cases import CASES, SMOOTH_CASES, probabilities
from tests.ops.measures import Saved
from tests.ops.peak_memory import needs_linux, peaks_of
from tests.ops.promises import Gradients

BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
SUBSETS = [
    (case, names) for case in CASES for names in dict.fromkeys([*((name,) for name in case.shapes), tuple(case.shapes)])
]


def function_and_inputs(case, wanted, device):
    tensors = case.tensors(device=device, requires_grad=wanted)
    return lambda *values: case(ops, dict(zip(tensors, values, strict=True))), tuple(tensors.values())


@pytest.mark.parametrize(("case", "wanted"), SUBSETS, ids=[f"{case}-{'+'.join(names)}" for case, names in SUBSETS])
class TestNumericalDerivatives:
    def test_gradcheck(self, case, wanted, device):
        assert gradcheck(*function_and_inputs(case, wanted, device))

    def test_gradgradcheck(self, case, wanted, device):
        assert gradgradcheck(*function_and_inputs(case, wanted, device), fast_mode=case.is_max)


@BY_CASE
class TestGradients(Gradients):
    """Those of every case."""


@pytest.mark.parametrize("case", SMOOTH_CASES[1::3], ids=str)
def test_third_derivative_equals_twin(case, device):
    results = []
    for module in (ops, reference):
        tensors = case.tensors(device=device, requires_grad="all")
        gradient = case(module, tensors).pow(3).sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(gradient, tensors["B"], create_graph=True)
            gradient = gradient.pow(2).sum()
        results.append(gradient)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
class TestCertainBins:
    """Probabilities of exactly 0 and 1."""

    @pytest.mark.covering
    @pytest.mark.parametrize("union", ["sum", "noisy_or", "max"])
    @pytest.mark.parametrize("return_logits", [False, True])
    @pytest.mark.parametrize("value", [0.0, 1.0, None])
    def test_finite(self, union, return_logits, value, dtype, device):
        B = torch.zeros(2, 3, 10, 12, dtype=dtype, device=device)
        B = B.fill_(value) if value is not None else B.bernoulli_(0.1, generator=torch.Generator(device).manual_seed(0))
        B.requires_grad_()
        mask = ops.inverse_distance_transform(B, (0, 1, 4), union=union, return_logits=return_logits)
        assert mask.isfinite().all()
        (gradient,) = torch.autograd.grad(mask.float().sum(), B)
        assert gradient.isfinite().all()

    def test_noisy_or_of_a_certain_bin_keeps_its_slope(self, dtype, device):
        """d M / d b is the product of the others' doubts, also where b is 1.

        What is kept for it is M, whose distance from 1 float32 knows to one part in sixteen there.
        """
        B = torch.tensor([1.0, 0.5, 0.25], dtype=dtype, device=device).view(1, 3, 1, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(ops.inverse_distance_transform(B, (0, 0, 0), union="noisy_or").sum(), B)
        rtol = 1 / 16 if dtype == torch.float32 else 5e-3
        torch.testing.assert_close(gradient.flatten()[0].double().item(), 0.375, rtol=rtol, atol=0)


class TestSavedBytes:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_sum(self, dtype, device):
        B = probabilities(2, 3, 30, 30, dtype=dtype, device=device).requires_grad_()
        weight = torch.ones(3, device=device, requires_grad=True)
        with Saved(B, weight) as saved:
            ops.disc_sum(B, (0, 1, 4), weight)
        assert saved.bytes == 0

    def test_mask(self, device):
        """Beside the inputs its result, which has the slope of the sigmoid in it."""
        B = probabilities(2, 3, 30, 30, dtype=torch.float32, device=device).requires_grad_()
        weight, bias = (
            torch.ones(3, device=device, requires_grad=True),
            torch.zeros((), device=device, requires_grad=True),
        )
        with Saved(B, weight, bias) as saved:
            mask = ops.inverse_distance_transform(B, (0, 1, 4), weight, bias)
        assert saved.bytes == mask.untyped_storage().nbytes()
        with Saved(B) as saved:
            mask = ops.inverse_distance_transform(B, (0, 1, 4), union="noisy_or")
        assert saved.bytes == mask.untyped_storage().nbytes()

    def test_maximum(self, device):
        """Where each maximum was found, and nothing of the bins."""
        B = probabilities(2, 3, 30, 30, dtype=torch.float32, device=device).requires_grad_()
        with Saved() as saved:
            mask = ops.inverse_distance_transform(B, (0, 1, 4), union="max")
        assert saved.bytes == 8 * mask.numel()


@pytest.fixture(scope="module")
def peaks():
    return dict(zip(memory.CALLS, peaks_of(memory.__name__), strict=True))


@needs_linux
@pytest.mark.parametrize(("union", "backward"), memory.CALLS)
def test_peak_of_memory(union, backward, peaks):
    """Output, the gradient of the input, what the sigmoid saves, and 16 MiB; a convolution needs much more."""
    inputs, output = 4 * math.prod(memory.SHAPE), 4 * math.prod(memory.RESULT)
    assert peaks[union, backward] <= (inputs + 3 * output if backward else output) + (16 << 20)
