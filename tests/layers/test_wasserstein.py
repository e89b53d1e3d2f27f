"""WassersteinStyleLoss against eigenvalues, and the matrix square root against its definition."""

from __future__ import annotations

import pytest
import torch

from cnnfast.layers import WassersteinStyleLoss
from cnnfast.layers.style._matrix_sqrt import matrix_sqrt
from tests.layers.layer_cases import random


def positive(*shape, seed=0):
    factor = random(*shape, shape[-1] + 3, seed=seed)
    return factor @ factor.mT + 0.5 * torch.eye(shape[-1], dtype=torch.float64)


def by_eigenvalues(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag_embed(values.sqrt()) @ vectors.mT


def test_root():
    matrix = positive(3, 6)
    torch.testing.assert_close(matrix_sqrt(matrix), by_eigenvalues(matrix), rtol=1e-9, atol=1e-9)


def test_root_gradient_equals_that_of_eigenvalues():
    matrix, upstream = positive(3, 6).requires_grad_(), random(3, 6, 6, seed=1)
    upstream = upstream + upstream.mT
    (ours,) = torch.autograd.grad((matrix_sqrt(matrix) * upstream).sum(), matrix)
    (exact,) = torch.autograd.grad((by_eigenvalues(matrix) * upstream).sum(), matrix)
    torch.testing.assert_close(ours, (exact + exact.mT) / 2, rtol=1e-8, atol=1e-8)


def test_root_second_gradient():
    def root(factor):
        return matrix_sqrt(factor @ factor.mT + torch.eye(4, dtype=torch.float64))

    assert torch.autograd.gradgradcheck(root, random(4, 5).requires_grad_())


def distance_by_eigenvalues(x, y, eps):
    def moments(features):
        flat = features.flatten(2)
        mean = flat.mean(2, keepdim=True)
        covariance = (flat - mean) @ (flat - mean).mT / flat.shape[2]
        return mean[..., 0], covariance + eps * torch.eye(flat.shape[1], dtype=flat.dtype)

    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    root = by_eigenvalues(cov_y)
    cross = by_eigenvalues(root @ cov_x @ root)
    trace = (cov_x + cov_y - 2 * cross).diagonal(dim1=1, dim2=2).sum(1)
    return (((mean_x - mean_y) ** 2).sum(1) + trace).mean() / x.shape[1]


def test_distance():
    x, y = random(2, 6, 9, 8), 0.5 + 2 * random(1, 6, 7, 12, seed=1)
    loss = WassersteinStyleLoss(3.0, eps=1e-2)
    loss.capture(y)
    torch.testing.assert_close(loss(x), 3 * distance_by_eigenvalues(x, y, 1e-2), rtol=1e-7, atol=0)


def test_distance_to_itself_is_zero():
    x = random(1, 6, 9, 8)
    loss = WassersteinStyleLoss()
    loss.capture(x)
    assert abs(loss(x)) < 1e-9


def test_shift_costs_its_square():
    x = random(1, 6, 9, 8)
    loss = WassersteinStyleLoss()
    loss.capture(x)
    torch.testing.assert_close(loss(x + 3), torch.tensor(9.0, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_constant_features_are_finite(dtype):
    loss = WassersteinStyleLoss()
    loss.capture(torch.ones(1, 6, 9, 8, dtype=dtype))
    x = torch.full((1, 6, 4, 4), 2.0, dtype=dtype, requires_grad=True)
    value = loss(x)
    value.backward()
    torch.testing.assert_close(value.detach(), torch.ones((), dtype=dtype), rtol=1e-4, atol=0)
    assert x.grad.isfinite().all()


def test_messages():
    with pytest.raises(ValueError, match="WassersteinStyleLoss: expected a positive eps, got 0"):
        WassersteinStyleLoss(eps=0)
    with pytest.raises(ValueError, match="WassersteinStyleLoss: expected at least 1 of iters, got 0"):
        WassersteinStyleLoss(iters=0)
    loss = WassersteinStyleLoss()
    loss.capture(random(1, 6, 9, 8))
    with pytest.raises(ValueError, match=r"WassersteinStyleLoss: .*\[1, 6\], got \[1, 5\]"):
        loss(random(1, 5, 9, 8))


def test_regions_average_the_losses_of_single_regions():
    features, other = random(2, 5, 6, 7), random(1, 5, 8, 9, seed=1)
    weight, of_other = random(2, 3, 6, 7, seed=2).abs(), random(1, 3, 8, 9, seed=3).abs()
    loss = WassersteinStyleLoss(weight=2.0)
    loss.capture(other, of_other)
    single = []
    for region in range(3):
        alone = WassersteinStyleLoss(weight=2.0)
        alone.capture(other, of_other[:, region : region + 1])
        single.append(alone(features, weight[:, region : region + 1]))
    torch.testing.assert_close(loss(features, weight), torch.stack(single).mean())


def test_pixel_weight_picks_the_pixels():
    features, other = random(1, 4, 6, 8), random(1, 4, 5, 5, seed=1)
    left = torch.zeros(6, 8, dtype=torch.float64)
    left[:, :3] = 1
    loss = WassersteinStyleLoss()
    loss.capture(other)
    torch.testing.assert_close(loss(features, left), loss(features[..., :3]))
    loss.capture(features, left)
    torch.testing.assert_close(loss.target_mean, features[..., :3].mean((2, 3)))


def test_known_moments_are_those_of_features():
    features, other = random(2, 4, 6, 8), random(1, 4, 5, 5, seed=1)
    loss = WassersteinStyleLoss()
    loss.capture(other)
    positions = features.flatten(2)
    covariance = torch.stack([torch.cov(sample, correction=0) for sample in positions])
    torch.testing.assert_close(loss.of_moments(positions.mean(2), covariance), loss(features))
