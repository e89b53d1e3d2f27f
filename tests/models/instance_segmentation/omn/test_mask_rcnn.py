"""Mask R-CNN with an object mask network: a drop-in for torchvision's."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

from tests.models.instance_segmentation.segmentation_cases import (
    TinyBackbone,
    narrow_branches,
    no_objects,
    pictures_with_targets,
    tiny_options,
)

pytest.importorskip("torchvision")

from torchvision.models import detection

from cnnfast.models.instance_segmentation import OMNHead, convert_maskrcnn_to_omn, maskrcnn_omn, paste_windows

LOSSES = ["loss_box_reg", "loss_classifier", "loss_mask", "loss_mask_bins", "loss_objectness", "loss_rpn_box_reg"]


def tiny_maskrcnn(**options):
    torch.manual_seed(1)
    return detection.MaskRCNN(TinyBackbone(), None, **{**tiny_options(), **narrow_branches(), **options})


def tiny_omn(*, box_score_thresh=0.0, **options):
    return convert_maskrcnn_to_omn(tiny_maskrcnn(box_score_thresh=box_score_thresh), **options)


def train(model, images, targets, steps, lr=1e-3):
    """Sums of the losses of some steps of Adam."""
    torch.manual_seed(2)
    optimizer = torch.optim.Adam(model.train().parameters(), lr)
    totals = []
    for _ in range(steps):
        losses = model(images, targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    return totals


def check_results(results, images):
    for result, image in zip(results, images, strict=True):
        count = len(result["boxes"])
        masks = result["masks"]
        assert masks.shape == (count, 1, *image.shape[1:]) and masks.dtype == torch.float32
        assert result["scores"].shape == result["labels"].shape == (count,)
        if count:
            assert masks.min() >= 0 and masks.max() <= 1


class TestTraining:
    @pytest.mark.parametrize("options", [{}, {"class_specific": True}, {"activation": "sigmoid"}, {"context": 4}])
    def test_loss_falls(self, options):
        images, targets = pictures_with_targets(2)
        model = tiny_omn(**options)
        assert sorted(model(images, targets)) == LOSSES
        totals = train(model, images, targets, 20)
        assert totals[-1] < 0.9 * totals[0]

    def test_gradients_reach_backbone_trunk_and_decoder(self):
        images, targets = pictures_with_targets(2)
        model = tiny_omn()
        losses = model(images, targets)
        (losses["loss_mask_bins"] + losses["loss_mask"]).backward()
        branch = model.roi_heads.mask_branch
        for parameter in (*model.backbone.parameters(), *branch.parameters()):
            assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert branch.head.decoder.weight.grad.abs().sum() > 0
        assert all(p.grad is None for p in model.roi_heads.box_predictor.parameters())

    def test_without_the_loss_of_the_mask(self):
        images, targets = pictures_with_targets(1)
        losses = tiny_omn(lambda_mask=0.0)(images, targets)
        assert sorted(losses) == [name for name in LOSSES if name != "loss_mask"]

    def test_weight_of_the_mask_may_change(self):
        images, targets = pictures_with_targets(1)
        model = tiny_omn()
        values = []
        for weight in (0.1, 1.0):
            model.roi_heads.mask_branch.lambda_mask = weight
            torch.manual_seed(0)
            values.append(model(images, targets)["loss_mask"])
        torch.testing.assert_close(values[1], 10 * values[0])

    def test_pictures_without_objects(self):
        images, targets = pictures_with_targets(2)
        model = tiny_omn()
        for nothing in ([no_objects(), targets[1]], [no_objects(), no_objects()]):
            losses = model(images, nothing)
            total = sum(losses.values())
            assert total.isfinite()
            total.backward()
        assert losses["loss_mask"] == 0 and losses["loss_mask_bins"] == 0
        assert all(p.grad is not None for p in model.roi_heads.mask_branch.parameters())

    @pytest.mark.parametrize("box", [[-20.0, -20.0, 5.0, 9.0], [3.0, 3.0, 4.0, 4.0], [60.0, 60.0, 90.0, 70.0]])
    def test_boxes_that_leave_the_picture_and_of_one_pixel(self, box):
        images, targets = pictures_with_targets(1)
        targets[0]["boxes"] = torch.tensor([box, targets[0]["boxes"][1].tolist()])
        losses = tiny_omn()(images, targets)
        assert all(loss.isfinite() for loss in losses.values())

    def test_bool_masks_and_targets_stay_as_they_are(self):
        images, targets = pictures_with_targets(1)
        before = copy.deepcopy(targets)
        model = tiny_omn()
        torch.manual_seed(0)
        expected = model(images, targets)
        targets[0]["masks"] = targets[0]["masks"].bool()
        torch.manual_seed(0)
        assert model(images, targets) == expected
        assert torch.equal(targets[0]["boxes"], before[0]["boxes"])


class TestEvaluation:
    @pytest.mark.parametrize("decode", ["soft", "hard", "max"])
    @pytest.mark.parametrize("options", [{}, {"class_specific": True, "context": 3}])
    def test_masks_of_pictures_of_any_size(self, decode, options):
        model = tiny_omn(decode=decode, **options).eval()
        images = [torch.rand(3, 64, 80), torch.rand(3, 100, 40)]
        with torch.no_grad():
            results = model(images)
        check_results(results, images)
        assert all(len(result["boxes"]) > 0 for result in results)

    def test_masks_are_the_pasted_windows_of_the_final_boxes(self):
        model = tiny_omn(decode="hard").eval()
        seen = {}
        branch = model.roi_heads.mask_branch
        windows = branch.windows
        branch.windows = lambda *args: seen.setdefault("windows", windows(*args))
        with torch.no_grad():
            (result,) = model([torch.rand(3, 90, 120)])
        expected = paste_windows(seen["windows"][0], result["boxes"], 28, 7, (90, 120))
        assert torch.equal(result["masks"], expected)

    def test_masks_leave_their_boxes(self):
        model = tiny_omn(decode="hard").eval()
        bins = model.roi_heads.mask_branch.head.bins
        with torch.no_grad():
            bins.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 50]))
            (result,) = model([torch.rand(3, 64, 64)])
        # Every cell says that the boundary is far: discs of 7 of 28 cells reach a quarter beyond every side.
        for box, mask in zip(result["boxes"], result["masks"][:, 0], strict=True):
            side = box[2:] - box[:2]
            if (side > 4).all():
                low = (box[:2] - side / 4).clamp(min=0)
                rows, columns = torch.where(mask)
                assert columns.min() <= low[0] + 1 and rows.min() <= low[1] + 1

    def test_no_detections(self):
        model = tiny_omn(box_score_thresh=1.1).eval()
        images = [torch.rand(3, 64, 64), torch.rand(3, 64, 70)]
        with torch.no_grad():
            results = model(images)
        check_results(results, images)
        assert all(len(result["boxes"]) == 0 for result in results)

    def test_repeats_bitwise_and_shares_nothing_between_calls(self):
        model = tiny_omn().eval()
        image, other = torch.rand(3, 64, 64), torch.rand(3, 64, 64)
        with torch.no_grad():
            first = model([image])[0]["masks"]
            model([other])
            assert torch.equal(model([image])[0]["masks"], first)

    def test_modes_alternate(self):
        images, targets = pictures_with_targets(1)
        model = tiny_omn()
        model(images, targets)
        model.eval()
        with torch.no_grad():
            check_results(model(images), images)
            check_results(model(images, targets), images)
        assert sorted(model.train()(images, targets)) == LOSSES


class TestConversion:
    def test_box_part_keeps_names_weights_and_results(self):
        model = tiny_maskrcnn().eval()
        image = torch.rand(3, 64, 72)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with torch.no_grad():
            (expected,) = model([image])
        converted = convert_maskrcnn_to_omn(model, 9, 9)
        assert converted is model and not model.training
        after = model.state_dict()
        kept = [name for name in before if not name.startswith("roi_heads.mask_")]
        assert kept == [name for name in after if not name.startswith("roi_heads.mask_")]
        assert all(torch.equal(after[name], before[name]) for name in kept)
        with torch.no_grad():
            (result,) = model([image])
        for key in ("boxes", "labels", "scores"):
            assert torch.equal(result[key], expected[key])

    def test_settings_are_taken_over(self):
        options = {
            "box_score_thresh": 0.13,
            "box_nms_thresh": 0.41,
            "box_fg_iou_thresh": 0.6,
            "box_bg_iou_thresh": 0.3,
            "box_positive_fraction": 0.4,
            "bbox_reg_weights": (5.0, 6.0, 7.0, 8.0),
            "image_mean": [0.1, 0.2, 0.3],
            "size_divisible": 16,
        }
        old = tiny_maskrcnn(**options)
        new = convert_maskrcnn_to_omn(copy.deepcopy(old))
        for name in ("score_thresh", "nms_thresh", "detections_per_img"):
            assert getattr(new.roi_heads, name) == getattr(old.roi_heads, name)
        for part in ("proposal_matcher", "fg_bg_sampler", "box_coder"):
            assert vars(getattr(new.roi_heads, part)) == vars(getattr(old.roi_heads, part))
        for name in ("min_size", "max_size", "image_mean", "image_std", "size_divisible", "fixed_size"):
            assert getattr(new.transform, name) == getattr(old.transform, name)

    def test_convolutions_of_the_masks_are_kept(self):
        model = tiny_maskrcnn()
        trunk, upsample = model.roi_heads.mask_head, model.roi_heads.mask_predictor.conv5_mask
        head = convert_maskrcnn_to_omn(model).roi_heads.mask_branch.head
        assert isinstance(head, OMNHead) and head.trunk is trunk and head.upsample is upsample
        assert head.bins.weight.shape == (6, 16, 1, 1)

    def test_another_mask_branch_is_replaced(self):
        branch = {"mask_head": torch.nn.Identity(), "mask_predictor": torch.nn.Conv2d(16, 3, 1)}
        model = convert_maskrcnn_to_omn(tiny_maskrcnn(**branch))
        assert len(model.roi_heads.mask_branch.head.trunk) == 4
        model.eval()
        with torch.no_grad():
            check_results(model([torch.rand(3, 64, 64)]), [torch.rand(3, 64, 64)])

    def test_from_a_backbone(self):
        options = {
            "decode": "hard",
            "context": 2,
            "image_edge": "closed",
            "lambda_mask": 0.5,
            "box_detections_per_img": 2,
        }
        model = maskrcnn_omn(TinyBackbone(), 3, 5, 4, **{**tiny_options(), **options}).eval()
        branch = model.roi_heads.mask_branch
        assert (branch.head.R, branch.head.K, branch.head.halo) == (5, 4, 3)
        assert (branch.decode, branch.context, branch.image_edge, branch.lambda_mask) == ("hard", 2, "closed", 0.5)
        images = [torch.rand(3, 64, 64)]
        with torch.no_grad():
            check_results(model(images), images)

    def test_state_dict_through_a_file(self):
        model, fresh = tiny_omn().eval(), tiny_omn().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        image = torch.rand(3, 64, 64)
        with torch.no_grad():
            assert torch.equal(fresh([image])[0]["masks"], model([image])[0]["masks"])

    def test_copies_are_independent(self):
        model = tiny_omn().eval()
        image = torch.rand(3, 64, 64)
        with torch.no_grad():
            expected = model([image])[0]["masks"]
            for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
                assert torch.equal(twin([image])[0]["masks"], expected)
                assert twin.transform._branch[0] is twin.roi_heads.mask_branch
                assert twin.roi_heads.mask_branch is not model.roi_heads.mask_branch

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_autocast(self, dtype):
        images, targets = pictures_with_targets(1)
        model = tiny_omn()
        with torch.autocast("cpu", dtype):
            losses = model(images, targets)
            assert all(loss.isfinite() for loss in losses.values())
            with torch.no_grad():
                check_results(model.eval()(images), images)

    def test_keypoints_and_masks(self):
        model = tiny_maskrcnn()
        heads = model.roi_heads
        heads.keypoint_roi_pool = heads.mask_roi_pool
        heads.keypoint_head = detection.keypoint_rcnn.KeypointRCNNHeads(16, (8,))
        heads.keypoint_predictor = detection.keypoint_rcnn.KeypointRCNNPredictor(8, 2)
        images, targets = pictures_with_targets(1)
        targets[0]["keypoints"] = torch.tensor([[[20.0, 20, 1], [30, 30, 1]]] * 2)
        convert_maskrcnn_to_omn(model)
        assert sorted(model(images, targets)) == sorted([*LOSSES, "loss_keypoint"])
        with torch.no_grad():
            (result,) = model.eval()(images)
        check_results([result], images)
        assert result["keypoints"].shape[1:] == (2, 3)


def changed(targets, **changes):
    return [{**target, **changes} for target in targets]


class TestBadInput:
    def test_models(self):
        with pytest.raises(TypeError, match="expected model a torchvision MaskRCNN, got TinyBackbone"):
            convert_maskrcnn_to_omn(TinyBackbone())
        with pytest.raises(TypeError, match="expected roi_heads of type RoIHeads, got OMNRoIHeads"):
            convert_maskrcnn_to_omn(tiny_omn())
        with pytest.raises(TypeError, match="expected backbone a module with out_channels, got Identity"):
            maskrcnn_omn(torch.nn.Identity(), 3)
        with pytest.raises(ValueError, match="expected num_classes of at least 2"):
            maskrcnn_omn(TinyBackbone(), 1)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"decode": "crisp"}, "decode"),
            ({"activation": "relu"}, "activation"),
            ({"image_edge": "ajar"}, "image_edge"),
            ({"context": -1}, "context"),
            ({"lambda_mask": -0.5}, "lambda_mask"),
            ({"R": 3, "K": 4}, "K from 1 to R"),
        ],
    )
    def test_options_leave_the_model_alone(self, options, words):
        model = tiny_maskrcnn()
        with pytest.raises(ValueError, match=words):
            convert_maskrcnn_to_omn(model, **options)
        assert type(model.roi_heads).__name__ == "RoIHeads" and model.roi_heads.has_mask()

    @pytest.mark.parametrize(
        ("images", "error", "words"),
        [
            ([], ValueError, "at least one picture, got none"),
            (None, TypeError, "images a list"),
            ([None], TypeError, "every picture a torch.Tensor"),
            ([torch.zeros(3, 8, 8, dtype=torch.uint8)], TypeError, "floating dtype"),
            ([torch.zeros(1, 3, 8, 8)], ValueError, "[3,H,W], got [1, 3, 8, 8]"),
            ([torch.zeros(4, 8, 8)], ValueError, "[3,H,W]"),
            ([torch.zeros(3, 0, 8)], ValueError, "[3,H,W]"),
            ([torch.zeros(3, 8, 8, device="meta")], ValueError, "meta"),
        ],
    )
    def test_pictures(self, images, error, words):
        with pytest.raises(error, match="Mask R-CNN: ") as caught:
            tiny_omn().eval()(images)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"boxes": torch.full((2, 4), torch.nan)}, ValueError, "finite target boxes"),
            ({"boxes": torch.tensor([[5.0, 5, 5, 9], [1, 1, 2, 2]])}, ValueError, "positive width and height"),
            ({"boxes": torch.zeros(2, 5)}, ValueError, "[n,4]"),
            ({"boxes": torch.ones(2, 4, dtype=torch.int64)}, TypeError, "floating"),
            ({"boxes": [[1, 2, 3, 4]]}, TypeError, "target boxes a torch.Tensor"),
            ({"masks": torch.zeros(2, 64, 64)}, TypeError, "masks > 0.5"),
            ({"masks": torch.zeros(1, 64, 64, dtype=torch.bool)}, ValueError, "[2, 64, 64], got [1, 64, 64]"),
            ({"masks": torch.zeros(2, 64, 63, dtype=torch.bool)}, ValueError, "[2, 64, 64], got [2, 64, 63]"),
            ({"masks": torch.zeros(2, 64, 64, dtype=torch.bool, device="meta")}, ValueError, "meta"),
            ({"labels": torch.ones(2)}, TypeError, "int64"),
            ({"labels": torch.ones(3, dtype=torch.int64)}, ValueError, "shape [2]"),
            ({"labels": torch.zeros(2, dtype=torch.int64)}, ValueError, "at least 1, got 0"),
        ],
    )
    def test_targets(self, change, error, words):
        images, targets = pictures_with_targets(1)
        with pytest.raises(error, match="Mask R-CNN: ") as caught:
            tiny_omn()(images, changed(targets, **change))
        assert words in str(caught.value)

    def test_missing_targets_and_keys(self):
        images, targets = pictures_with_targets(2)
        model = tiny_omn()
        for wrong, words in (
            (None, "targets in training mode, got None"),
            ([], "2 targets, one a picture, got 0"),
            (targets[:1], "2 targets, one a picture, got 1"),
            ([{k: v for k, v in t.items() if k != "masks"} for t in targets], "the key 'masks'"),
        ):
            with pytest.raises(ValueError, match="Mask R-CNN: ") as caught:
                model(images, wrong)
            assert words in str(caught.value)
        with pytest.raises(TypeError, match="expected every target a dict, got list"):
            model(images, [[], []])


@pytest.mark.slow
class TestResNet50:
    def test_trains_evaluates_and_exports(self):
        torch.manual_seed(0)
        model = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=64)
        keys = [name for name in model.state_dict() if not name.startswith("roi_heads.mask_")]
        convert_maskrcnn_to_omn(model)
        assert [name for name in model.state_dict() if not name.startswith("roi_heads.mask_")] == keys
        images, targets = pictures_with_targets(2)
        totals = train(model, images, targets, 8, lr=1e-4)
        assert totals[-1] < totals[0] and all(total < float("inf") for total in totals)
        with torch.no_grad():
            check_results(model.eval()(images), images)

    def test_version_2_with_batch_norms(self):
        model = detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=3, min_size=64)
        images, targets = pictures_with_targets(2)
        assert sorted(convert_maskrcnn_to_omn(model)(images, targets)) == LOSSES
        with torch.no_grad():
            check_results(model.eval()(images), images)
