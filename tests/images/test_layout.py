"""Sizes, resizing and arrangement."""

from __future__ import annotations

import pytest
import torch

from cnnfast.images import ImageError, is_grey, resize, side_by_side, size_for


class TestResize:
    def test_sizes(self):
        image = torch.rand(3, 30, 40)
        assert resize(image, 20).shape == (3, 15, 20)
        assert resize(image, (7, 50)).shape == (3, 7, 50)
        assert resize(image[None], 80).shape == (1, 3, 60, 80)
        assert resize(torch.rand(3, 1, 1000), 10).shape == (3, 1, 10)
        assert size_for((1000, 1), 10) == (10, 1)

    def test_same_size_is_the_same_picture_but_no_alias(self):
        image = torch.rand(3, 5, 6)
        same = resize(image, 6)
        assert torch.equal(same, image) and same.data_ptr() != image.data_ptr()

    @pytest.mark.parametrize("mode", ["bicubic", "bilinear", "area"])
    def test_constant_stays_and_checkerboard_becomes_grey(self, mode):
        torch.testing.assert_close(
            resize(torch.full((3, 20, 30), 0.3), (9, 41), mode=mode), torch.full((3, 9, 41), 0.3)
        )
        checkerboard = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float().expand(3, 64, 64)
        small = resize(checkerboard, 16, mode=mode)
        torch.testing.assert_close(small, torch.full((3, 16, 16), 0.5), atol=0.03, rtol=0)

    def test_area_is_the_mean_of_blocks(self):
        image = torch.rand(3, 8, 12, dtype=torch.float64)
        expected = image.reshape(3, 4, 2, 6, 2).mean((2, 4))
        torch.testing.assert_close(resize(image, (4, 6), mode="area"), expected)

    def test_bicubic_overshoot_is_clamped(self):
        edge = torch.zeros(3, 8, 8)
        edge[:, :, 4:] = 1
        big = resize(edge, 32)
        assert big.min() == 0 and big.max() == 1

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtypes(self, dtype):
        image = torch.rand(3, 12, 12).to(dtype)
        small = resize(image, 5)
        assert small.dtype == dtype
        torch.testing.assert_close(small.double(), resize(image.double(), 5), atol=4e-3, rtol=0)

    def test_gradient_flows(self):
        image = torch.rand(3, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: resize(x, 6, mode="bilinear"), image)

    @pytest.mark.parametrize("size", [0, -3, (4, 0), (0, 4)])
    def test_not_positive(self, size):
        with pytest.raises(ImageError, match="at least 1 px, got"):
            resize(torch.rand(3, 4, 4), size)

    @pytest.mark.parametrize("size", [True, 2.5, "8", (1, 2, 3), (2.0, 3), None, ()])
    def test_no_size(self, size):
        with pytest.raises(TypeError, match="whole number or \\(height, width\\), got"):
            resize(torch.rand(3, 4, 4), size)

    def test_wrong_pictures(self):
        with pytest.raises(TypeError, match="floating-point tensor"):
            resize(torch.zeros(3, 4, 4, dtype=torch.uint8), 2)
        with pytest.raises(ImageError, match=r"got \[4, 4\]"):
            resize(torch.zeros(4, 4), 2)
        with pytest.raises(ValueError, match="expected mode"):
            resize(torch.zeros(3, 4, 4), 2, mode="nearest")


class TestArrangement:
    def test_side_by_side(self):
        row = side_by_side([torch.zeros(3, 4, 5), torch.full((3, 8, 2), 0.5)], gap=3)
        assert row.shape == (3, 8, 10)
        assert (row[:, 2:6, :5] == 0).all() and (row[:, :2, :5] == 1).all() and (row[:, :, 5:8] == 1).all()
        assert (row[:, :, 8:] == 0.5).all()
        with pytest.raises(ImageError, match="expected pictures"):
            side_by_side([])
        with pytest.raises(ImageError, match=r"\[3,H,W\]"):
            side_by_side([torch.zeros(1, 4, 5)])

    def test_is_grey(self):
        image = torch.rand(1, 4, 4).repeat(3, 1, 1)
        assert is_grey(image)
        image[2, 3, 3] += 1 / 255
        assert not is_grey(image)
        with pytest.raises(ImageError, match="is_grey"):
            is_grey(torch.rand(2, 4, 4))
