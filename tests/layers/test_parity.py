"""Losses and gradients against arrays of the public programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast.layers import (
    ContentLoss,
    StyleLoss,
    TVLoss,
    WassersteinStyleLoss,
)
from cnnfast.layers.style._features import channel_means, l1_scaled
from cnnfast.ops import cross_gram, gram_matrix

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5}
fixtures = pytest.mark.parametrize("name", ["gram_losses_a", "gram_losses_b"])
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def as_tensor(array, dtype):
    return torch.from_numpy(np.array(array)).to(dtype)


def check(actual, expected, tolerance=None):
    tolerance = TOLERANCES[actual.dtype] if tolerance is None else tolerance
    expected = torch.from_numpy(np.array(expected))
    torch.testing.assert_close(
        actual.detach().double(), expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())
    )


def check_loss(loss, x, expected, gradient, tolerance=None):
    x = x.clone().requires_grad_()
    value = loss(x)
    check(value, expected, tolerance)
    value.backward()
    check(x.grad, gradient, tolerance)


def captured(loss, features):
    loss.capture(features)
    return loss


@fixtures
@dtypes
class TestGramLosses:
    def test_gatys(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        loss = captured(StyleLoss(scale="mean"), source)
        check(loss.target, data["gatys_pt_target"])
        check_loss(loss, x, data["gatys_pt_mse_loss"], data["gatys_pt_mse_grad"])

    def test_examples(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        loss = captured(StyleLoss(scale="mean", normalize="chw"), source)
        check(loss.target, data["examples_target"])
        check_loss(loss, x, data["examples_mse_loss"], data["examples_mse_grad"])

    def test_deep_textures(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        for b in range(len(x)):
            loss = captured(StyleLoss(weight=float(data["deeptextures_weight"])), source[b : b + 1])
            check(loss.target[0], data["deeptextures_target"][b])
            check_loss(loss, x[b : b + 1], data["deeptextures_loss"][b], data["deeptextures_grad"][b : b + 1])

    def test_deep_textures_means(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        for b in range(len(x)):
            target = channel_means("f", source[b : b + 1])
            gradient = data[f"deeptextures_mean_grad_{b}"][None]
            check_loss(
                lambda x, target=target: (channel_means("f", x) - target).square().mean(),
                x[b : b + 1],
                data[f"deeptextures_mean_loss_{b}"],
                gradient,
            )

    def test_neural_style(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        for b in range(len(x)):
            loss = captured(StyleLoss(weight=100.0, normalize="chw", scale="mean"), source[b : b + 1])
            check(loss.target[0], data[f"nspt_style_target_{b}"])
            check_loss(loss, x[b : b + 1], data[f"nspt_style_loss_{b}"], data[f"nspt_style_grad_{b}"])

    def test_scaled_mse(self, parity, name, dtype):
        data = parity(name)
        x, target = as_tensor(data["x"], dtype), as_tensor(data["gatys_pt_target"], dtype)

        def loss(x):
            difference = gram_matrix(x) - target
            return l1_scaled(difference.square().sum(), difference.abs().sum())

        check_loss(loss, x, data["scaled_mse_loss"], data["scaled_mse_grad"])
        if len(x) == 1:
            loss = StyleLoss(target, scale="l1grad")
            check_loss(loss, x, data["scaled_mse_loss"], data["scaled_mse_grad"])

    def test_wasserstein(self, parity, name, dtype):
        data = parity(name)
        x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
        tolerance = 1e-6 if dtype == torch.float64 else 1e-3
        loss = captured(WassersteinStyleLoss(), source)
        check(loss.target_mean, data["w2_mean"])
        eye = 1e-4 * np.eye(x.shape[1])
        check(loss.target_covariance, data["w2_cov"] + eye if _bare(data) else data["w2_cov"])
        check_loss(loss, x, data["w2_loss"], data["w2_grad"], tolerance)

    def test_guided(self, parity, name, dtype):
        data = parity(name)
        x = as_tensor(data["x"], dtype)[:1]
        guides = as_tensor(data["guides"], dtype)[None]
        loss = StyleLoss(as_tensor(data["guided_gram"], dtype), pixel_weight=guides.square())
        check(gram_matrix(x, pixel_weight=guides.square())[0], data["guided_gram"])
        scale = float(np.square(data["guided_gram"]).mean())
        assert loss(x) <= TOLERANCES[dtype] ** 2 * scale
        normed = as_tensor(data["guides_norm"], dtype)[None]
        check(guides / guides.square().mean((2, 3), keepdim=True).sqrt(), data["guides_norm"][None])
        check(cross_gram(normed, x)[0], data["guided_mean"])


def _bare(data):
    """Whether the stored covariance is without the jitter."""
    mean = data["w2_mean"]
    return np.allclose(data["w2_cov"], data["w2_srm"] - mean[:, :, None] * mean[:, None], rtol=0, atol=1e-9)


@dtypes
def test_content(parity, dtype):
    data = parity("gram_losses_a")
    x, source = as_tensor(data["x"], dtype), as_tensor(data["x_target"], dtype)
    loss = captured(ContentLoss(5.0), source)
    check_loss(loss, x, data["nspt_content_loss"], data["nspt_content_grad"])


TOTAL_VARIATIONS = {
    "nspt": (1e-3, "l1", 1.0),
    "crowson": (1.0, "nine", 1.0),
    "pystiche_1": (1.0, "iso", 1.0),
    "pystiche_2": (1.0, "iso", 2.0),
}


@fixtures
@dtypes
@pytest.mark.parametrize("program", TOTAL_VARIATIONS)
def test_total_variation(parity, name, dtype, program):
    data = parity(name)
    weight, kind, exponent = TOTAL_VARIATIONS[program]
    loss = TVLoss(weight, kind, exponent=exponent)
    image = as_tensor(data["img"], dtype)
    check_loss(loss, image, data[f"tv_{program}_loss"], data[f"tv_{program}_grad"])
