"""Mask voting: hand-made cases, and against a loop over whole pictures."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation.mnc.voting import mask_voting
from cnnfast.models.instance_segmentation.object_masks.windows import paste_windows

SIZE = (12, 16)


def two_classes(*second):
    """Scores of a single class: background and object."""
    return torch.tensor([[1 - score, score] for score in second])


def area(boxes, image_size=SIZE):
    mask = torch.zeros(1, *image_size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        mask[0, y0:y1, x0:x1] = True
    return mask


class TestByHand:
    BOXES = torch.tensor([[2.0, 2.0, 6.0, 6.0], [2.0, 2.0, 6.0, 7.0], [10.0, 2.0, 14.0, 6.0]])

    def test_overlapping_boxes_become_one_mask_and_others_stay(self):
        # IoU of the first two is 0.8. Row 6 belongs to the second alone, which has 0.8 of 1.7 votes.
        windows = torch.ones(3, 1, 4, 4)
        result = mask_voting(windows, self.BOXES, two_classes(0.9, 0.8, 0.7), SIZE)
        torch.testing.assert_close(result["scores"], torch.tensor([0.9, 0.7]))
        assert result["labels"].tolist() == [1, 1]
        assert result["boxes"].tolist() == [[2, 2, 6, 7], [10, 2, 14, 6]]
        assert torch.equal(result["masks"][0], area([(2, 2, 6, 7)]))
        assert torch.equal(result["masks"][1], area([(10, 2, 14, 6)]))

    def test_a_vote_counts_by_its_score(self):
        windows = torch.ones(3, 1, 4, 4)
        result = mask_voting(windows, self.BOXES, two_classes(0.9, 0.5, 0.7), SIZE)
        assert result["boxes"][0].tolist() == [2, 2, 6, 6]  # 0.5 / 1.4 < 0.4

    def test_masks_are_soft_until_averaged(self):
        # 0.35 and 0.5 round to 0 and 1. They average to 0.425 with equal scores, and to less than 0.4 with these.
        boxes = self.BOXES[:1].expand(2, 4)
        windows = torch.tensor([0.35, 0.5]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
        assert len(mask_voting(windows, boxes, two_classes(0.8, 0.8), SIZE)["masks"]) == 1
        assert len(mask_voting(windows, boxes, two_classes(0.9, 0.3), SIZE)["masks"]) == 0

    def test_classes_vote_apart(self):
        boxes = self.BOXES[:1].expand(2, 4)
        left, right = torch.zeros(2, 1, 1, 4, 4).unbind(0)
        left[..., :2], right[..., 2:] = 1, 1
        scores = torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
        result = mask_voting(torch.cat([left, right]), boxes, scores, SIZE)
        assert result["labels"].tolist() == [1, 2]
        assert result["boxes"].tolist() == [[2, 2, 4, 6], [4, 2, 6, 6]]

    def test_windows_leave_the_box(self):
        # Box of 4 cells of 1 px, two cells around it; the mask is one cell beyond the box on the right alone.
        window = torch.zeros(1, 1, 8, 8)
        window[..., 2:6, 2:7] = 1
        result = mask_voting(window, self.BOXES[:1], two_classes(0.9), SIZE, halo=2)
        assert result["boxes"].tolist() == [[2, 2, 7, 6]]
        assert torch.equal(result["masks"][0], area([(2, 2, 7, 6)]))

    def test_windows_are_cut_at_the_picture(self):
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [12.0, 8.0, 16.0, 12.0]])
        result = mask_voting(torch.ones(2, 1, 8, 8), boxes, two_classes(0.9, 0.8), SIZE, halo=2)
        assert result["boxes"].tolist() == [[0, 0, 6, 6], [10, 6, 16, 12]]

    def test_best_of_all_classes(self):
        boxes = torch.tensor([[0.0, 0.0, 3.0, 3.0], [4.0, 4.0, 8.0, 8.0], [9.0, 4.0, 12.0, 8.0]])
        scores = torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.5, 0.4], [0.1, 0.6, 0.3]])
        result = mask_voting(torch.ones(3, 1, 4, 4), boxes, scores, SIZE, max_detections=4)
        torch.testing.assert_close(result["scores"], torch.tensor([0.7, 0.6, 0.5, 0.4]))
        assert result["labels"].tolist() == [1, 1, 1, 2]
        result = mask_voting(torch.ones(3, 1, 4, 4), boxes, scores, SIZE, score_threshold=0.55)
        assert result["labels"].tolist() == [1, 1]


class TestAgainstLoop:
    @staticmethod
    def voted(windows, boxes, scores, halo, box, label):
        """One mask in the plain way: everything pasted into the whole picture."""
        size = windows.shape[-1] - 2 * halo
        low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
        shared = (high - low).clamp(min=0).prod(1)
        overlap = shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - shared)
        total, weight = torch.zeros(SIZE), 0.0
        for i in torch.where(overlap >= 0.5)[0]:
            total += scores[i, label] * paste_windows(windows[i : i + 1], boxes[i : i + 1], size, halo, SIZE)[0, 0]
            weight += scores[i, label]
        return total / weight

    @pytest.mark.parametrize("halo", [0, 3])
    @pytest.mark.parametrize("seed", range(5))
    def test_masks(self, halo, seed):
        generator = torch.Generator().manual_seed(seed)
        centres = torch.rand(60, 2, generator=generator) * torch.tensor([16.0, 12.0])
        sides = 2 + 5 * torch.rand(60, 2, generator=generator)
        boxes = torch.cat([centres - sides / 2, centres + sides / 2], 1)
        windows = torch.rand(60, 1, 7 + 2 * halo, 7 + 2 * halo, generator=generator)
        scores = torch.rand(60, 4, generator=generator).softmax(1)
        result = mask_voting(windows, boxes, scores, SIZE, halo=halo)
        assert len(result["masks"]) > 10
        for score, label, mask in zip(result["scores"], result["labels"], result["masks"], strict=True):
            box = boxes[scores[:, label] == score][0]
            average = self.voted(windows, boxes, scores, halo, box, label)
            clear = (average - 0.4).abs() > 1e-5
            assert torch.equal(mask[0][clear], (average >= 0.4)[clear])


class TestNothing:
    def test_no_boxes(self):
        result = mask_voting(torch.zeros(0, 1, 4, 4), torch.zeros(0, 4), torch.zeros(0, 3), SIZE)
        assert {name: list(part.shape) for name, part in result.items()} == {
            "boxes": [0, 4],
            "labels": [0],
            "scores": [0],
            "masks": [0, 1, *SIZE],
        }

    def test_empty_masks_boxes_without_area_and_outside_the_picture(self):
        boxes = torch.tensor([[1.0, 1.0, 5.0, 5.0], [3.0, 3.0, 3.0, 9.0], [40.0, 40.0, 50.0, 50.0]])
        windows = torch.ones(3, 1, 4, 4)
        windows[0] = 0.1
        assert len(mask_voting(windows, boxes, two_classes(0.9, 0.8, 0.7), SIZE)["boxes"]) == 0

    def test_background_alone(self):
        assert len(mask_voting(torch.ones(1, 1, 4, 4), torch.ones(1, 4), torch.ones(1, 1), SIZE)["boxes"]) == 0


@pytest.mark.parametrize(
    ("windows", "boxes", "scores", "halo", "message"),
    [
        ((2, 4, 4), (2, 4), (2, 3), 0, r"windows of shape \[n,1,S\+2P,S\+2P\], got \[2, 4, 4\]"),
        ((2, 1, 4, 5), (2, 4), (2, 3), 0, "windows of shape"),
        ((2, 1, 4, 4), (3, 4), (2, 3), 0, r"boxes of shape \[2,4\], got \[3, 4\]"),
        ((2, 1, 4, 4), (2, 4), (3, 3), 0, r"scores of shape \[2,1\+C\], got \[3, 3\]"),
        ((2, 1, 4, 4), (2, 4), (2, 3), 2, "halo in 0..1, got 2"),
    ],
)
def test_errors(windows, boxes, scores, halo, message):
    with pytest.raises(ValueError, match=message):
        mask_voting(torch.zeros(windows), torch.zeros(boxes), torch.zeros(scores), SIZE, halo=halo)
