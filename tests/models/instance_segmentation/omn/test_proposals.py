"""Segment proposals: training, results, empty pictures, bad input."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.instance_segmentation.segmentation_cases import TinyBackbone, no_objects, pictures_with_targets

pytest.importorskip("torchvision")

from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from cnnfast.models.instance_segmentation import RPNOMN, OMNHead, OMNHeadFC
from cnnfast.models.instance_segmentation.omn.proposals import POSITIVE_IOU

LOSSES = ["loss_mask", "loss_mask_bins", "loss_objectness", "loss_rpn_box_reg"]


def tiny_rpn(**options):
    torch.manual_seed(1)
    anchors = AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),))
    small = {"anchors": anchors, "proposals": 20, "min_size": 64, "max_size": 128, "masks_per_image": 8}
    head = OMNHead(16, options.pop("R", 9), options.pop("K", 5), trunk_channels=(16, 16), upsampled_channels=16)
    return RPNOMN(TinyBackbone(), **{**small, "head": head, **options})


def without_labels(targets):
    return [{"boxes": target["boxes"], "masks": target["masks"]} for target in targets]


class TestTraining:
    @pytest.mark.parametrize("options", [{}, {"context": 3}, {"lambda_mask": 1.0, "image_edge": "closed"}])
    def test_loss_falls(self, options):
        images, targets = pictures_with_targets(2)
        model = tiny_rpn(**options)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        totals = []
        for _ in range(20):
            losses = model(images, without_labels(targets))
            assert sorted(losses) == LOSSES
            total = sum(losses.values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            totals.append(total.item())
        assert totals[-1] < 0.9 * totals[0]
        assert all(p.grad is not None for p in model.parameters())

    def test_masks_are_learnt_from_overlapping_boxes_alone(self):
        _, targets = pictures_with_targets(2)
        model = tiny_rpn(masks_per_image=5)
        generator = torch.Generator().manual_seed(0)
        corners = 64 * torch.rand(2, 200, 4, generator=generator)
        boxes = [torch.cat([torch.minimum(c[:, :2], c[:, 2:]), torch.maximum(c[:, :2], c[:, 2:])], 1) for c in corners]
        boxes = [torch.cat([b, t["boxes"] + 1]) for b, t in zip(boxes, targets, strict=True)]
        rois = model._positive(boxes, targets)
        for part, matched, target in zip(rois.boxes, rois.matched, targets, strict=True):
            assert 0 < len(part) <= 5 and len(part) == len(matched)
            overlaps = box_iou(part, target["boxes"])
            assert torch.equal(overlaps.max(1).indices, matched) and (overlaps.max(1).values >= POSITIVE_IOU).all()

    def test_pictures_without_objects(self):
        images, targets = pictures_with_targets(2)
        for nothing in ([targets[0], no_objects()], [no_objects(), no_objects()]):
            losses = tiny_rpn()(images, nothing)
            assert all(loss.isfinite() for loss in losses.values())
        assert losses["loss_mask"] == 0 and losses["loss_mask_bins"] == 0

    def test_targets_stay_as_they_are(self):
        images, targets = pictures_with_targets(1, size=48)
        before = copy.deepcopy(targets)
        tiny_rpn()(images, targets)
        assert all(torch.equal(targets[0][key], before[0][key]) for key in before[0])


class TestProposals:
    @pytest.mark.parametrize("decode", ["soft", "hard", "max"])
    def test_results(self, decode):
        model = tiny_rpn(decode=decode).eval()
        images = [torch.rand(3, 64, 80), torch.rand(3, 96, 48)]
        with torch.no_grad():
            results = model(images)
        for result, image in zip(results, images, strict=True):
            count = len(result["boxes"])
            assert 0 < count <= 20 and result["boxes"].shape == (count, 4)
            assert result["masks"].shape == (count, 1, *image.shape[1:]) and result["masks"].dtype == torch.bool
            assert (result["scores"].diff() <= 0).all() and result["scores"].min() >= 0 and result["scores"].max() <= 1
            assert (box_iou(result["boxes"], result["boxes"]) - torch.eye(count)).max() <= 0.7 + 1e-5

    def test_scores_are_those_of_the_boxes(self):
        model = tiny_rpn(proposals=4).eval()
        many = tiny_rpn(proposals=20).eval()
        image = torch.rand(3, 64, 64)
        with torch.no_grad():
            few, more = model([image])[0], many([image])[0]
        for key in ("boxes", "scores", "masks"):
            assert torch.equal(few[key], more[key][:4])

    def test_no_proposals(self):
        model = tiny_rpn().eval()
        model.rpn.score_thresh = 1.1
        with torch.no_grad():
            (result,) = model([torch.rand(3, 64, 80)])
        assert result["boxes"].shape == (0, 4) and result["masks"].shape == (0, 1, 64, 80)

    def test_default_head(self):
        model = tiny_rpn(head=None, proposals=2).eval()
        assert len(model.mask_branch.head.trunk) == 4
        with torch.no_grad():
            assert model([torch.rand(3, 64, 64)])[0]["masks"].shape == (2, 1, 64, 64)

    def test_fully_connected_head(self):
        images, targets = pictures_with_targets(1)
        model = tiny_rpn(head=OMNHeadFC(16, hidden=32))
        assert sorted(model(images, targets)) == LOSSES
        with torch.no_grad():
            assert model.eval()(images)[0]["masks"].shape[1:] == (1, 64, 64)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"R": 4, "K": 5}, ValueError, "K from 1 to R"),
            ({"proposals": 0}, ValueError, "proposals of at least 1"),
            ({"masks_per_image": 2.5}, ValueError, "masks_per_image"),
            ({"mask_threshold": 1.0}, ValueError, "mask_threshold"),
            ({"decode": "crisp"}, ValueError, "decode"),
        ],
    )
    def test_options(self, options, error, words):
        with pytest.raises(error, match=words):
            tiny_rpn(**options)
        with pytest.raises(TypeError, match="expected backbone a module with out_channels, got Identity"):
            RPNOMN(torch.nn.Identity())

    def test_pictures_and_targets(self):
        images, targets = pictures_with_targets(1)
        model = tiny_rpn()
        with pytest.raises(ValueError, match="RPNOMN: expected at least one picture, got none"):
            model([], [])
        with pytest.raises(ValueError, match="RPNOMN: expected targets in training mode, got None"):
            model(images)
        with pytest.raises(ValueError, match="RPNOMN: expected finite target boxes"):
            model(images, [{**targets[0], "boxes": torch.full((2, 4), torch.inf)}])
        with pytest.raises(TypeError, match="RPNOMN: expected pictures of a floating dtype"):
            model([images[0].byte()], targets)
