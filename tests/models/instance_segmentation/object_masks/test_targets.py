"""Targets of object mask networks: they hold the whole object, whatever part of it is in the box."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnnfast.models.instance_segmentation.object_masks.targets import OMNTargets, max_radius, omn_targets
from cnnfast.models.instance_segmentation.object_masks.windows import paste_windows, sample_windows
from cnnfast.ops import disc_union, mask_to_bins
from tests.models.instance_segmentation.segmentation_cases import mask_iou, shapes_with_boxes

SETTINGS = [(5, 5), (9, 3), (9, 5), (9, 9), (13, 5)]


def radii(R, K):
    return [n * R // K for n in range(K)]


def targets_of(masks, boxes, *options, **more):
    """Targets of boxes [n,4], each of its own mask [n,H,W]."""
    return omn_targets([masks], [boxes], [torch.arange(len(boxes))], *options, **more)


class TestTargets:
    @pytest.mark.parametrize(("R", "K"), SETTINGS)
    def test_labels_are_those_of_the_whole_plane(self, R, K):
        masks, _ = shapes_with_boxes(6, 48)
        boxes = torch.tensor([[16.0, 12.0, 36.0, 32.0]]).expand(6, 4)
        targets = targets_of(masks, boxes, R, K, 20)
        assert targets.labels.dtype == torch.uint8 and targets.labels.shape == (6, 20, 20)
        # Cells are pixels here; the picture is wide enough for its edge not to matter.
        wide = F.pad(masks[:, None].float(), [R] * 4, mode="replicate")[:, 0] > 0.5
        assert torch.equal(targets.labels, mask_to_bins(wide, R, K)[:, R + 12 : R + 32, R + 16 : R + 36])

    @pytest.mark.parametrize(("R", "K"), [*SETTINGS, (1, 1), (20, 7)])
    def test_halo_is_that_of_the_decoded_mask(self, R, K):
        masks, boxes = shapes_with_boxes(3, 48)
        targets = targets_of(masks, boxes, R, K, 14)
        halo = max_radius(R, K)
        assert halo == max(radii(R, K))
        decoded = disc_union(targets.labels, radii(R, K), pad=halo)
        assert targets.masks.shape == targets.valid.shape == decoded.shape
        expected, inside = sample_windows(masks, boxes, torch.arange(3), 14, halo)
        assert torch.equal(targets.masks, expected) and torch.equal(targets.valid, inside)

    @pytest.mark.parametrize(("R", "K"), SETTINGS)
    def test_decoded_labels_are_in_the_object_and_hold_all_of_it_in_the_box(self, R, K):
        masks, boxes = shapes_with_boxes(30, 64)
        targets = targets_of(masks, boxes, R, K, 28)
        halo = max_radius(R, K)
        decoded = disc_union(targets.labels, radii(R, K), pad=halo)
        assert not (decoded & ~targets.masks).any()
        inner = slice(halo, halo + 28)
        assert torch.equal(decoded[:, inner, inner], targets.masks[:, inner, inner])

    def test_the_edge_of_the_picture(self):
        mask, box = torch.ones(1, 16, 16, dtype=torch.bool), torch.tensor([[0.0, 0.0, 8.0, 8.0]])
        opened = targets_of(mask, box, 4, 4, 8, image_edge="open")
        closed = targets_of(mask, box, 4, 4, 8, image_edge="closed")
        assert (opened.labels == 4).all()
        ring = torch.arange(1, 9).clamp(max=4)
        assert torch.equal(closed.labels[0].long(), torch.minimum(ring[:, None], ring[None]))
        assert torch.equal(opened.valid, closed.valid) and opened.valid.sum() == (8 + 3) ** 2

    def test_pictures_of_different_sizes_are_joined_in_order(self):
        small, small_boxes = shapes_with_boxes(3, 32)
        large, large_boxes = shapes_with_boxes(2, 64)
        matched = [torch.tensor([2, 0, 1, 1]), torch.tensor([1, 0])]
        boxes = [small_boxes[matched[0]], large_boxes[matched[1]]]
        joined = omn_targets([small, large], boxes, matched, 5, 5, 10)
        apart = [targets_of(m[i], b, 5, 5, 10) for m, b, i in zip([small, large], boxes, matched, strict=True)]
        for name in OMNTargets._fields:
            assert torch.equal(getattr(joined, name), torch.cat([getattr(part, name) for part in apart]))

    def test_a_picture_without_objects(self):
        masks, boxes = shapes_with_boxes(2, 32)
        nothing = torch.zeros(0, 32, 32, dtype=torch.bool), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
        joined = omn_targets([nothing[0], masks], [nothing[1], boxes], [nothing[2], torch.arange(2)], 5, 5, 10)
        assert torch.equal(joined.labels, targets_of(masks, boxes, 5, 5, 10).labels)
        alone = omn_targets(*[[part] for part in nothing], 9, 5, 28)
        assert alone.labels.shape == (0, 28, 28) and alone.masks.shape == alone.valid.shape == (0, 42, 42)

    def test_boxes_outside_the_picture_and_of_one_pixel(self):
        boxes = torch.tensor([[-40.0, -40, -20, -20], [30, 30, 31, 31], [-9, 3, 70, 12]])
        targets = targets_of(torch.ones(3, 32, 32, dtype=torch.bool), boxes)
        assert not targets.valid[0].any() and targets.valid[1].any() and targets.valid[2].any()
        assert (targets.labels == 5).all()


class TestReconstruction:
    """300 shapes in boxes that cut parts of them off (box IoU 0.5 to 0.9), with true labels."""

    S, size = 28, 96

    @pytest.fixture(scope="class")
    @staticmethod
    def shapes():
        masks, boxes = shapes_with_boxes(300)
        # Everything is compared in a window that holds all that any of the decoders can reach.
        whole = sample_windows(masks, boxes, torch.arange(300), TestReconstruction.S, 40)[0]
        return masks, boxes, whole

    def window_iou(self, whole, decoded):
        pad = (whole.shape[-1] - decoded.shape[-1]) // 2
        return float(mask_iou(F.pad(decoded, [pad] * 4), whole).mean())

    @pytest.mark.parametrize(
        ("R", "K", "expected"),
        [(5, 5, 0.954), (9, 3, 0.958), (9, 5, 0.965), (9, 9, 0.969), (13, 5, 0.963), (13, 13, 0.970), (15, 5, 0.962)],
    )
    def test_whole_objects_come_back(self, shapes, R, K, expected):
        masks, boxes, whole = shapes
        labels = targets_of(masks, boxes, R, K, self.S).labels
        iou = self.window_iou(whole, disc_union(labels, radii(R, K)))
        assert iou == pytest.approx(expected, abs=0.012)

    def test_a_mask_that_ends_with_the_box_does_not(self, shapes):
        masks, boxes, whole = shapes
        clipped = targets_of(masks, boxes, 1, 1, self.S).labels > 0
        assert self.window_iou(whole, clipped) == pytest.approx(0.870, abs=0.02)

    @pytest.mark.parametrize(("border", "expected"), [("none", 0.884), ("background", 0.870)])
    def test_cropping_before_the_transform_loses_the_effect(self, shapes, border, expected):
        masks, boxes, whole = shapes
        cropped = sample_windows(masks, boxes, torch.arange(300), self.S, 0)[0]
        decoded = disc_union(mask_to_bins(cropped, 9, 9, border=border), radii(9, 9))
        iou = self.window_iou(whole, decoded)
        assert iou == pytest.approx(expected, abs=0.02)
        assert (
            iou < self.window_iou(whole, disc_union(targets_of(masks, boxes, 9, 9, self.S).labels, radii(9, 9))) - 0.06
        )

    def test_pasted_into_the_picture(self, shapes):
        masks, boxes, _ = shapes
        targets = targets_of(masks, boxes, 9, 5, self.S)
        decoded = disc_union(targets.labels, radii(9, 5))[:, None]
        pasted = paste_windows(decoded, boxes, self.S, 7, (self.size, self.size), threshold=0.5)[:, 0]
        clipped = paste_windows(targets.labels[:, None] > 0, boxes, self.S, 0, (self.size, self.size), threshold=0.5)
        iou, iou_clipped = mask_iou(pasted, masks), mask_iou(clipped[:, 0], masks)
        assert float(iou.mean()) == pytest.approx(0.936, abs=0.015)
        assert float((iou > 0.8).float().mean()) >= 0.95
        assert float(iou_clipped.mean()) == pytest.approx(0.851, abs=0.02)


GOOD = {
    "gt_masks": [torch.zeros(2, 8, 8, dtype=torch.bool)],
    "boxes": [torch.tensor([[0.0, 0, 4, 4]])],
    "matched": [torch.tensor([0])],
}


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"gt_masks": [], "boxes": [], "matched": []}, ValueError, "at least one, got [0, 0, 0]"),
            ({"boxes": []}, ValueError, "as many pictures, at least one, got [1, 0, 1]"),
            ({"boxes": None}, TypeError, "boxes a list of tensors"),
            ({"gt_masks": [torch.zeros(2, 8, 8)]}, TypeError, "masks > 0.5"),
            ({"boxes": [torch.full((1, 4), math.nan)]}, ValueError, "finite boxes"),
            ({"boxes": [torch.zeros(1, 4, device="meta")]}, ValueError, "boxes on cpu like the masks, got meta"),
            ({"matched": [torch.tensor([5])]}, ValueError, "0..1"),
            ({"R": 0}, ValueError, "R a whole number from 1 to 255"),
            ({"R": 256}, ValueError, "R a whole number from 1 to 255"),
            ({"R": "9"}, TypeError, "R a whole number"),
            ({"K": 10}, ValueError, "K from 1 to R = 9"),
            ({"S": 0}, ValueError, "size of at least 1"),
            ({"image_edge": "shut"}, ValueError, "image_edge"),
        ],
    )
    def test_message(self, change, error, words):
        with pytest.raises(error) as caught:
            omn_targets(**{**GOOD, **change})
        assert words in str(caught.value) and "\n" not in str(caught.value)
