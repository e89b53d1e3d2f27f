"""Windows: their geometry, masks resampled in them, and pasted back."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnnfast.models.instance_segmentation.object_masks.windows import (
    paste_windows,
    sample_windows,
    window_boxes,
    window_patches,
)
from tests.models.instance_segmentation.segmentation_cases import shapes_with_boxes

PICTURE = (40, 56)


def random_boxes(count, seed=0, size=PICTURE):
    """Boxes that leave the picture on all sides, some smaller than a pixel."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([size[1], size[0]]) * 1.4 - 8
    side = torch.exp(4.5 * torch.rand(count, 2, generator=generator) - 0.7)
    return torch.cat([centre - side / 2, centre + side / 2], 1)


def windows_of(count, cells, seed=1):
    return torch.rand(count, 1, cells, cells, generator=torch.Generator().manual_seed(seed))


def pasted_by_loops(window, box, size, halo, image_size):
    """One window [T,T] in the picture, pixel by pixel."""
    x0, y0, x1, y1 = box.double().tolist()
    w, h = (x1 - x0) / size, (y1 - y0) / size
    x0, y0 = x0 - halo * w, y0 - halo * h
    cells = size + 2 * halo
    result = torch.zeros(image_size)

    def cell(row, column):
        return float(window[min(max(row, 0), cells - 1), min(max(column, 0), cells - 1)])

    for i in range(image_size[0]):
        for j in range(image_size[1]):
            v, u = (i + 0.5 - y0) / h, (j + 0.5 - x0) / w
            if 0 <= v < cells and 0 <= u < cells:
                r, c = math.floor(v - 0.5), math.floor(u - 0.5)
                fy, fx = v - 0.5 - r, u - 0.5 - c
                result[i, j] = (1 - fy) * ((1 - fx) * cell(r, c) + fx * cell(r, c + 1)) + fy * (
                    (1 - fx) * cell(r + 1, c) + fx * cell(r + 1, c + 1)
                )
    return result


class TestWindowBoxes:
    def test_grows_by_cells(self):
        box = torch.tensor([[10.0, 20.0, 38.0, 34.0]])
        assert window_boxes(box, 28, 7).tolist() == [[3.0, 16.5, 45.0, 37.5]]

    def test_shrinks_back(self):
        boxes = random_boxes(9).double()
        outer = window_boxes(boxes, 28, 8)
        torch.testing.assert_close(window_boxes(outer, 28 + 16, -8), boxes)

    def test_gradient_reaches_the_boxes(self):
        boxes = random_boxes(3).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda b: window_boxes(b, 5, 2), boxes)

    def test_no_boxes(self):
        assert window_boxes(torch.zeros(0, 4), 28, 7).shape == (0, 4)


class TestSampleWindows:
    @pytest.mark.parametrize("image_edge", ["open", "closed"])
    def test_equals_grid_sample(self, image_edge):
        masks, _ = shapes_with_boxes(3, 48)
        boxes, matched = random_boxes(40, size=(48, 48)).double(), torch.arange(40) % 3
        sampled, inside = sample_windows(masks, boxes, matched, 6, 3, image_edge)
        outer = window_boxes(boxes, 6, 3)
        step = (torch.arange(12) + 0.5) / 12
        x = outer[:, 0, None] + (outer[:, 2] - outer[:, 0])[:, None] * step
        y = outer[:, 1, None] + (outer[:, 3] - outer[:, 1])[:, None] * step
        grid = torch.stack([x[:, None].expand(-1, 12, -1), y[:, :, None].expand(-1, -1, 12)], 3) / 24 - 1
        padding = {"open": "border", "closed": "zeros"}[image_edge]
        values = F.grid_sample(masks[matched][:, None].double(), grid, padding_mode=padding, align_corners=False)
        # Values that rounding may put on either side of the threshold prove nothing.
        sure = (values[:, 0] - 0.5).abs() > 1e-9
        assert sure.float().mean() > 0.99
        assert torch.equal(sampled[sure], (values[:, 0] >= 0.5)[sure])
        expected = ((x >= 0) & (x < 48))[:, None] & ((y >= 0) & (y < 48))[:, :, None]
        assert torch.equal(inside, expected)

    def test_cells_of_one_pixel_are_the_mask(self):
        masks, _ = shapes_with_boxes(2, 24)
        sampled, inside = sample_windows(masks, torch.tensor([[8.0, 8, 16, 16]] * 2), torch.tensor([1, 0]), 8, 8)
        assert torch.equal(sampled, masks.flip(0)) and inside.all()

    def test_the_edge_of_the_picture(self):
        mask, box = torch.ones(1, 8, 8, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 8.0, 8.0]])
        opened, inside = sample_windows(mask, box, torch.tensor([0]), 8, 2, "open")
        closed, _ = sample_windows(mask, box, torch.tensor([0]), 8, 2, "closed")
        assert opened.all() and torch.equal(closed, inside)
        assert inside.sum() == 64 and inside[0, 2:-2, 2:-2].all()

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int64])
    def test_any_non_zero_value_is_foreground(self, dtype):
        masks, boxes = shapes_with_boxes(4, 48)
        expected = sample_windows(masks, boxes, torch.arange(4), 7, 2)[0]
        values = masks.to(dtype) * (1 if dtype == torch.bool else 100)
        assert torch.equal(sample_windows(values, boxes, torch.arange(4), 7, 2)[0], expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_boxes_are_computed_in_float32(self, dtype):
        masks, boxes = shapes_with_boxes(4, 48)
        boxes = boxes.to(dtype)
        halves = sample_windows(masks, boxes, torch.arange(4), 28, 8)[0]
        assert torch.equal(halves, sample_windows(masks, boxes.float(), torch.arange(4), 28, 8)[0])

    def test_tiny_far_and_degenerate_boxes(self):
        boxes = torch.tensor(
            [[3.0, 3, 4, 4], [5.2, 5.2, 5.3, 5.3], [-1e9, 0, 1e9, 5], [7, 7, 7, 7], [3e8, 3e8, 4e8, 4e8]]
        )
        masks = torch.ones(1, 16, 16, dtype=torch.bool)
        sampled, inside = sample_windows(masks, boxes, torch.zeros(5, dtype=torch.int64), 4, 1)
        assert sampled.all() and not inside[4].any()

    def test_no_boxes_and_no_objects(self):
        sampled, inside = sample_windows(
            torch.zeros(0, 9, 9, dtype=torch.bool), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 4, 1
        )
        assert sampled.shape == inside.shape == (0, 6, 6) and sampled.dtype == inside.dtype == torch.bool


class TestPasteWindows:
    @pytest.mark.parametrize(("size", "halo"), [(4, 0), (5, 2), (1, 0), (1, 3), (28, 7)])
    def test_equals_loops(self, size, halo):
        boxes, windows = random_boxes(12, seed=size), windows_of(12, size + 2 * halo)
        pasted = paste_windows(windows, boxes, size, halo, PICTURE)
        assert pasted.shape == (12, 1, *PICTURE) and pasted.dtype == torch.float32
        for mask, window, box in zip(pasted[:, 0], windows[:, 0], boxes, strict=True):
            torch.testing.assert_close(mask, pasted_by_loops(window, box, size, halo, PICTURE), rtol=0, atol=2e-5)

    def test_threshold_is_reached(self):
        boxes, windows = random_boxes(12), windows_of(12, 9)
        values = paste_windows(windows, boxes, 5, 2, PICTURE)
        masks = paste_windows(windows, boxes, 5, 2, PICTURE, threshold=0.4)
        assert masks.dtype == torch.bool and torch.equal(masks, values >= 0.4)
        constant = paste_windows(torch.full((1, 1, 3, 3), 0.5), torch.tensor([[4.0, 4, 16, 16]]), 1, 1, (20, 20), 0.5)
        assert constant[0, 0, 4:16, 4:16].all()

    def test_a_window_of_ones_fills_its_box_exactly(self):
        boxes = torch.tensor([[3.0, 5.0, 17.0, 31.0], [-4.0, -4.0, 9.0, 60.0]])
        pasted = paste_windows(torch.ones(2, 1, 7, 7), boxes, 7, 0, PICTURE, threshold=0.5)[:, 0]
        expected = torch.zeros(2, *PICTURE, dtype=torch.bool)
        expected[0, 5:31, 3:17] = True
        expected[1, :, :9] = True
        assert torch.equal(pasted, expected)

    def test_undoes_sampling(self):
        masks, boxes = shapes_with_boxes(20, 64)
        windows, _ = sample_windows(masks, boxes, torch.arange(20), 56, 40)
        pasted = paste_windows(windows[:, None], boxes, 56, 40, (64, 64), threshold=0.5)[:, 0]
        wrong = (pasted ^ masks).flatten(1).float().sum(1) / masks.flatten(1).float().sum(1)
        assert wrong.max() < 0.04

    @pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.bfloat16, torch.float64])
    def test_dtypes(self, dtype):
        boxes, windows = random_boxes(6), (windows_of(6, 9) > 0.5).to(dtype)
        pasted = paste_windows(windows, boxes, 5, 2, PICTURE)
        assert pasted.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(pasted.float(), paste_windows(windows.float(), boxes, 5, 2, PICTURE))

    def test_values_stay_in_range(self):
        pasted = paste_windows(torch.ones(30, 1, 44, 44), random_boxes(30), 28, 8, PICTURE)
        assert pasted.min() >= 0 and pasted.max() <= 1

    def test_boxes_without_area_or_far_away_are_empty(self):
        boxes = torch.tensor(
            [[5.0, 5, 5, 9], [9, 9, 5, 5], [500, 500, 600, 600], [-600, -600, -500, -500], [3e38, 3e38, 3.1e38, 3.1e38]]
        )
        assert not paste_windows(torch.ones(5, 1, 6, 6), boxes, 4, 1, PICTURE).any()

    def test_huge_box(self):
        box = torch.tensor([[-1e9, -1e9, 1e9, 1e9]])
        assert (paste_windows(torch.ones(1, 1, 6, 6), box, 4, 1, PICTURE) == 1).all()

    def test_one_pixel_boxes(self):
        boxes = torch.tensor([[3.0, 4.0, 4.0, 5.0], [55.0, 39.0, 56.0, 40.0]])
        pasted = paste_windows(torch.ones(2, 1, 42, 42), boxes, 28, 7, PICTURE, threshold=0.5)
        assert pasted.flatten(1).sum(1).tolist() == [1, 1] and pasted[0, 0, 4, 3] and pasted[1, 0, 39, 55]

    def test_empty(self):
        assert paste_windows(torch.zeros(0, 1, 6, 6), torch.zeros(0, 4), 4, 1, PICTURE).shape == (0, 1, *PICTURE)
        assert paste_windows(torch.ones(1, 1, 6, 6), torch.ones(1, 4), 4, 1, (0, 7)).shape == (1, 1, 0, 7)

    def test_has_no_gradient(self):
        windows = windows_of(2, 6).requires_grad_()
        assert not paste_windows(windows, random_boxes(2), 4, 1, PICTURE).requires_grad

    def test_patches_are_the_pasted_masks(self):
        boxes, windows = random_boxes(25), windows_of(25, 9)
        masks = torch.zeros(25, *PICTURE)
        for index, top, left, values in window_patches(windows, boxes, 5, 2, PICTURE):
            assert values.numel() > 0
            masks[index, top : top + values.shape[0], left : left + values.shape[1]] = values
        assert torch.equal(masks, paste_windows(windows, boxes, 5, 2, PICTURE)[:, 0])

    def test_patches_of_a_huge_picture_are_small(self):
        boxes = torch.tensor([[70000.0, 80000.0, 70010.0, 80020.0]])
        (patch,) = window_patches(torch.ones(1, 1, 6, 6), boxes, 4, 1, (100000, 100000))
        assert (patch.top, patch.left, *patch.values.shape) == (79995, 69997, 30, 15)


GOOD = {
    "masks": torch.zeros(2, 8, 8, dtype=torch.bool),
    "boxes": torch.tensor([[0.0, 0, 4, 4]]),
    "matched": torch.tensor([0]),
    "size": 4,
    "halo": 1,
}


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"masks": torch.zeros(2, 8, 8)}, TypeError, "masks > 0.5"),
            ({"masks": torch.zeros(8, 8, dtype=torch.bool)}, ValueError, "[n,H,W]"),
            ({"masks": [1]}, TypeError, "masks a torch.Tensor, got list"),
            ({"masks": torch.zeros(0, 8, 8, dtype=torch.bool)}, ValueError, "a mask for 1 boxes"),
            ({"boxes": torch.zeros(1, 5)}, ValueError, "[n,4]"),
            ({"boxes": torch.zeros(1, 4, dtype=torch.int64)}, TypeError, "floating"),
            ({"boxes": torch.tensor([[0.0, math.nan, 1, 1]])}, ValueError, "finite boxes"),
            ({"boxes": torch.tensor([[0.0, 0, math.inf, 1]])}, ValueError, "finite boxes"),
            ({"boxes": torch.zeros(1, 4, device="meta")}, ValueError, "meta"),
            ({"matched": torch.tensor([2])}, ValueError, "0..1"),
            ({"matched": torch.tensor([-1])}, ValueError, "0..1"),
            ({"matched": torch.tensor([0, 1])}, ValueError, "shape [1]"),
            ({"matched": torch.tensor([0.0])}, TypeError, "int64"),
            ({"size": 0}, ValueError, "size of at least 1"),
            ({"size": 4.0}, TypeError, "size an int"),
            ({"halo": -1}, ValueError, "halo of at least 0"),
            ({"image_edge": "round"}, ValueError, '"open", "closed"'),
        ],
    )
    def test_sample_windows(self, change, error, words):
        with pytest.raises(error, match="sample_windows: ") as caught:
            sample_windows(**{**GOOD, **change})
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"windows": torch.zeros(1, 1, 5, 6)}, ValueError, "[1, 1, 6, 6]"),
            ({"windows": torch.zeros(1, 6, 6)}, ValueError, "[1, 1, 6, 6]"),
            ({"windows": torch.zeros(2, 1, 6, 6)}, ValueError, "[1, 1, 6, 6]"),
            ({"windows": torch.zeros(1, 1, 6, 6, dtype=torch.uint8)}, TypeError, "floating dtype or bool"),
            ({"windows": None}, TypeError, "windows a torch.Tensor"),
            ({"boxes": torch.tensor([[0.0, 0, math.nan, 1]])}, ValueError, "finite boxes"),
            ({"boxes": torch.tensor([[0.0, 0, 1e300, 1]], dtype=torch.float64)}, ValueError, "finite boxes"),
            ({"boxes": torch.zeros(4)}, ValueError, "[n,4]"),
            ({"boxes": torch.zeros(1, 4, device="meta")}, ValueError, "meta"),
            ({"image_size": (8,)}, ValueError, "(height, width)"),
            ({"image_size": (8, -1)}, ValueError, "(height, width)"),
            ({"image_size": (8.0, 8.0)}, ValueError, "(height, width)"),
            ({"halo": True}, TypeError, "halo an int"),
        ],
    )
    def test_paste_windows(self, change, error, words):
        good = {"windows": torch.ones(1, 1, 6, 6), "boxes": torch.tensor([[0.0, 0, 4, 4]]), "size": 4, "halo": 1}
        with pytest.raises(error, match="paste_windows: ") as caught:
            paste_windows(**{**good, "image_size": (8, 8), **change})
        assert words in str(caught.value)
