"""Homographies in other libraries' terms, against those libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from cnnfast.geometry import (
    check_homographies,
    from_kornia_normalized,
    from_opencv,
    orient_homography,
    to_grid,
    transform_points,
)

# Maps a target of 11x14 px into a source of 9x12 px, with w > 0 everywhere.
H = torch.tensor([[0.8, 0.1, -0.6], [-0.05, 0.75, 0.4], [0.004, -0.002, 0.97]], dtype=torch.float64)
SOURCE, TARGET = (9, 12), (11, 14)


@pytest.fixture
def picture():
    return torch.rand(1, 3, *SOURCE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def warp_by_points(picture: torch.Tensor, align_corners: bool = False) -> torch.Tensor:
    grid = to_grid(H[None], SOURCE, TARGET, align_corners)
    return F.grid_sample(picture, grid, padding_mode="zeros", align_corners=align_corners)


class TestGrid:
    def test_both_conventions_sample_the_same_positions(self, picture):
        torch.testing.assert_close(warp_by_points(picture), warp_by_points(picture, True), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_positions(self, align_corners):
        grid = to_grid(H, SOURCE, TARGET, align_corners)
        x, y = 5, 3
        u, v, w = (H @ torch.tensor([x, y, 1.0], dtype=torch.float64)).tolist()
        expected = [
            2 * position / (size - 1) - 1 if align_corners else (2 * position + 1) / size - 1
            for position, size in zip((u / w, v / w), SOURCE[::-1], strict=True)
        ]
        assert grid.shape == (*TARGET, 2) and grid[y, x].tolist() == pytest.approx(expected, abs=1e-14)

    def test_direction(self):
        """A homography that says where pixels come from: a shift by whole pixels copies them."""
        shift = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        picture = torch.rand(1, 1, *SOURCE, dtype=torch.float64)
        moved = F.grid_sample(picture, to_grid(shift[None], SOURCE, SOURCE, False), align_corners=False)
        torch.testing.assert_close(moved[..., 1:, :-2], picture[..., :-1, 2:], rtol=0, atol=1e-13)

    def test_gradients(self):
        matrix = H.clone().requires_grad_()
        assert gradcheck(lambda h: to_grid(h, SOURCE, (2, 3), True), matrix)
        assert gradgradcheck(lambda h: to_grid(h, SOURCE, (2, 3), True), matrix)


class TestPoints:
    def test_broadcast(self):
        matrices = torch.stack([H, 2 * H, torch.eye(3, dtype=torch.float64)])
        points = torch.tensor([[0.0, 0.0], [13.0, 10.0], [-3.0, 4.5]], dtype=torch.float64)
        found = transform_points(matrices, points)
        assert found.shape == (3, 3, 2)
        torch.testing.assert_close(found[0], found[1], rtol=1e-14, atol=1e-14)  # only ratios count
        assert found[2].equal(points)
        assert transform_points(H, points[:0]).shape == (0, 2)

    def test_opencv(self):
        cv2 = pytest.importorskip("cv2")
        points = np.random.default_rng(0).uniform(-20, 40, (50, 2))
        expected = cv2.perspectiveTransform(points[None], H.numpy())[0]
        np.testing.assert_allclose(transform_points(H, torch.from_numpy(points)), expected, rtol=1e-11, atol=1e-11)

    def test_gradients(self):
        points = torch.tensor([[1.0, 2.0], [9.0, 5.0]], dtype=torch.float64, requires_grad=True)
        assert gradcheck(transform_points, (H.clone().requires_grad_(), points))


class TestOpenCV:
    @pytest.mark.parametrize("inverse_map", [False, True])
    def test_warp_perspective(self, picture, inverse_map):
        cv2 = pytest.importorskip("cv2")
        M = H if inverse_map else torch.linalg.inv(H)
        torch.testing.assert_close(from_opencv(M, inverse_map), H, rtol=1e-12, atol=1e-12)
        flags = cv2.INTER_LINEAR | (cv2.WARP_INVERSE_MAP if inverse_map else 0)
        rows = picture[0].permute(1, 2, 0).float().contiguous().numpy()
        warped = torch.from_numpy(cv2.warpPerspective(rows, M.numpy(), TARGET[::-1], flags=flags)).permute(2, 0, 1)
        # Before version 5, OpenCV rounds positions to 1/32 px.
        tolerance = 2e-5 if int(cv2.__version__.split(".")[0]) >= 5 else 4e-2
        torch.testing.assert_close(warped.double(), warp_by_points(picture)[0], rtol=0, atol=tolerance)

    def test_affine(self):
        M = torch.tensor([[[2.0, 0.0, 3.0], [0.0, 4.0, 5.0]]])
        assert from_opencv(M).tolist() == [[[0.5, 0.0, -1.5], [0.0, 0.25, -1.25], [0.0, 0.0, 1.0]]]
        assert from_opencv(M, inverse_map=True)[0, 2].tolist() == [0.0, 0.0, 1.0]

    def test_singular_gives_no_finite_entries(self):
        assert not check_homographies(from_opencv(torch.ones(3, 3)), raise_on_nonfinite=False)


class TestKornia:
    @pytest.mark.parametrize("align_corners", [False, True])
    def test_normalization(self, align_corners):
        """Corners or edges of the target go where M sends -1 and 1."""
        M = torch.tensor([[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1], [0.02, 0.01, 1.0]], dtype=torch.float64)
        found = from_kornia_normalized(M, SOURCE, TARGET, align_corners)
        grid = to_grid(found, SOURCE, TARGET, align_corners)
        first, last = (torch.tensor([sign * 1.0, sign * 1.0], dtype=torch.float64) for sign in (-1, 1))
        if not align_corners:  # centres of the outer pixels
            inset = torch.tensor([1 / TARGET[1], 1 / TARGET[0]], dtype=torch.float64)
            first, last = first + inset, last - inset
        expected = transform_points(M, torch.stack([first, last]))
        torch.testing.assert_close(grid[[0, -1], [0, -1]], expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_kornia(self, picture, align_corners):
        transform = pytest.importorskip("kornia.geometry.transform")
        M = torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1], [0.02, 0.01, 1.0]]], dtype=torch.float64)
        expected = transform.homography_warp(picture, M, TARGET, align_corners=align_corners)
        grid = to_grid(from_kornia_normalized(M, SOURCE, TARGET, align_corners), SOURCE, TARGET, align_corners)
        found = F.grid_sample(picture, grid, align_corners=align_corners)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    def test_kornia_warp_perspective(self, picture):
        transform = pytest.importorskip("kornia.geometry.transform")
        expected = transform.warp_perspective(picture, torch.linalg.inv(H)[None], TARGET)
        torch.testing.assert_close(warp_by_points(picture), expected, rtol=0, atol=1e-12)


class TestSigns:
    def test_orient(self):
        behind = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.2, 0.5]], dtype=torch.float64)
        level = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, -1.0]], dtype=torch.float64)
        found = orient_homography(torch.stack([H, -H, behind, level, H * torch.nan]), TARGET)
        assert found[:2].equal(torch.stack([H, H]))
        assert found[2].equal(-behind)  # w = -0.5 in row 5, the middle of 11
        assert found[3].equal(level)  # w = 0 there
        assert found[4].isnan().all()

    def test_orient_gradient(self):
        assert gradcheck(lambda h: orient_homography(h, TARGET), (-H).requires_grad_())

    def test_check(self):
        matrices = torch.stack([H, H * torch.inf, H, H * torch.nan]).reshape(2, 2, 3, 3)
        assert check_homographies(matrices, raise_on_nonfinite=False).tolist() == [[True, False], [True, False]]
        assert check_homographies(matrices[:, 0]).all()
        with pytest.raises(ValueError, match=r"check_homographies: expected H with finite entries.*at index \[0, 1\]"):
            check_homographies(matrices)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: transform_points(H, torch.zeros(2).double()),
            ValueError,
            r"expected xy of shape \[...,N,2\], got \[2\]",
        ),
        (lambda: transform_points(H, torch.zeros(1, 2)), TypeError, "expected xy of dtype torch.float64 like H"),
        (lambda: orient_homography(H, 4), TypeError, r"expected size a pair \(height, width\), got 4"),
        (lambda: orient_homography(H, (4, 0)), ValueError, "expected the width of size of at least 1, got 0"),
        (lambda: orient_homography(H[:2], (4, 4)), ValueError, r"expected H of shape \[...,3,3\], got \[2, 3\]"),
        (lambda: check_homographies(H.long()), TypeError, "expected H of dtype float32 or float64, got torch.int64"),
        (lambda: check_homographies(H, 1), TypeError, "expected raise_on_nonfinite True or False, got 1"),
        (lambda: from_opencv(H[0]), ValueError, r"expected M of shape \[...,3,3\] or \[...,2,3\], got \[3\]"),
        (lambda: from_opencv(H, "inverse"), TypeError, "expected inverse_map True or False, got 'inverse'"),
        (
            lambda: from_kornia_normalized(H, (1, 4), (4, 4), True),
            ValueError,
            "expected src_size of at least 2 px a side with align_corners=True.*got 1x4",
        ),
        (lambda: to_grid(H, (4, 4), "44", False), TypeError, "to_grid: expected dst_size a pair"),
        (lambda: to_grid(H, (4, 4), (2.0, 4), False), TypeError, "the height of dst_size an integer, got 2.0"),
        (lambda: to_grid(H, (4, 1), (4, 4), True), ValueError, "expected src_size of at least 2 px"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
