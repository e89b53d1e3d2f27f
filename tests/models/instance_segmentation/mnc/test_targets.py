"""Sampling, matching and targets of a multi-task network cascade."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchvision")

from torchvision.ops import box_iou

from cnnfast.models.instance_segmentation.mnc.targets import (
    BOX_CODER,
    box_mask_targets,
    match_rois,
    refine_boxes,
    sample_rois,
    segment_labels,
)


def rectangles(*boxes, labels=None, image_size=(40, 48)):
    """Ground truth of objects that fill their boxes."""
    masks = torch.zeros(len(boxes), *image_size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    given = list(range(1, len(boxes) + 1)) if labels is None else labels
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(given, dtype=torch.int64),
        "masks": masks,
    }


def shifted(box, count, spread, generator):
    return torch.tensor(box, dtype=torch.float32) + spread * torch.randn(count, 4, generator=generator)


class TestSampling:
    @pytest.fixture
    def candidates(self):
        """Many boxes of each kind around one object."""
        generator = torch.Generator().manual_seed(0)
        close, near = shifted((10, 10, 30, 30), 300, 1.0, generator), shifted((10, 10, 22, 22), 300, 2.0, generator)
        far = shifted((36, 34, 44, 39), 300, 1.0, generator)
        return torch.cat([close, near, far])

    def test_shares(self, candidates):
        target = rectangles((10, 10, 30, 30))
        rois = sample_rois([candidates], [target])
        overlap = box_iou(rois.boxes[0], target["boxes"])[:, 0]
        inside, near = overlap >= 0.5, (overlap >= 0.1) & (overlap < 0.5)
        # round(.3 * 64), round(.85 * 45) and round(.15 * 45).
        assert (int(inside.sum()), int(near.sum()), int((overlap < 0.1).sum())) == (19, 38, 7)
        assert torch.equal(rois.labels[0] > 0, inside)

    def test_chosen_at_random(self, candidates):
        first, second = (sample_rois([candidates], [rectangles((10, 10, 30, 30))]).boxes[0] for _ in range(2))
        assert not torch.equal(first, second)

    def test_ground_truth_is_among_them(self):
        target = rectangles((10, 10, 30, 30), (2, 2, 8, 9))
        rois = sample_rois([torch.zeros(0, 4)], [target])
        assert {tuple(box.tolist()) for box in rois.boxes[0]} == {(10, 10, 30, 30), (2, 2, 8, 9)}
        assert sorted(rois.labels[0].tolist()) == [1, 2]

    def test_no_objects(self, candidates):
        rois = sample_rois([candidates], [rectangles()])
        assert rois.labels[0].tolist() == [0] * 10
        assert sample_rois([torch.zeros(0, 4)], [rectangles()]).boxes[0].shape == (0, 4)

    def test_gradient_of_the_proposals_is_kept(self, candidates):
        proposals = candidates.requires_grad_()
        sample_rois([proposals], [rectangles((10, 10, 30, 30))]).boxes[0].sum().backward()
        assert proposals.grad.sum() >= 4 * 60


class TestMatching:
    def test_best_object_by_picture(self):
        targets = [rectangles((0, 0, 10, 10), (0, 0, 20, 20), labels=[7, 9]), rectangles(), rectangles((5, 5, 9, 9))]
        boxes = torch.tensor([[0.0, 0.0, 19.0, 19.0], [0.0, 0.0, 9.0, 9.0], [30.0, 30.0, 35.0, 35.0]])
        rois = match_rois([boxes, boxes, boxes[:0]], targets)
        assert [labels.tolist() for labels in rois.labels] == [[9, 7, 0], [0, 0, 0], []]
        assert rois.matched[0][:2].tolist() == [1, 0]
        assert [part.tolist() for part in rois.foreground().labels] == [[9, 7], [], []]

    def test_exactly_half_is_foreground(self):
        rois = match_rois([torch.tensor([[0.0, 0.0, 10.0, 5.0]])], [rectangles((0, 0, 10, 10))])
        assert rois.labels[0].tolist() == [1]

    def test_boxes_without_area_are_background(self):
        rois = match_rois([torch.tensor([[4.0, 4.0, 4.0, 9.0]])], [rectangles((0, 0, 10, 10))])
        assert rois.labels[0].tolist() == [0]


class TestRefinement:
    BOXES = torch.tensor([[8.0, 8.0, 28.0, 24.0]])

    def deltas(self, *truths):
        """Background leaves the box alone, classes move it to the given boxes."""
        moved = [BOX_CODER.encode_single(torch.tensor([truth]), self.BOXES) for truth in truths]
        return torch.stack([torch.zeros(1, 4), *moved], 1)

    @pytest.mark.parametrize(
        ("scores", "skip_background", "expected"),
        [
            ([0.1, 0.2, 0.7], False, [10, 9, 20, 30]),
            ([0.1, 0.7, 0.2], False, [4, 4, 30, 20]),
            ([0.9, 0.08, 0.02], False, [8, 8, 28, 24]),
            ([0.9, 0.08, 0.02], True, [4, 4, 30, 20]),
        ],
    )
    def test_deltas_of_the_best_class(self, scores, skip_background, expected):
        deltas = self.deltas([4.0, 4.0, 30.0, 20.0], [10.0, 9.0, 20.0, 30.0])
        refined = refine_boxes(
            [self.BOXES], deltas, torch.tensor([scores]), [(40, 48)], skip_background=skip_background
        )
        torch.testing.assert_close(refined[0], torch.tensor([expected], dtype=torch.float32))

    def test_cut_at_the_picture(self):
        deltas = self.deltas([-9.0, 4.0, 99.0, 50.0])
        refined = refine_boxes([self.BOXES], deltas, torch.tensor([[0.0, 1.0]]), [(40, 48)], skip_background=False)
        torch.testing.assert_close(refined[0], torch.tensor([[0.0, 4.0, 48.0, 40.0]]))

    def test_gradient_in_deltas_and_boxes(self):
        deltas, boxes = self.deltas([4.0, 4.0, 30.0, 20.0]).requires_grad_(), self.BOXES.clone().requires_grad_()
        refine_boxes([boxes], deltas, torch.tensor([[0.0, 1.0]]), [(40, 48)], skip_background=False)[0].sum().backward()
        assert (deltas.grad[:, 1, :2] != 0).all() and (deltas.grad[:, 0] == 0).all() and (boxes.grad != 0).any()


class TestMasks:
    def test_object_inside_the_box(self):
        target = rectangles((8, 8, 16, 16))
        rois = match_rois([torch.tensor([[8.0, 8.0, 20.0, 16.0]])], [target])
        expected = torch.zeros(1, 1, 6, 6)
        expected[..., :4] = 1  # four of six columns of 2 px
        assert torch.equal(box_mask_targets(rois, [target], 6), expected)

    def test_values_from_four_tenths_are_inside(self):
        # A cell's centre between a pixel inside and one outside has their weighted mean.
        target = {"boxes": torch.tensor([[0.0, 0.0, 4.0, 1.0]]), "masks": torch.tensor([[[0, 1, 1, 0]]])}
        for offset, expected in ((0.39, 0.0), (0.41, 1.0)):
            box = torch.tensor([[offset, 0.0, offset + 1, 1.0]])
            rois = match_rois([box], [{"boxes": box, "labels": torch.tensor([1])}])
            assert box_mask_targets(rois, [target], 1).item() == expected

    def test_segment_has_the_class_if_the_mask_fits(self):
        target = rectangles((8, 8, 20, 20), labels=[5])
        box = torch.tensor([[8.0, 8.0, 20.0, 20.0]])
        rois = match_rois([box.repeat(4, 1), torch.zeros(0, 4)], [target, rectangles()])
        windows = torch.zeros(4, 1, 12, 12)
        windows[0] = 0.41
        windows[1] = 0.39
        windows[2, ..., :6] = 0.9
        windows[3, ..., :5] = 0.9
        assert segment_labels(windows, rois, [target, rectangles()], 0).tolist() == [5, 0, 5, 0]

    def test_window_counts_as_a_whole(self):
        # The box is the object's left half: a mask inside it reaches an IoU of 0.5, one in the window 1.
        target = rectangles((8, 8, 20, 20))
        rois = match_rois([torch.tensor([[8.0, 8.0, 14.0, 20.0]]).repeat(2, 1)], [target])
        windows = torch.zeros(2, 1, 36, 36)
        windows[0, :, 12:24, 12:36] = 1  # cells of 0.5 x 1 px
        windows[1, :, 12:24, 12:18] = 1
        assert segment_labels(windows, rois, [target], 12).tolist() == [1, 0]

    def test_background_stays_background(self):
        target = rectangles((8, 8, 20, 20))
        rois = match_rois([torch.tensor([[30.0, 30.0, 40.0, 40.0]])], [target])
        assert segment_labels(torch.ones(1, 1, 4, 4), rois, [target], 0).tolist() == [0]
