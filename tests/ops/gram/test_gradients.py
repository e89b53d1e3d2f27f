"""Derivatives of the fused Gram functions: first and second order, only what is wanted, at the price promised."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cnnfast import ops, reference
from tests.ops.gram.cases import CASES
from tests.ops.measures import Saved, peak_bytes
from tests.ops.promises import Gradients
from tests.ops.tensors import random_tensor

BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)


def differentiated_subsets(case):
    """Every tensor alone, and all together."""
    names = list(case.shapes)
    return [(name,) for name in names] + ([tuple(names)] if len(names) > 1 else [])


CHECKS = [(case, wanted) for case in CASES for wanted in differentiated_subsets(case)]
CHECK_IDS = [f"{case}-{'+'.join(wanted)}" for case, wanted in CHECKS]


@pytest.mark.parametrize(("case", "wanted"), CHECKS, ids=CHECK_IDS)
class TestNumericalDerivatives:
    def function_and_inputs(self, case, wanted, device):
        tensors = case.tensors(device=device, requires_grad=wanted)
        return lambda *values: case(ops, dict(zip(tensors, values, strict=True))), tuple(tensors.values())

    def test_gradcheck(self, case, wanted, device):
        function, inputs = self.function_and_inputs(case, wanted, device)
        assert gradcheck(function, inputs)

    def test_gradgradcheck(self, case, wanted, device):
        function, inputs = self.function_and_inputs(case, wanted, device)
        assert gradgradcheck(function, inputs)


@pytest.mark.parametrize(("channels", "positions"), [(1, 1), (1, 33), (2, 7), (5, 1), (5, 33), (9, 2)])
@pytest.mark.parametrize("centered", [False, True])
def test_numerical_derivatives_of_odd_sizes(channels, positions, centered, device):
    x = random_tensor(1, channels, positions, device=device).requires_grad_()
    target = random_tensor(channels, channels, device=device, seed=1).requires_grad_()
    weight = (random_tensor(1, positions, device=device, seed=2) - 0.5).clamp_min(0)

    def loss(x, target):
        return ops.gram_mse_loss(x, target, pixel_weight=weight, centered=centered, scale="mean")

    assert gradcheck(loss, (x, target), fast_mode=True)
    assert gradgradcheck(loss, (x, target), fast_mode=True)
    assert gradcheck(lambda x: ops.gram_matrix(x, 3.0, pixel_weight=weight, centered=centered), x, fast_mode=True)


@BY_CASE
class TestGradients(Gradients):
    """Those of every case."""


def test_saved_tensors_may_be_offloaded(device):
    x = random_tensor(2, 3, 10, device=device).requires_grad_()
    target = random_tensor(3, 3, device=device, seed=1).requires_grad_()
    (expected,) = torch.autograd.grad(ops.gram_mse_loss(x, target), x)
    with torch.autograd.graph.save_on_cpu():
        loss = ops.gram_mse_loss(x, target)
    assert torch.equal(torch.autograd.grad(loss, x)[0], expected)


class TestLayoutOfTheGradient:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
    def test_equals_the_layout_of_the_input(self, device, dtype):
        contiguous = random_tensor(2, 5, 6, 7, device=device, dtype=dtype)
        for x in (contiguous, contiguous.to(memory_format=torch.channels_last)):
            x = x.detach().requires_grad_()
            y = x.detach()[:, :3].clone(memory_format=torch.preserve_format).requires_grad_()
            target = torch.eye(5, device=device)
            assert torch.autograd.grad(ops.gram_matrix(x).sum(), x)[0].stride() == x.stride()
            assert torch.autograd.grad(ops.gram_mse_loss(x, target, centered=True), x)[0].stride() == x.stride()
            for grad, tensor in zip(torch.autograd.grad(ops.cross_gram(x, y).sum(), (x, y)), (x, y), strict=True):
                assert grad.stride() == tensor.stride()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
class TestSavedBytes:
    """Of 2 x 16 features of 30 x 30 pixels: a copy of x would be 115,200 bytes in float32, C^2 values are 1,024."""

    def features(self, device, dtype, memory_format):
        x = random_tensor(2, 16, 30, 30, device=device, dtype=dtype)
        return x.to(memory_format=memory_format).requires_grad_()

    @pytest.mark.parametrize("centered", [False, True])
    def test_loss(self, device, dtype, memory_format, centered):
        x, target = self.features(device, dtype, memory_format), torch.eye(16, device=device, requires_grad=True)
        with Saved(x, target) as saved:
            ops.gram_mse_loss(x, target, centered=centered)
        assert 0 < saved.bytes <= 2 * (2 * 16 * 16) * 4 + 64

    def test_loss_for_the_target_alone(self, device, dtype, memory_format):
        x, target = self.features(device, dtype, memory_format), torch.eye(16, device=device, requires_grad=True)
        with Saved(target) as saved:
            ops.gram_mse_loss(x.detach(), target)
        assert saved.bytes <= x.untyped_storage().nbytes() + 2 * (2 * 16 * 16) * 4 + 64

    def test_gram_matrix(self, device, dtype, memory_format):
        x = self.features(device, dtype, memory_format)
        weight = torch.ones(2, 1, 30, 30, device=device)
        with Saved(x) as saved:
            ops.gram_matrix(x)
            ops.gram_matrix(x, centered=True)
        assert saved.bytes == 0
        with Saved(x, weight) as saved:
            ops.gram_matrix(x, pixel_weight=weight)
        assert saved.bytes == 0

    def test_cross_gram(self, device, dtype, memory_format):
        x, y = self.features(device, dtype, memory_format), self.features(device, dtype, memory_format)
        with Saved(x, y) as saved:
            ops.cross_gram(x, y)
        assert saved.bytes == 0


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_peak_memory_of_forward_and_backward(memory_format, centered):
    """The gradient of the input and a few matrices; plain PyTorch needs several copies of the input."""
    x = random_tensor(1, 64, 128, 128, dtype=torch.float32).to(memory_format=memory_format).requires_grad_()
    target = torch.eye(64)

    def run(module):
        loss = module.gram_mse_loss(x, target, centered=centered)
        return loss, torch.autograd.grad(loss, x)

    run(ops)
    budget = x.numel() * 4 + 4 * 64 * 64 * 4 + 4096
    assert peak_bytes(lambda: run(ops)) <= budget
    assert peak_bytes(lambda: run(reference)) > budget
