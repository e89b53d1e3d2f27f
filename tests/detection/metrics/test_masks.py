"""Overlap of masks and agreement of boundaries, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast.detection.boxes import tight_boxes
from cnnfast.detection.metrics import boundary_f, mask_intersections, mask_iou
from cnnfast.detection.metrics import masks as metrics_masks
from tests.models.instance_segmentation.segmentation_cases import shapes_with_boxes


def random_masks(count: int, seed: int, shape=(9, 13)) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) < 0.4


class TestMaskIoU:
    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
    def test_against_loops(self, dtype):
        a, b = random_masks(4, 0), random_masks(3, 1)
        scaled = (a * 5).to(dtype) if dtype != torch.bool else a
        for i in range(4):
            for j in range(3):
                shared, union = int((a[i] & b[j]).sum()), int((a[i] | b[j]).sum())
                assert mask_iou(scaled, b)[i, j].item() == shared / union
                assert mask_intersections(scaled, b)[i, j].item() == shared

    def test_threshold_is_met_exactly(self):
        a, b = torch.zeros(2, 1, 10, 10, dtype=torch.bool).unbind(0)
        a[:], b[:, :7] = True, True
        assert mask_iou(a, b).item() == 0.7

    def test_pieces_change_nothing(self, monkeypatch):
        a, b = random_masks(4, 0), random_masks(3, 1)
        expected = mask_iou(a, b)
        monkeypatch.setattr(metrics_masks, "_CHUNK", 10)
        assert torch.equal(mask_iou(a, b), expected)

    def test_more_pixels_than_float32_counts(self):
        mask = torch.ones(1, 4097, 4097, dtype=torch.bool)
        assert mask_intersections(mask, mask).item() == 4097**2

    def test_empty(self):
        none = torch.zeros(2, 4, 4, dtype=torch.bool)
        assert mask_iou(none, none).tolist() == [[0, 0], [0, 0]]
        assert mask_iou(none[:0], none).shape == (0, 2) and mask_iou(none[:, :0], none[:, :0]).shape == (2, 2)

    def test_refused(self):
        a = random_masks(2, 0)
        with pytest.raises(TypeError, match=r"mask_iou: expected b of bool .* got torch.float32; pass b > 0.5"):
            mask_iou(a, a.float())
        with pytest.raises(ValueError, match="one height and width"):
            mask_iou(a, a[:, 1:])
        with pytest.raises(ValueError, match=r"expected a of shape \[n,H,W\]"):
            mask_iou(a[0], a)


def boundary_by_loops(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y, x in zip(*np.nonzero(mask), strict=True):
        near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        if any(0 <= r < height and 0 <= c < width and not mask[r, c] for r, c in near):
            found.append((y, x))
    return found


def f_by_loops(a: np.ndarray, b: np.ndarray, tol: float) -> float:
    first, second = boundary_by_loops(a), boundary_by_loops(b)
    if not first and not second:
        return 1.0

    def share(points, others):
        near = sum(any((y - r) ** 2 + (x - c) ** 2 <= tol**2 for r, c in others) for y, x in points)
        return near / len(points) if points else 0.0

    precision, recall = share(first, second), share(second, first)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class TestBoundaryF:
    @pytest.mark.parametrize("tol", [0, 1, 1.5, 2, 2**0.5, 100])
    def test_against_loops(self, tol):
        a, b = random_masks(6, 2, (12, 10)), random_masks(6, 3, (12, 10))
        a[0], b[0], a[1] = True, True, False
        expected = [f_by_loops(x.numpy(), y.numpy(), tol) for x, y in zip(a, b, strict=True)]
        torch.testing.assert_close(boundary_f(a, b, tol), torch.tensor(expected, dtype=torch.float64))
        torch.testing.assert_close(boundary_f(b, a, tol), torch.tensor(expected, dtype=torch.float64))

    def test_any_leading_sizes(self):
        a = random_masks(6, 4)
        assert boundary_f(a[0], a[0]).shape == () and boundary_f(a.view(2, 3, 9, 13), a.view(2, 3, 9, 13)).shape == (
            2,
            3,
        )
        assert boundary_f(a[:0], a[:0]).shape == (0,)

    def test_tolerance_beyond_any_distance(self):
        a = random_masks(1, 5)
        assert boundary_f(a, ~a, 1e6).item() == 1

    def test_refused(self):
        a = random_masks(2, 0)
        for arguments, error in (((a, a[:1]), ValueError), ((a, a, -1), ValueError), ((a, a.float()), TypeError)):
            with pytest.raises(error, match="boundary_f: expected"):
                boundary_f(*arguments)


class TestTightBoxes:
    def test_against_nonzero(self):
        masks, _ = shapes_with_boxes(20)
        for mask, box in zip(masks, tight_boxes(masks), strict=True):
            y, x = mask.nonzero().T
            assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]

    def test_without_a_pixel(self):
        assert tight_boxes(torch.zeros(2, 3, 4, dtype=torch.uint8)).tolist() == [[0.0] * 4] * 2
        assert tight_boxes(torch.zeros(2, 0, 4, dtype=torch.bool)).tolist() == [[0.0] * 4] * 2
        assert tight_boxes(torch.zeros(0, 3, 4, dtype=torch.bool)).shape == (0, 4)

    def test_whole_and_corner(self):
        masks = torch.ones(2, 3, 4, dtype=torch.int32)
        masks[1], masks[1, 2, 3] = 0, 7
        assert tight_boxes(masks).tolist() == [[0, 0, 4, 3], [3, 2, 4, 3]]
