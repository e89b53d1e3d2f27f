"""The fused Gram functions under torch.func and forward-mode differentiation: everywhere the answer of the twin."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.autograd import gradcheck

from cnnfast import ops, reference
from tests.ops.gram.cases import CASES, FEW_CASES
from tests.ops.promises import (
    Derivatives,
    Jacobians,
    as_function,
    assert_same,
    check_gradient_of_each_sample,
    check_ordinary_gradient_through_vmap,
    check_vmap_over_one_argument,
    everything,
    scalar,
)
from tests.ops.tensors import random_tensor

BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
BY_FEW_CASES = pytest.mark.parametrize("case", FEW_CASES, ids=str)


def several(case, device):
    """Three samples of each tensor."""
    return [random_tensor(3, *shape, device=device, seed=i).abs() for i, shape in enumerate(case.shapes.values())]


@BY_CASE
class TestDerivatives(Derivatives, Jacobians):
    def test_vmap_in_front(self, case, device):
        values = several(case, device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            actual = torch.func.vmap(as_function(case, ops))(*values)
        expected = torch.stack([as_function(case, ops)(*(value[i] for value in values)) for i in range(3)])
        assert_same(actual, expected)
        assert_same(actual, torch.func.vmap(as_function(case, reference))(*values))


@BY_FEW_CASES
class TestCompositions:
    def test_hessian(self, case, device):
        values = tuple(case.tensors(device=device).values())
        for argument in everything(case):
            actual = torch.func.hessian(scalar(case, ops), argument)(*values)
            assert_same(actual, torch.func.hessian(scalar(case, reference), argument)(*values))

    def test_vmap_over_one_argument_along_its_last_axis(self, case, device):
        check_vmap_over_one_argument(case, device, lambda value: [value, 2 * value, value + 1])

    def test_nested_vmap(self, case, device):
        values = [
            random_tensor(2, 3, *shape, device=device, seed=i).abs() for i, shape in enumerate(case.shapes.values())
        ]
        results = [torch.func.vmap(torch.func.vmap(as_function(case, module)))(*values) for module in (ops, reference)]
        assert_same(*results)

    def test_gradient_of_each_sample(self, case, device):
        check_gradient_of_each_sample(case, several(case, device))

    def test_ordinary_gradient_through_vmap(self, case, device):
        check_ordinary_gradient_through_vmap(case, lambda: several(case, device))

    def test_gradcheck_of_forward_mode(self, case, device):
        tensors = tuple(case.tensors(device=device, requires_grad="all").values())
        assert gradcheck(
            as_function(case, ops), tensors, check_forward_ad=True, check_backward_ad=False, fast_mode=True
        )

    def test_jacobian_of_autograd_functional(self, case, device):
        values = tuple(case.tensors(device=device).values())
        actual = torch.autograd.functional.jacobian(as_function(case, ops), values)
        assert_same(actual, torch.autograd.functional.jacobian(as_function(case, reference), values))


def test_vmap_of_empty_batches(device):
    x = torch.zeros(3, 0, 4, 5, device=device)
    assert torch.func.vmap(ops.gram_matrix)(x).shape == (3, 0, 4, 4)
    target = torch.eye(4, device=device)
    assert torch.equal(torch.func.vmap(ops.gram_mse_loss, (0, None))(x, target), torch.zeros(3, device=device))


def test_tangent_of_half_precision_features(device):
    x = random_tensor(1, 3, 10, dtype=torch.bfloat16, device=device)
    output, tangent = torch.func.jvp(ops.gram_matrix, (x,), (torch.ones_like(x),))
    assert output.dtype == tangent.dtype == torch.float32
    torch.testing.assert_close(tangent, (x.sum(-1)[:, None] + x.sum(-1)[..., None]).float() / 10, rtol=2e-2, atol=2e-2)
