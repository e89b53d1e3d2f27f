"""Preconditioners of L-BFGS: symmetric, positive definite, and worth their cost."""

import math

import pytest
import torch

from cnnfast.models.style.picture.lbfgs import LBFGS
from cnnfast.models.style.picture.preconditioner import (
    colour_preconditioner,
    picture_preconditioner,
    spectral_preconditioner,
)


def as_matrix(preconditioner, *shape):
    """The map of pictures of a shape, written out."""
    size = math.prod(shape)
    columns = [preconditioner(unit.view(shape)).reshape(-1) for unit in torch.eye(size, dtype=torch.float64)]
    return torch.stack(columns, 1)


@pytest.mark.parametrize("regions", [0, 1, 2])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 5, 4), (1, 7, 7), (3, 1, 6), (3, 6, 1), (3, 1, 1)])
def test_symmetric_and_definite_at_any_size(shape, periodic, regions):
    generator = torch.Generator().manual_seed(0)
    sample = torch.rand(shape[0], 8, 8, generator=generator, dtype=torch.float64)
    masks = torch.rand(regions, *shape[1:], generator=generator) if regions else None  # two of them overlap
    picture = torch.zeros(shape, dtype=torch.float64)
    matrix = as_matrix(picture_preconditioner(picture, sample, periodic=periodic, regions=masks), *shape)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] > 0 and values[-1] <= 1 + 1e-6


def test_moves_nothing_across_borders():
    push = torch.zeros(1, 12, 60, dtype=torch.float64)
    push[..., 28:30] = 1
    push[..., 0] = 1
    left = torch.zeros(1, 12, 60)
    left[..., :30] = 1
    moved = spectral_preconditioner(push, regions=left)(push)[0, 6]
    assert moved[20:30].min() > 0.01 and moved[30:].count_nonzero() == 0
    without = spectral_preconditioner(push)(push)[0, 6]
    assert without[30] > 0.1 * without[29] and without[59] < 0.01 * without[0]
    assert spectral_preconditioner(push, periodic=True)(push)[0, 6, 59] > 0.1 * without[0]


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 0), (0, 5), (4, 7)])
def test_weight_of_a_wave(rows, columns):
    height, width, period = 12, 20, 30.0
    y, x = torch.arange(height, dtype=torch.float64)[:, None], torch.arange(width, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * (rows * y / height + columns * x / width))[None]
    frequency = math.hypot(rows / height, columns / width)
    expected = wave / math.sqrt(1 + (period * frequency) ** 2)
    torch.testing.assert_close(
        spectral_preconditioner(wave, period=period, periodic=True)(wave), expected, rtol=0, atol=1e-6
    )


def test_dtype_and_device_are_those_of_the_picture():
    for dtype in (torch.float32, torch.float64):
        picture = torch.rand(3, 6, 6, dtype=dtype)
        assert picture_preconditioner(picture, picture)(picture).dtype is dtype


def test_needs_fewer_evaluations_where_high_frequencies_are_curved_more():
    """The sum over f of |f| |x(f) - c(f)|^2, a loss whose curvature grows with the frequency."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(3, 32, 32, generator=generator, dtype=torch.float64)
    rows, columns = torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(32)
    curvature = 0.001 + (rows.square() + columns.square()).sqrt()

    def evaluate(x):
        gradient = torch.fft.irfft2(torch.fft.rfft2(x - centre) * curvature, s=(32, 32))
        return 0.5 * torch.dot(gradient.view(-1), (x - centre).view(-1)), gradient

    losses = []
    for preconditioner in (None, spectral_preconditioner(centre, periodic=True)):
        optimizer = LBFGS(torch.zeros_like(centre), evaluate, preconditioner=preconditioner)
        for _ in range(15):
            loss = optimizer.step()
        losses.append(loss)
    assert losses[1] < 0.01 * losses[0]


def test_colour_preconditioner_is_the_normalised_covariance():
    mixing = torch.tensor([[1.0, 0, 0], [0.8, 0.3, 0], [0.5, 0.1, 0.2]])
    sample = (0.5 + 0.1 * mixing @ torch.randn(3, 5000, generator=torch.Generator().manual_seed(1))).view(3, 50, 100)
    matrix = colour_preconditioner(sample)(torch.eye(3).view(3, 1, 3)).view(3, 3)
    covariance = torch.cov(sample.flatten(1))
    torch.testing.assert_close(matrix, covariance / torch.linalg.eigvalsh(covariance)[-1], rtol=1e-2, atol=1e-4)


def test_colour_preconditioner_stays_definite():
    for sample in (torch.full((3, 4, 4), 0.5), torch.rand(1, 4, 4).expand(3, -1, -1)):
        values = torch.linalg.eigvalsh(colour_preconditioner(sample)(torch.eye(3).view(3, 1, 3)).view(3, 3))
        assert values[0] > 0.9e-3 and values[-1] == pytest.approx(1, rel=1e-4)


def test_noise_of_the_samples_colours():
    generator = torch.Generator().manual_seed(0)
    sample = torch.tensor([[1.0, 0, 0], [0.8, 0.3, 0], [0.5, 0.1, 0.2]]) @ torch.randn(3, 5000, generator=generator)
    noise = colour_preconditioner(sample.view(3, 50, 100), 0.5)(torch.randn(3, 50, 100, generator=generator))
    covariance = torch.cov(sample)
    expected = covariance / torch.linalg.eigvalsh(covariance)[-1]
    torch.testing.assert_close(torch.cov(noise.flatten(1)), expected, rtol=0, atol=0.05)
