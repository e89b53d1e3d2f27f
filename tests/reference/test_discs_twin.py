"""The plain PyTorch disc functions against their definition, written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.arguments.discs import bin_radii, half_widths
from cnnfast.reference import disc_sum, disc_union, inverse_distance_transform

CASES = [((0, 1, 3), 3), ((2, 2), 0), ((4, 1), 2), ((1, 0), 5)]


def covered(bins, radii, pad):
    """For every pixel of the result the values whose discs cover it, bin by bin."""
    kinds, height, width = bins.shape
    for y in range(-pad, height + pad):
        for x in range(-pad, width + pad):
            yield [
                [
                    bins[n, v, u]
                    for v in range(height)
                    for u in range(width)
                    if (v - y) ** 2 + (u - x) ** 2 <= radii[n] ** 2
                ]
                for n in range(kinds)
            ]


def loops(bins, radii, pad, combine):
    values = [combine(values) for values in covered(bins, radii, pad)]
    return np.array(values).reshape(1, 1, bins.shape[1] + 2 * pad, bins.shape[2] + 2 * pad)


@pytest.mark.parametrize(("radii", "pad"), CASES, ids=str)
class TestDefinition:
    @pytest.fixture
    def bins(self, radii):
        return np.random.default_rng(0).uniform(0, 0.9, (len(radii), 4, 5))

    def test_sum(self, bins, radii, pad):
        weight = np.arange(1.0, len(radii) + 1)
        expected = loops(bins, radii, pad, lambda v: sum(w * sum(x) for w, x in zip(weight, v, strict=True)))
        actual = disc_sum(torch.tensor(bins[None]), radii, torch.tensor(weight), pad=pad)
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)

    def test_masks(self, bins, radii, pad):
        B = torch.tensor(bins[None])
        combine = {
            "sum": lambda v: 1 / (1 + math.exp(1.5 - sum(map(sum, v)))),
            "noisy_or": lambda v: 1 - math.prod(1 - x for values in v for x in values),
            "max": lambda v: max([0.0, *(x for values in v for x in values)]),
        }
        for union, function in combine.items():
            bias = -1.5 if union == "sum" else None
            mask = inverse_distance_transform(B, radii, bias=bias, pad=pad, union=union)
            np.testing.assert_allclose(mask, loops(bins, radii, pad, function), rtol=1e-10, atol=1e-14)
            logits = inverse_distance_transform(B, radii, bias=bias, pad=pad, union=union, return_logits=True)
            np.testing.assert_allclose(logits, torch.logit(mask, 1e-12), rtol=1e-3, atol=1e-6)

    def test_union(self, radii, pad):
        labels = np.random.default_rng(1).integers(0, len(radii) + 1, (4, 5)) * (np.arange(5) % 2)
        bins = np.stack([labels == n + 1 for n in range(len(radii))])
        expected = loops(bins, radii, pad, lambda v: any(any(values) for values in v))
        actual = disc_union(torch.tensor(labels[None], dtype=torch.uint8), radii, pad=pad)
        np.testing.assert_array_equal(actual, expected[0])


def test_default_pad_is_the_largest_radius():
    assert disc_sum(torch.ones(1, 2, 3, 4), (1, 5)).shape == (1, 1, 13, 14)


@pytest.mark.parametrize(
    ("R", "K", "radii"),
    [
        (9, 5, (0, 1, 3, 5, 7)),
        (9, 9, tuple(range(9))),
        (5, 5, tuple(range(5))),
        (9, 3, (0, 3, 6)),
        (12, 6, (0, 2, 4, 6, 8, 10)),
    ],
)
def test_radii_of_bins(R, K, radii):
    assert bin_radii(R, K) == radii


@pytest.mark.parametrize(
    ("R", "K", "error"), [(0, 1, ValueError), (9, 0, ValueError), (9, 10, ValueError), (9, 2.5, TypeError)]
)
def test_radii_of_bins_that_there_are_not(R, K, error):
    with pytest.raises(error, match="bin_radii: expected"):
        bin_radii(R, K)


@pytest.mark.parametrize(("R", "K"), [(R, K) for R in range(1, 21) for K in range(1, R + 1)])
def test_radius_is_one_less_than_the_smallest_distance_of_the_bin(R, K):
    smallest = {}
    for distance in range(R, 0, -1):
        smallest[(distance * K + R - 1) // R] = distance
    assert bin_radii(R, K) == tuple(smallest[n] - 1 for n in range(1, K + 1))


def test_half_widths():
    assert half_widths(0) == [0]
    assert half_widths(3) == [0, 2, 2, 3, 2, 2, 0]
