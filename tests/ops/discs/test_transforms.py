"""The disc functions under torch.func and forward-mode differentiation: everywhere the answer of the twin."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.autograd import gradcheck

from cnnfast import ops, reference
from tests.ops.discs.cases import CASES, FEW_CASES, SMOOTH_CASES, random_labels
from tests.ops.promises import (
    Derivatives,
    Jacobians,
    as_function,
    assert_same,
    check_gradient_of_each_sample,
    check_ordinary_gradient_through_vmap,
    check_vmap_over_one_argument,
    scalar,
)

BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
BY_FEW_CASES = pytest.mark.parametrize("case", FEW_CASES, ids=str)


def stacked(case, count, device):
    """`count` samples of each tensor, each a little different."""
    return [
        torch.stack([value * (1 - 0.1 * i) for i in range(count)]) for value in case.tensors(device=device).values()
    ]


@BY_CASE
class TestDerivatives(Derivatives):
    def test_vmap_in_front(self, case, device):
        values = stacked(case, 3, device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            actual = torch.func.vmap(as_function(case, ops))(*values)
        assert_same(actual, torch.stack([as_function(case, ops)(*(v[i] for v in values)) for i in range(3)]))


@BY_FEW_CASES
class TestCompositions(Jacobians):
    def test_hessian(self, case, device):
        values = tuple(case.tensors(device=device).values())
        argument = len(values) - 1
        actual = torch.func.hessian(scalar(case, ops), argument)(*values)
        assert_same(actual, torch.func.hessian(scalar(case, reference), argument)(*values))

    def test_vmap_over_one_argument_along_its_last_axis(self, case, device):
        check_vmap_over_one_argument(case, device, lambda value: [value, 0.5 * value, value / 3])

    def test_nested_vmap(self, case, device):
        values = [torch.stack([value, value / 2]) for value in stacked(case, 3, device)]
        results = [torch.func.vmap(torch.func.vmap(as_function(case, module)))(*values) for module in (ops, reference)]
        assert_same(*results)

    def test_gradient_of_each_sample(self, case, device):
        check_gradient_of_each_sample(case, stacked(case, 3, device))

    def test_ordinary_gradient_through_vmap(self, case, device):
        check_ordinary_gradient_through_vmap(case, lambda: stacked(case, 3, device))

    def test_jacobian_by_batched_gradients(self, case, device):
        """`vectorize` maps the backward operators."""
        values = tuple(case.tensors(device=device).values())
        actual = torch.autograd.functional.jacobian(as_function(case, ops), values, vectorize=True)
        assert_same(actual, torch.autograd.functional.jacobian(as_function(case, reference), values))


@pytest.mark.parametrize("case", SMOOTH_CASES[::4], ids=str)
def test_gradcheck_of_forward_mode(case, device):
    tensors = tuple(case.tensors(device=device, requires_grad="all").values())
    assert gradcheck(as_function(case, ops), tensors, check_forward_ad=True, check_backward_ad=False, fast_mode=True)


def test_vmap_of_the_union(device):
    labels = random_labels(3, 2, 9, 20, kinds=3, device=device)
    actual = torch.func.vmap(lambda labels: ops.disc_union(labels, (0, 1, 3)))(labels)
    assert torch.equal(actual, torch.stack([ops.disc_union(each, (0, 1, 3)) for each in labels]))
