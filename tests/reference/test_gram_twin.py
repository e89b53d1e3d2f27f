"""The plain PyTorch Gram functions against their definition, written as loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast.reference import cross_gram, gram_matrix, gram_mse_loss


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def loop_gram(left, right, weight, divisor, centered=False):
    """Sum of w (x - mean x) (y - mean y)^T over the positions, divided; left [C1,M], right [C2,M], weight [M]."""
    total = weight.sum()
    if centered:
        left = left - (left * weight).sum(1, keepdims=True) / total
        right = right - (right * weight).sum(1, keepdims=True) / total
    result = np.zeros((len(left), len(right)))
    for i in range(len(left)):
        for j in range(len(right)):
            result[i, j] = sum(w * a * b for w, a, b in zip(weight, left[i], right[j], strict=True))
    return result / {"none": 1.0, "hw": total, "chw": len(left) * total}.get(divisor, divisor)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "hw", "chw", 3.5])
class TestDefinition:
    def test_without_weights(self, rng, normalize, centered):
        x = rng.normal(size=(2, 3, 4, 5))
        actual = gram_matrix(torch.tensor(x), normalize, centered=centered)
        for item, gram in zip(x.reshape(2, 3, 20), actual, strict=True):
            np.testing.assert_allclose(
                gram, loop_gram(item, item, np.ones(20), normalize, centered), rtol=1e-12, atol=1e-14
            )

    @pytest.mark.parametrize("shared", [False, True])
    def test_regions(self, rng, normalize, centered, shared):
        x, weight = rng.normal(size=(2, 3, 4, 5)), rng.uniform(size=(1 if shared else 2, 3, 4, 5))
        weight[:, 0, :2] = 0
        actual = gram_matrix(torch.tensor(x), normalize, pixel_weight=torch.tensor(weight), centered=centered)
        assert actual.shape == (2, 3, 3, 3)
        for item, weights, grams in zip(x, np.broadcast_to(weight, (2, 3, 4, 5)), actual, strict=True):
            for region, gram in zip(weights, grams, strict=True):
                flat = item.reshape(3, 20)
                expected = loop_gram(flat, flat, region.ravel(), normalize, centered)
                np.testing.assert_allclose(gram, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(2, 20), (4, 5), (1, 1, 4, 5), (2, 1, 4, 5)], ids=str)
def test_shapes_of_one_region(rng, shape):
    x, weight = rng.normal(size=(2, 3, 4, 5)), rng.uniform(size=shape)
    actual = gram_matrix(torch.tensor(x), pixel_weight=torch.tensor(weight))
    rows = np.broadcast_to(weight.reshape(-1, 20), (2, 20))
    for item, row, gram in zip(x.reshape(2, 3, 20), rows, actual, strict=True):
        np.testing.assert_allclose(gram, loop_gram(item, item, row, "hw"), rtol=1e-12)


def test_boolean_mask_selects_positions(rng):
    x = torch.tensor(rng.normal(size=(1, 3, 10)))
    mask = torch.arange(10) % 3 == 0
    torch.testing.assert_close(gram_matrix(x, pixel_weight=mask[None]), gram_matrix(x[..., mask]))


@pytest.mark.parametrize("normalize", ["none", "hw", "chw", 3.5])
def test_cross_gram(rng, normalize):
    x, y, weight = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 5, 6)), rng.uniform(size=(2, 2, 6))
    plain = cross_gram(torch.tensor(x), torch.tensor(y), normalize)
    regions = cross_gram(torch.tensor(x), torch.tensor(y), normalize, pixel_weight=torch.tensor(weight))
    for b in range(2):
        np.testing.assert_allclose(plain[b], loop_gram(x[b], y[b], np.ones(6), normalize), rtol=1e-12)
        for r in range(2):
            np.testing.assert_allclose(regions[b, r], loop_gram(x[b], y[b], weight[b, r], normalize), rtol=1e-12)


@pytest.mark.parametrize(("scale", "factor"), [("gatys", 1 / 36), ("mean", 1 / 9), ("sum", 1.0)])
def test_loss(rng, scale, factor):
    x, target, weight = (torch.tensor(rng.normal(size=size)) for size in [(2, 3, 4, 5), (2, 3, 3), (2,)])
    expected = factor * weight * (gram_matrix(x) - target).square().sum((1, 2))
    for reduction, reduced in [("none", expected), ("sum", expected.sum()), ("mean", expected.mean())]:
        torch.testing.assert_close(gram_mse_loss(x, target, weight, scale=scale, reduction=reduction), reduced)


def test_loss_averages_over_the_regions(rng):
    x, target = torch.tensor(rng.normal(size=(2, 3, 4, 5))), torch.tensor(rng.normal(size=(2, 4, 3, 3)))
    weight = torch.tensor(rng.uniform(size=(2, 4, 4, 5)))
    single = [
        gram_mse_loss(x, target[:, r], 3.0, pixel_weight=weight[:, r : r + 1], centered=True, reduction="none")
        for r in range(4)
    ]
    together = gram_mse_loss(x, target, 3.0, pixel_weight=weight, centered=True, reduction="none")
    torch.testing.assert_close(together, torch.stack(single).mean(0))


def test_gradients_of_any_order():
    x = torch.randn(1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    third = torch.func.jacrev(torch.func.hessian(lambda x: gram_mse_loss(x, torch.eye(2), normalize="none")))(x)
    step = torch.func.jacfwd(
        torch.func.jacfwd(torch.func.grad(lambda x: gram_mse_loss(x, torch.eye(2), normalize="none")))
    )(x)
    torch.testing.assert_close(third, step)
    assert third.abs().max() > 0.1
