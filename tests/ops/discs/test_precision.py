"""Rounding errors of the disc functions: small at every width, and half types lose nothing but their last digits."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.discs.cases import probabilities
from tests.ops.tensors import random_tensor

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
UNIONS = pytest.mark.parametrize("union", ["sum", "noisy_or", "max"])


@pytest.mark.parametrize("width", [64, 512, 2048, 8192])
def test_error_does_not_grow_with_the_width(width, device):
    """637 times 0.9: a convolution is wrong by 2e-3, prefix sums of rows by 1e-3 at a width of 64 and 6e-2 at 8192."""
    B = torch.full((1, 9, 20, width), 0.9, device=device)
    sums = ops.disc_sum(B, range(9), pad=0)
    exact = reference.disc_sum(B[..., :64].double(), range(9), pad=0)
    assert (sums[..., :32].double() - exact[..., :32]).abs().max() <= 4e-4
    assert torch.equal(sums[..., 20:-20], sums[..., 20:21].expand_as(sums[..., 20:-20]))


def test_rounding_error_of_random_sums(device):
    B = random_tensor(1, 9, 60, 90, device=device, dtype=torch.float32)
    exact = reference.disc_sum(B.double(), range(9))
    terms = reference.disc_sum(B.double().abs(), range(9))
    assert ((ops.disc_sum(B, range(9)).double() - exact).abs() <= 1e-6 * terms).all()


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e-3, 0.1, 0.5, 0.9, 0.999, 0.9999989])
def test_noisy_or_is_exact_for_small_and_large_probabilities(size, device):
    """Without a logarithm of 1 - b that was rounded to 1."""
    B = (size * probabilities(1, 1, 9, 40, device=device)).float()
    expected = reference.inverse_distance_transform(B.double(), (2,), union="noisy_or")
    actual = ops.inverse_distance_transform(B, (2,), union="noisy_or").double()
    assert ((actual - expected).abs() <= 1e-6 * expected).all()
    logits = ops.inverse_distance_transform(B, (0,), union="noisy_or", return_logits=True).double()
    assert (logits - torch.logit(B.double(), eps=1e-6)).abs().max() <= 2e-5 + 1e-6 * logits.abs().max()


@pytest.mark.parametrize("value", torch.linspace(0, 0.999998, 400).split(100), ids=["0", "1/4", "1/2", "3/4"])
def test_evidence_of_single_bins(value, device):
    """The kernel's own logarithm, over the whole range, within three units in the last place."""
    B = value.view(1, 1, 1, -1).to(device)
    evidence = torch.ops.cnnfast.disc_sum(B, [0], None, 0, True).double()
    expected = -torch.log1p(-B.double())
    assert ((evidence - expected).abs() <= 3 * 2.0**-24 * expected).all()


def ulps(actual, expected, dtype):
    """Distance in units of the last place of the expected values."""
    rounded = expected.to(dtype)
    above = torch.nextafter(rounded.abs(), torch.tensor(torch.inf, dtype=dtype, device=rounded.device))
    spacing = above.double() - rounded.abs().double()
    return ((actual.double() - rounded.double()).abs() / spacing).max()


@HALVES
class TestHalfPrecision:
    @UNIONS
    @pytest.mark.parametrize("return_logits", [False, True])
    def test_two_units_from_the_rounded_float32_result(self, union, return_logits, dtype, device):
        B = probabilities(2, 5, 28, 28, dtype=dtype, device=device, most=0.05)
        options = {"union": union, "return_logits": return_logits}
        actual = ops.inverse_distance_transform(B, (0, 1, 3, 5, 7), **options)
        assert actual.dtype == dtype
        expected = reference.inverse_distance_transform(B, (0, 1, 3, 5, 7), **options)
        wide = ops.inverse_distance_transform(B.float(), (0, 1, 3, 5, 7), **options)
        assert ulps(actual, expected.double() if union != "sum" and return_logits else wide.double(), dtype) <= 2

    def test_a_large_sum_and_a_bias_cancel_in_float32(self, dtype, device):
        """Rounded to halves before the bias is added, a sum of 265 would be wrong by 0.1 and more."""
        B = torch.ones(1, 5, 28, 28, dtype=dtype, device=device)
        mask = ops.inverse_distance_transform(B, (0, 1, 3, 5, 7), torch.full((5,), 1.001, device=device), -265.0, pad=0)
        expected = torch.sigmoid(torch.tensor(265 * 0.001, dtype=torch.float64)).to(dtype)
        assert ulps(mask[..., 14, 14].cpu(), expected.double(), dtype) <= 2

    def test_gradient_is_rounded_once(self, dtype, device):
        B = probabilities(2, 3, 15, 20, dtype=dtype, device=device).requires_grad_()
        sums = ops.disc_sum(B.float(), (0, 2, 5))
        upstream = random_tensor(*sums.shape, device=device, seed=1).to(dtype)
        (gradient,) = torch.autograd.grad(ops.disc_sum(B, (0, 2, 5)), B, upstream)
        exact = B.detach().double().requires_grad_()
        (expected,) = torch.autograd.grad(reference.disc_sum(exact, (0, 2, 5)), exact, upstream.double())
        close = (gradient.double() - expected).abs() <= torch.finfo(dtype).eps * (expected.abs() / 2 * 1.01 + 1e-3)
        assert gradient.dtype == dtype and close.all()

    def test_sums_beyond_the_largest_half_of_a_sum(self, dtype, device):
        B = torch.full((1, 1, 9, 9), 1000.0, dtype=dtype, device=device)
        mask = ops.inverse_distance_transform(B, (4,), torch.full((1,), 1e-4, device=device), pad=0)
        assert mask.isfinite().all() and mask.max() > 0.9
