"""The plain PyTorch distance transforms against their definition: all pairs of pixels."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast.reference import mask_to_bins, truncated_distance_transform
from tests.ops.distance.cases import bins_of, random_labels, random_mask, squared_distances

BORDERS = pytest.mark.parametrize("border", ["none", "background"])


@BORDERS
@pytest.mark.parametrize("labels", [False, True])
class TestDefinition:
    def planes(self):
        return torch.cat([random_labels(4, 13, 17), random_mask(4, 13, 17, density=0.96, dtype=torch.int32)])

    def test_bins_and_squares(self, labels, border):
        planes = self.planes()
        squares = squared_distances(planes, labels, border)
        for R in (1, 2, 3, 7, 15, 16, 30, 255):
            options = {"labels": labels, "border": border}
            assert torch.equal(truncated_distance_transform(planes, R, **options), bins_of(squares, R))
            actual = truncated_distance_transform(planes, R, output="squared", **options)
            assert torch.equal(actual, squares.clamp(max=R * R).to(torch.int32))

    def test_without_a_radius(self, labels, border):
        planes = torch.cat([self.planes(), torch.ones(1, 13, 17, dtype=torch.int32)])
        squares = squared_distances(planes, labels, border)
        actual = truncated_distance_transform(planes, labels=labels, border=border, output="squared")
        expected = torch.where(squares.isinf(), 0, squares).long()
        assert torch.equal(actual, torch.where(squares.isinf(), torch.iinfo(torch.int64).max, expected))

    @pytest.mark.parametrize("spacing", [(2.0, 2.0), (0.3, 0.3), (1.0, 2.5), (0.7, 0.1)], ids=str)
    def test_spacing(self, labels, border, spacing):
        planes = self.planes()
        squares = squared_distances(planes, labels, border, spacing)
        options = {"labels": labels, "border": border, "spacing": spacing}
        for R in (None, 1.5, 6.0):
            limited = squares.clamp(max=R * R if R else math.inf)
            actual = truncated_distance_transform(planes, R, output="distance", **options)
            torch.testing.assert_close(actual, limited.sqrt().float(), rtol=1e-6, atol=0)
            actual = truncated_distance_transform(planes, R, output="squared", **options)
            torch.testing.assert_close(actual, limited.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("zero", "inside", "outside"), [("edge", 0, 0), ("half", 0.5, 0.5), ("inner", 1, 0)])
def test_signed(zero, inside, outside):
    mask = random_mask(5, 13, 17, density=0.6)
    foreground, background = squared_distances(mask).sqrt(), squared_distances(mask == 0).sqrt()
    expected = torch.where(mask != 0, foreground - inside, -(background - outside))
    for R in (None, 1, 2.2, 4):
        limited = expected.clamp(-R, R) if R else expected
        actual = truncated_distance_transform(mask, R, output="signed", zero=zero)
        assert torch.equal(actual, limited.float())


@pytest.mark.parametrize(
    ("R", "K", "expected"),
    [
        (9, 5, [1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (9, 3, [1, 1, 1, 2, 2, 2, 3, 3, 3]),
        (5, 5, [1, 2, 3, 4, 5]),
        (4, 1, [1, 1, 1, 1]),
    ],
)
def test_bins_of_distances(R, K, expected):
    row = torch.ones(1, R + 1, dtype=torch.bool)
    row[0, 0] = False
    assert mask_to_bins(row, R, K).tolist() == [[0, *expected]]
    channels = mask_to_bins(row, R, K, one_hot=True)
    assert channels.shape == (K, 1, R + 1) and channels.dtype == torch.float32
    assert torch.equal((channels * torch.arange(1, K + 1)[:, None, None]).sum(0)[0, 1:], torch.tensor(expected).float())
    assert not channels[..., 0].any()
