"""The disc functions under torch.func and forward-mode differentiation: everywhere the answer of the twin."""

from __future__ import annotations

import warnings

import pytest
import torch
from discs_cases import CASES, FEW_CASES, SMOOTH_CASES, random_labels
from gram_cases import random_tensor
from torch.autograd import forward_ad, gradcheck

from cnnfast import ops, reference

BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
BY_FEW_CASES = pytest.mark.parametrize("case", FEW_CASES, ids=str)
assert_same = torch.testing.assert_close


def as_function(case, module):
    """The case as a function of its tensors in order."""
    return lambda *values: case(module, dict(zip(case.shapes, values, strict=True)))


def scalar(case, module):
    return lambda *values: as_function(case, module)(*values).square().sum()


def everything(case):
    return tuple(range(len(case.shapes)))


def stacked(case, count, device):
    """`count` samples of each tensor, each a little different."""
    return [
        torch.stack([value * (1 - 0.1 * i) for i in range(count)]) for value in case.tensors(device=device).values()
    ]


@BY_CASE
class TestDerivatives:
    def test_grad(self, case, device):
        values = tuple(case.tensors(device=device).values())
        results = [torch.func.grad(scalar(case, module), everything(case))(*values) for module in (ops, reference)]
        assert_same(*results)
        assert max(grad.abs().max().item() for grad in results[0]) > 1e-4

    def test_vjp_and_jvp(self, case, device):
        values = tuple(case.tensors(device=device).values())
        output, pull = torch.func.vjp(as_function(case, ops), *values)
        expected_output, expected_pull = torch.func.vjp(as_function(case, reference), *values)
        assert_same(output, expected_output)
        upstream = random_tensor(*output.shape, device=device, seed=7)
        assert_same(pull(upstream), expected_pull(upstream))
        tangents = tuple(random_tensor(*value.shape, device=device, seed=8) for value in values)
        actual = torch.func.jvp(as_function(case, ops), values, tangents)
        assert_same(actual, torch.func.jvp(as_function(case, reference), values, tangents))
        assert actual[1].abs().max() > 1e-4

    def test_forward_mode(self, case, device):
        """A tangent on each single tensor arrives: it is never dropped."""
        for name in case.shapes:
            tangents = []
            for module in (ops, reference):
                tensors = case.tensors(device=device)
                with forward_ad.dual_level():
                    direction = random_tensor(*tensors[name].shape, device=device, seed=9)
                    tensors[name] = forward_ad.make_dual(tensors[name], direction)
                    tangents.append(forward_ad.unpack_dual(case(module, tensors)).tangent)
            assert tangents[0] is not None
            assert_same(*tangents)

    def test_vmap_in_front(self, case, device):
        values = stacked(case, 3, device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            actual = torch.func.vmap(as_function(case, ops))(*values)
        assert_same(actual, torch.stack([as_function(case, ops)(*(v[i] for v in values)) for i in range(3)]))


@BY_FEW_CASES
class TestCompositions:
    def test_jacobians(self, case, device):
        values = tuple(case.tensors(device=device).values())
        expected = torch.func.jacrev(as_function(case, reference), everything(case))(*values)
        assert_same(torch.func.jacrev(as_function(case, ops), everything(case))(*values), expected)
        assert_same(torch.func.jacfwd(as_function(case, ops), everything(case))(*values), expected)

    def test_hessian(self, case, device):
        values = tuple(case.tensors(device=device).values())
        argument = len(values) - 1
        actual = torch.func.hessian(scalar(case, ops), argument)(*values)
        assert_same(actual, torch.func.hessian(scalar(case, reference), argument)(*values))

    def test_vmap_over_one_argument_along_its_last_axis(self, case, device):
        tensors = case.tensors(device=device)
        for name, value in tensors.items():
            several = torch.stack([value, 0.5 * value, value / 3], -1)
            axes = tuple(-1 if other == name else None for other in tensors)
            values = [several if other == name else tensor for other, tensor in tensors.items()]
            actual = torch.func.vmap(as_function(case, ops), axes)(*values)
            singles = [
                as_function(case, ops)(*(v[..., i] if a == -1 else v for v, a in zip(values, axes, strict=True)))
                for i in range(3)
            ]
            assert_same(actual, torch.stack(singles))

    def test_nested_vmap(self, case, device):
        values = [torch.stack([value, value / 2]) for value in stacked(case, 3, device)]
        results = [torch.func.vmap(torch.func.vmap(as_function(case, module)))(*values) for module in (ops, reference)]
        assert_same(*results)

    def test_gradient_of_each_sample(self, case, device):
        values = stacked(case, 3, device)
        results = [
            torch.func.vmap(torch.func.grad(scalar(case, module), everything(case)))(*values)
            for module in (ops, reference)
        ]
        assert_same(*results)

    def test_ordinary_gradient_through_vmap(self, case, device):
        """The vmap rules of the operators keep them differentiable."""
        results = []
        for module in (ops, reference):
            values = [value.requires_grad_() for value in stacked(case, 3, device)]
            output = torch.func.vmap(as_function(case, module))(*values)
            results.append(torch.autograd.grad(output.square().sum(), values))
        assert_same(*results)

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
