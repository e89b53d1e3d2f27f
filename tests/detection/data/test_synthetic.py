"""Synthetic pictures and boxes: what they promise, and how they are distributed."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast.detection.data import SyntheticInstances, perturb_boxes, synthetic, synthetic_instances
from tests.models.instance_segmentation.segmentation_cases import overlap

COUNT = 300


@pytest.fixture(scope="module")
def items():
    data = SyntheticInstances(COUNT)
    return [data[index] for index in range(COUNT)]


class TestPictures:
    def test_seed(self):
        first, again, other = (synthetic_instances(seed) for seed in (5, 5, 6))
        assert torch.equal(first[0], again[0]) and torch.equal(first[1]["masks"], again[1]["masks"])
        assert not torch.equal(first[0], other[0])
        assert torch.equal(SyntheticInstances(3, seed=4)[1][0], first[0])
        assert torch.equal(SyntheticInstances(3, seed=4)[-2][0], first[0])

    def test_changing_a_picture_changes_no_other(self):
        data = SyntheticInstances(1)
        data[0][0].zero_()
        assert data[0][0].any()

    def test_form(self, items):
        for picture, target in items:
            assert picture.shape == (3, 64, 64) and picture.min() >= 0 and picture.max() <= 1
            assert target["masks"].shape == (1, 64, 64) and 1 <= int(target["labels"]) <= 3
            assert target["masks"].sum() >= 100

    def test_kinds_are_equally_likely(self, items):
        kinds = torch.cat([target["labels"] for _, target in items]).bincount()
        assert (kinds[1:] > COUNT / 3 - 40).all()

    def test_boxes_stay_near(self, items):
        boxes = torch.cat([target["boxes"] for _, target in items])
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert centre.min() > 16 - 3 and centre.max() < 48 + 3
        side = (boxes[:, 2:] - boxes[:, :2]).amax(1)
        assert side.min() > 10 and side.max() <= 48

    def test_colours(self, items):
        for picture, target in items:
            mask = target["masks"][0].bool()
            inside, outside = picture[:, mask].mean(1), picture[:, ~mask].mean(1)
            assert (inside - outside).abs().max() > 0.25 - 0.08
            assert outside.min() > 0.2 - 0.02 and outside.max() < 0.8 + 0.02
        noise = picture[:, ~mask].std(1)
        assert (noise - 0.08).abs().max() < 0.01

    def test_shapes(self):
        place = torch.arange(41) - 20.0
        u, v = place[None, :].expand(41, 41), place[:, None].expand(41, 41)
        ellipse, rectangle, star = (synthetic._inside(kind, 10.0, 6.0, u, v) for kind in range(3))
        assert rectangle.sum() == 21 * 13 and abs(int(ellipse.sum()) - math.pi * 60) < 10
        assert star[20, 20 + 11] and not star[20, 20 + 12]  # 1.15 a along the first ray
        assert not star[20, 20 - 5]  # 0.45 a opposite to it

    def test_several_objects(self):
        for seed in range(20):
            picture, target = synthetic_instances(seed, size=96, n=5)
            assert picture.shape == (3, 96, 96) and len(target["masks"]) == 5
            assert int(target["masks"].sum(0).max()) == 1

    def test_enough_of_hidden_objects_is_visible(self):
        whole = torch.zeros(2, 20, 20, dtype=torch.bool)
        whole[0, :10, :10], whole[1, :, 6:] = True, True
        assert synthetic._stay_visible([whole[0]], whole[1])  # 60 of 100 px
        whole[1, 0, 5] = True
        assert not synthetic._stay_visible([whole[0]], whole[1])

    def test_none(self):
        picture, target = synthetic_instances(0, n=0)
        assert picture.shape == (3, 64, 64) and target["boxes"].shape == (0, 4)

    @pytest.mark.parametrize("options", [{"seed": -1}, {"size": 31}, {"n": -1}, {"n": 60}])
    def test_refused(self, options, monkeypatch):
        monkeypatch.setattr(synthetic, "_ATTEMPTS", 5)
        with pytest.raises(ValueError, match="synthetic_instances: expected"):
            synthetic_instances(**{"seed": 0, **options})

    def test_index(self):
        with pytest.raises(IndexError):
            SyntheticInstances(2)[2]
        with pytest.raises(ValueError, match="expected count of at least 1"):
            SyntheticInstances(0)


class TestBoxes:
    @pytest.fixture
    def boxes(self, items):
        return torch.cat([target["boxes"] for _, target in items])

    @pytest.mark.parametrize("iou", [(0.4, 0.7), (0.4, 0.55), (0.7, 0.9)])
    def test_overlap(self, boxes, iou):
        moved = perturb_boxes(boxes, (64, 64), iou, torch.Generator().manual_seed(0))
        values = torch.tensor([overlap(a, b) for a, b in zip(boxes, moved, strict=True)])
        assert values.min() >= iou[0] - 1e-6 and values.max() <= iou[1] + 1e-6
        assert values.max() - values.min() > 0.8 * (iou[1] - iou[0])
        assert moved.min() >= 0 and moved.max() <= 64

    def test_shift_and_scale(self):
        box = torch.tensor([[400.0, 300.0, 500.0, 500.0]]).expand(4000, 4)
        moved = perturb_boxes(box, (1000, 1000), (0.0, 1.0), torch.Generator().manual_seed(0))
        size = torch.tensor([100.0, 200.0])
        shift = ((moved[:, :2] + moved[:, 2:]) / 2 - torch.tensor([450.0, 400.0])) / size
        scale = ((moved[:, 2:] - moved[:, :2]) / size).log()
        for draw in (shift, scale):
            assert draw.abs().max() <= 0.4 + 1e-5 and draw.abs().max() > 0.39
            assert draw.mean(0).abs().max() < 0.02 and (draw.std(0) - 0.8 / 12**0.5).abs().max() < 0.01

    def test_generator_and_input(self, boxes):
        before = boxes.clone()
        first, again = (perturb_boxes(boxes, (64, 64), generator=torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(first, again) and torch.equal(boxes, before)
        torch.manual_seed(1)
        assert not torch.equal(perturb_boxes(boxes, (64, 64)), perturb_boxes(boxes, (64, 64)))
        assert perturb_boxes(boxes[:0], (64, 64)).shape == (0, 4)
        assert perturb_boxes(boxes.double(), (64, 64)).dtype == torch.float64

    def test_refused(self, boxes):
        for iou in ((0.7, 0.4), (-0.1, 0.5), (0.5, 1.1)):
            with pytest.raises(ValueError, match="perturb_boxes: expected iou"):
                perturb_boxes(boxes, (64, 64), iou)
        with pytest.raises(ValueError, match=r"others of IoU 0.4 to 0.7 near, got \[5.0, 5.0, 5.0, 9.0\]"):
            perturb_boxes(torch.tensor([[5.0, 5.0, 5.0, 9.0]]), (64, 64))
        with pytest.raises(TypeError, match="floating dtype"):
            perturb_boxes(boxes.int(), (64, 64))
