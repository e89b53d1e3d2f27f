"""Rounding errors of the fused Gram functions: small for any number of positions, and nothing overflows."""

from __future__ import annotations

import os

import pytest
import torch

from cnnfast import ops
from tests.ops.tensors import random_tensor, relative_error, relu_features

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def exact_gram(x, chunk=1 << 16):
    """x x^T / M in float64, a part of the positions at a time."""
    total = torch.zeros(x.shape[0], x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for part in x.split(chunk, -1):
        part = part.double()
        total += part @ part.mT
    return total / x.shape[-1]


def available_bytes():
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


class TestManyPositions:
    """Relative error at most 1e-6 of features of size 50 behind a ReLU; a plain float32 sum has 2e-4 of a million."""

    @pytest.mark.parametrize("channels", [1, 3, 8, 17, 33, 64])
    def test_65536(self, channels, device):
        x = relu_features(1, channels, 1 << 16, device=device)
        expected = exact_gram(x)
        assert relative_error(ops.gram_matrix(x), expected) <= 1e-6
        assert relative_error(ops.gram_matrix(x.mT.contiguous().mT), expected) <= 1e-6
        assert relative_error(ops.cross_gram(x, x), expected) <= 1e-6

    @pytest.mark.parametrize("channels", [1, 4, 9])
    def test_a_million(self, channels, device):
        x = relu_features(1, channels, 1 << 20, device=device)
        expected = exact_gram(x)
        assert relative_error(ops.gram_matrix(x), expected) <= 1e-6
        assert relative_error(ops.gram_matrix(x, pixel_weight=torch.ones(1, 1 << 20, device=device)), expected) <= 1e-6
        assert relative_error(ops.gram_matrix(x.mT.contiguous().mT), expected) <= 1e-6

    @pytest.mark.slow
    @pytest.mark.parametrize("channels", [1, 5, 16])
    def test_four_millions(self, channels, device):
        x = relu_features(1, channels, 1 << 22, device=device)
        expected = exact_gram(x)
        for features in (x, x.mT.contiguous().mT):
            assert relative_error(ops.gram_matrix(features), expected) <= 1e-6
            assert relative_error(ops.cross_gram(features, features), expected) <= 1e-6

    @pytest.mark.parametrize("channels", [2, 20])
    def test_equal_features(self, channels, device):
        """Sums of equal numbers drift worst; here every entry is 7.3^2."""
        x = torch.full((1, channels, 1 << 20), 7.3, device=device)
        exact = x[0, 0, 0].double().square()
        assert (ops.gram_matrix(x).double() / exact - 1).abs().max() <= 1e-6

    def test_loss_near_its_minimum(self, device):
        """The distance of nearly equal matrices is that of the matrices rounded to float32."""
        x = relu_features(1, 8, 1 << 16, device=device)
        gram = exact_gram(x)
        target = gram * (1 + 1e-3)
        expected = (gram - target).square().sum() / (4 * 64)
        assert relative_error(ops.gram_mse_loss(x, target.float()), expected) <= 5e-3


class TestCentered:
    @pytest.mark.parametrize("layout", ["rows", "columns"])
    @pytest.mark.parametrize("channels", [1, 3, 20])
    def test_small_deviation_from_a_large_mean(self, channels, layout, device):
        """Features 100 +- 0.1: the difference of second moment and squared mean is wrong by half of the variance."""
        x = (100 + 0.1 * random_tensor(1, channels, 1 << 16, device=device)).float()
        if layout == "columns":
            x = x.mT.contiguous().mT
        deviation = x.double() - x.double().mean(-1, keepdim=True)
        expected = deviation @ deviation.mT / x.shape[-1]
        assert relative_error(ops.gram_matrix(x, centered=True), expected) <= 1e-4
        weight = torch.ones(1, x.shape[-1], device=device)
        assert relative_error(ops.gram_matrix(x, centered=True, pixel_weight=weight), expected) <= 1e-4

    def test_constant_features(self, device):
        x = torch.full((1, 5, 10_007), 1234.567, device=device)
        assert ops.gram_matrix(x, centered=True).abs().max() <= 1e-6 * 1234.567**2 * 1e-3


@HALVES
class TestHalfPrecision:
    def test_features_of_300_do_not_overflow(self, dtype, device):
        """One product alone, 90,000, exceeds the largest float16."""
        x = torch.full((1, 4, 1 << 18), 300.0, dtype=dtype, device=device)
        for normalize, expected in [("hw", 9e4), ("none", 9e4 * (1 << 18)), ("chw", 2.25e4)]:
            gram = ops.gram_matrix(x, normalize)
            assert gram.dtype == torch.float32
            torch.testing.assert_close(gram, torch.full_like(gram, expected), rtol=1e-6, atol=0)
        x.requires_grad_()
        loss = ops.gram_mse_loss(x, torch.zeros(4, 4, device=device))
        torch.testing.assert_close(loss, torch.tensor(9e4**2 / 4, device=device), rtol=1e-6, atol=0)
        (grad,) = torch.autograd.grad(loss, x)
        expected = 300 * 4 * 9e4 / (16 * (1 << 18))
        torch.testing.assert_close(grad.float(), torch.full(x.shape, expected, device=device), rtol=1e-2, atol=0)

    def test_largest_features(self, dtype, device):
        x = torch.full((1, 3, 100), 60_000.0, dtype=dtype, device=device)
        expected = x[0, 0, 0].double().square().item()
        assert relative_error(ops.gram_matrix(x), torch.full((1, 3, 3), expected, device=device)) <= 1e-6
        assert ops.gram_matrix(x, centered=True).abs().max() <= 1e-6 * expected

    def test_small_features_do_not_vanish(self, dtype, device):
        """Squares of 1e-4 are below the smallest float16."""
        x = torch.full((1, 3, 1000), 1e-4, dtype=dtype, device=device)
        expected = x[0, 0, 0].double().square().item()
        assert relative_error(ops.gram_matrix(x), torch.full((1, 3, 3), expected, device=device)) <= 1e-6

    @pytest.mark.parametrize("channels", [3, 40])
    def test_values_are_those_of_the_rounded_features(self, dtype, channels, device):
        x = relu_features(2, channels, 1 << 14, dtype=dtype, device=device)
        assert relative_error(ops.gram_matrix(x), exact_gram(x)) <= 1e-6

    def test_gradient_is_rounded_once(self, dtype, device):
        x = random_tensor(1, 9, 500, dtype=dtype, device=device).requires_grad_()
        upstream = random_tensor(1, 9, 9, dtype=torch.float32, device=device, seed=1) * 100
        (grad,) = torch.autograd.grad(ops.gram_matrix(x), x, upstream)
        double = upstream.double()
        expected = (double + double.mT) @ x.double() / 500
        spacing = torch.finfo(dtype).eps * expected.abs() / 2
        assert ((grad.double() - expected).abs() <= spacing * 1.01 + torch.finfo(dtype).smallest_normal * 0.01).all()


def test_subnormal_and_huge_features(device):
    for size, dtype in [(1e-19, torch.float32), (1e18, torch.float32), (1e-150, torch.float64), (1e150, torch.float64)]:
        x = random_tensor(1, 5, 300, device=device)
        expected = exact_gram(x)
        gram = ops.gram_matrix((x * size).to(dtype))
        assert relative_error(gram.double() / size / size, expected) <= 1e-3


@pytest.mark.skipif(os.environ.get("CNNFAST_HUGE_TESTS") != "1", reason="set CNNFAST_HUGE_TESTS=1")
class TestMoreThanTwoToThe31Elements:
    @pytest.fixture(autouse=True)
    def enough_memory(self):
        if available_bytes() < 14 << 30:
            pytest.skip("needs 14 GiB of free memory")

    @pytest.mark.parametrize("channels", [1, 3])
    def test_last_elements_count(self, channels):
        positions = (1 << 31) // channels + 8
        x = torch.zeros(1, channels, positions, dtype=torch.bfloat16)
        x[..., -3:] = 2.0
        gram = ops.gram_matrix(x, "none")
        assert torch.equal(gram, torch.full((1, channels, channels), 12.0))
        grad = torch.ops.cnnfast._gram_backward(torch.ones(1, 1, channels, channels), x, None, 0, 1.0, False)
        assert grad[..., -3:].eq(4.0 * channels).all() and not grad[..., :-3].any()

    def test_last_row_of_channels_last(self):
        x = torch.zeros(1, (1 << 31) // 4 + 8, 4, dtype=torch.bfloat16).transpose(1, 2)
        x[..., -3:] = 2.0
        assert torch.equal(ops.gram_matrix(x, "none"), torch.full((1, 4, 4), 12.0))
