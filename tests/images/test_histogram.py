"""Histogram matching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast.images import ImageError, is_grey, match_histogram


class TestHistogram:
    def test_exact_with_equal_sizes_is_a_permutation(self):
        image, reference = torch.rand(3, 9, 8), torch.rand(3, 12, 6)
        matched = match_histogram(image, reference)
        for before, after, wanted in zip(image, matched, reference, strict=True):
            assert torch.equal(after.flatten().sort().values, wanted.flatten().sort().values)
            assert torch.equal(after.flatten().argsort(), before.flatten().argsort())

    @pytest.mark.parametrize("pixels", [2, 10, 57, 200])
    def test_exact_quantiles_are_those_of_numpy(self, pixels):
        image, reference = torch.rand(1, 1, pixels, dtype=torch.float64), torch.rand(1, 5, 11, dtype=torch.float64)
        expected = np.quantile(reference.numpy(), np.linspace(0, 1, pixels))
        torch.testing.assert_close(
            match_histogram(image, reference).flatten().sort().values, torch.from_numpy(expected)
        )

    def test_one_pixel_gets_the_median(self):
        assert match_histogram(torch.tensor([[[0.9]]]), torch.tensor([[[0.0, 0.2, 1.0]]])).item() == pytest.approx(0.2)

    def test_constant_reference_and_grey(self):
        image = torch.rand(1, 6, 7).expand(3, 6, 7)
        assert torch.equal(match_histogram(image, torch.full((3, 4, 4), 0.25)), torch.full((3, 6, 7), 0.25))
        reference = torch.rand(1, 8, 8).expand(3, 8, 8)
        matched = match_histogram(image, reference)
        assert is_grey(matched) and matched.min() >= reference.min() and matched.max() <= reference.max()

    def test_half_precision(self):
        image, reference = torch.rand(3, 6, 7).bfloat16(), torch.rand(3, 8, 8).bfloat16()
        matched = match_histogram(image, reference)
        assert matched.dtype == torch.bfloat16
        expected = match_histogram(image.double(), reference.double())
        torch.testing.assert_close(matched.double(), expected, atol=4e-3, rtol=0)

    def test_wrong_ones(self):
        image = torch.rand(3, 4, 4)
        with pytest.raises(ImageError, match="reference with 3 channels, got 1"):
            match_histogram(image, image[:1])
        with pytest.raises(ImageError, match="finite"):
            match_histogram(image, image / 0)
        with pytest.raises(TypeError, match="reference as a tensor"):
            match_histogram(image, np.zeros((3, 4, 4)))
