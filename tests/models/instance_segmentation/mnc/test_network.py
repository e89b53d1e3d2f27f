"""Multi-task network cascade: stages, shared weights, gradients through boxes, and pictures without anything."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision")

from torchvision.models.detection.anchor_utils import AnchorGenerator

from cnnfast.models.instance_segmentation.mnc.network import MNCCascade
from cnnfast.models.instance_segmentation.mnc.rpn import GRADIENT_LIMIT, clip_gradient
from cnnfast.models.instance_segmentation.mnc.stages import mask_pool, resize_from_corner

HEADS = ("binary", "omn")
RPN_LOSSES = {"loss_objectness", "loss_rpn_box_reg"}
STAGE_LOSSES = {
    "binary": {"loss_mask", "loss_classifier", "loss_segment", "loss_box_reg"},
    "omn": {"loss_mask", "loss_mask_bins", "loss_classifier", "loss_segment", "loss_box_reg"},
}


def tiny_cascade(mask_head="binary", stages=5, share=True, *, seed=0, **options):
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1), nn.ReLU()
    )
    backbone.out_channels = 12
    anchors = AnchorGenerator(((12, 24, 36),), ((0.5, 1.0, 2.0),))
    options = {"width": 24, "mask_width": 24, "proposals": 30, "min_size": 64, "max_size": 96, **options}
    return MNCCascade(backbone, 3, mask_head, stages, share, anchors=anchors, min_box_size=4, **options)


def scene(*boxes, size=(64, 64), seed=0):
    """A picture with bright rectangles, of class 1 where they are wide and 2 where they are high."""
    image = 0.2 * torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
        image[:, y0:y1, x0:x1] += 0.7
    labels = torch.tensor([1 if x1 - x0 >= y1 - y0 else 2 for x0, y0, x1, y1 in boxes], dtype=torch.int64)
    return image, {"boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4), "labels": labels, "masks": masks}


@pytest.fixture
def batch():
    images, targets = zip(
        scene((8, 8, 36, 24), (40, 30, 54, 60)), scene((20, 10, 44, 40), size=(48, 72), seed=1), strict=True
    )
    return list(images), list(targets)


def later(losses):
    """What the stages after the proposals lose."""
    return sum(loss for name, loss in losses.items() if name not in RPN_LOSSES)


class TestShapes:
    @pytest.mark.parametrize("mask_head", HEADS)
    @pytest.mark.parametrize("stages", [3, 5])
    def test_losses(self, batch, mask_head, stages):
        losses = tiny_cascade(mask_head, stages)(*batch)
        names = RPN_LOSSES | STAGE_LOSSES[mask_head]
        if stages == 5:
            names |= {f"{name}_refined" for name in STAGE_LOSSES[mask_head]}
        assert set(losses) == names
        assert all(loss.dim() == 0 and loss.isfinite() and loss.requires_grad for loss in losses.values())

    @pytest.mark.parametrize("mask_head", HEADS)
    @pytest.mark.parametrize("stages", [3, 5])
    def test_detections(self, batch, mask_head, stages):
        images, _ = batch
        model = tiny_cascade(mask_head, stages, max_detections=7).eval()
        _let_masks_appear(model)
        with torch.no_grad():
            results = model(images)
        for image, result in zip(images, results, strict=True):
            count = len(result["boxes"])
            assert 0 < count <= 7
            assert result["masks"].shape == (count, 1, *image.shape[1:]) and result["masks"].dtype == torch.bool
            assert result["labels"].shape == result["scores"].shape == (count,)
            assert set(result["labels"].tolist()) <= {1, 2}
            for box, mask in zip(result["boxes"], result["masks"][:, 0], strict=True):
                rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_masks_of_given_boxes(self, batch, mask_head):
        images, targets = batch
        model = tiny_cascade(mask_head).eval()
        boxes = [target["boxes"] for target in targets]
        for refine in (False, True):
            results = model.segment_boxes(images, boxes, refine=refine)
            for image, given, result in zip(images, boxes, results, strict=True):
                assert result["masks"].shape == (len(given), 1, *image.shape[1:])
                assert result["labels"].shape == result["scores"].shape == (len(given),)
                if not refine:
                    torch.testing.assert_close(result["boxes"], given)

    def test_pictures_have_the_convention_of_the_backbone(self):
        from cnnfast.features.detection_backbones import MNC_INPUT

        model = tiny_cascade()
        model.backbone.preprocessing = MNC_INPUT
        model = MNCCascade(model.backbone, 3, width=8, min_size=64, max_size=64)
        pictures, _ = model.transform([torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1).expand(3, 64, 64)])
        expected = torch.tensor([0 - 102.9801, 127.5 - 115.9465, 255 - 122.7717])
        torch.testing.assert_close(pictures.tensors[0, :, 9, 9], expected, rtol=0, atol=1e-3)


def _let_masks_appear(model):
    """Random layers say "outside" everywhere; shift them so that masks fill their windows."""
    for index in range(len(model.cascade.stages)):
        mask = model.cascade.stage(index).mask
        last = [layer for layer in mask.modules() if isinstance(layer, nn.Linear)][-1]
        cells = last.bias.data.view(-1, mask.size**2)
        cells.zero_()
        cells[-1] = 9.0


class TestSharing:
    @pytest.mark.parametrize("mask_head", HEADS)
    def test_shared_stages_are_the_same_parameters(self, mask_head):
        model, alone = tiny_cascade(mask_head), tiny_cascade(mask_head, 3)
        assert model.cascade.stage(1) is model.cascade.stage(0)
        first, second = (dict(model.cascade.stage(i).named_parameters()) for i in range(2))
        assert all(first[name] is second[name] for name in first)
        assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in alone.named_parameters()}

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_separate_stages_are_not(self, batch, mask_head):
        model = tiny_cascade(mask_head, share=False)
        first, second = (dict(model.cascade.stage(i).named_parameters()) for i in range(2))
        assert first.keys() == second.keys() and not {id(p) for p in first.values()} & {id(p) for p in second.values()}
        losses = model(*batch)
        refined = sum(loss for name, loss in losses.items() if name.endswith("_refined"))
        refined.backward()
        assert all(p.grad is None for p in first.values())
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in second.values())

    def test_shared_stages_learn_from_both_passes(self, batch):
        model = tiny_cascade()
        losses = model(*batch)
        weight = model.cascade.stage(0).mask.fc2.bias
        for name in ("loss_mask", "loss_mask_refined"):
            assert torch.autograd.grad(losses[name], weight, retain_graph=True)[0].abs().sum() > 0


class TestGradientsThroughBoxes:
    @pytest.mark.parametrize("mask_head", HEADS)
    def test_warping_teaches_the_proposals(self, batch, mask_head):
        model = tiny_cascade(mask_head, roi="warp")
        gradient = torch.autograd.grad(later(model(*batch)), model.rpn.head.bbox_pred.weight)[0]
        assert gradient.isfinite().all() and gradient.abs().sum() > 0

    def test_warping_teaches_the_offsets_of_stage_three(self, batch):
        model = tiny_cascade(roi="warp")
        weight = model.cascade.stage(0).region.deltas.weight
        gradient = torch.autograd.grad(model(*batch)["loss_mask_refined"], weight)[0]
        assert gradient.isfinite().all() and gradient.abs().sum() > 0

    def test_roi_align_does_not(self, batch):
        model = tiny_cascade(roi="align")
        weights = [model.rpn.head.bbox_pred.weight, model.cascade.stage(0).region.deltas.weight]
        losses = model(*batch)
        kept = {"retain_graph": True, "allow_unused": True}
        assert torch.autograd.grad(later(losses), weights[0], **kept)[0] is None
        assert torch.autograd.grad(losses["loss_mask_refined"], weights[1], **kept)[0] is None

    def test_proposals_are_those_without_gradient(self, batch):
        results = []
        for roi in ("warp", "align"):
            model = tiny_cascade(roi=roi)
            images, targets = model.transform(*batch)
            torch.manual_seed(1)
            results.append(model.rpn(images, model._features(images), targets))
        (warped, warped_losses), (aligned, aligned_losses) = results
        for part, other in zip(warped, aligned, strict=True):
            assert part.requires_grad and not other.requires_grad
            torch.testing.assert_close(part.detach(), other)
        for name, loss in warped_losses.items():
            torch.testing.assert_close(loss, aligned_losses[name])

    def test_limit(self):
        x = torch.zeros(3, requires_grad=True)
        (clip_gradient(x) * torch.tensor([1.0, -1.0, 1e-3])).sum().backward()
        torch.testing.assert_close(x.grad, torch.tensor([GRADIENT_LIMIT, -GRADIENT_LIMIT, 1e-3]))

    def test_limit_does_not_concern_other_uses(self):
        x = torch.zeros(3, requires_grad=True)
        (clip_gradient(x).sum() + (2 * x).sum()).backward()
        torch.testing.assert_close(x.grad, torch.full((3,), 2 + GRADIENT_LIMIT))
        assert not clip_gradient(x.detach()).requires_grad


class TestMaskPooling:
    def test_features_times_mask(self):
        features = torch.rand(2, 5, 14, 14)
        mask = torch.ones(2, 1, 21, 21)
        torch.testing.assert_close(mask_pool(features, mask), features)
        mask[1] = 0
        assert mask_pool(features, mask)[1].abs().max() == 0

    def test_resize_reads_from_the_corner(self):
        ramp = torch.arange(21.0).expand(1, 1, 21, 21)
        resized = resize_from_corner(ramp, 14)[0, 0]
        torch.testing.assert_close(resized[3], 1.5 * torch.arange(14.0))
        torch.testing.assert_close(resize_from_corner(ramp[..., :7, :7], 14)[0, 0, 0, -2:], torch.tensor([6.0, 6.0]))

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_classes_teach_masks_with_a_positive_segment_alone(self, mask_head):
        stage = tiny_cascade(mask_head).cascade.stage(0)
        features = torch.rand(3, 12, 14, 14)
        output = stage.mask(features)
        logits = output.logits.detach().requires_grad_()
        output = type(output)(logits, output.bins)
        stage.regions(features, output, torch.tensor([True, False, True])).class_logits.square().sum().backward()
        assert [bool(part.abs().sum() > 0) for part in logits.grad] == [True, False, True]


class TestNothingThere:
    @pytest.mark.parametrize("mask_head", HEADS)
    @pytest.mark.parametrize("roi", ["align", "warp"])
    def test_no_ground_truth(self, batch, mask_head, roi):
        images, targets = batch
        empty = scene()[1], scene(size=(48, 72))[1]
        for given in ([empty[0], targets[1]], list(empty)):
            model = tiny_cascade(mask_head, roi=roi)
            losses = model(images, given)
            sum(losses.values()).backward()
            assert all(loss.isfinite() for loss in losses.values())
            assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert losses["loss_mask"] == 0 and losses["loss_box_reg"] == 0

    @pytest.mark.parametrize("mask_head", HEADS)
    @pytest.mark.parametrize("roi", ["align", "warp"])
    def test_no_proposals(self, batch, mask_head, roi):
        images, targets = batch
        model = tiny_cascade(mask_head, roi=roi)
        model.rpn.score_thresh = 1.1
        for given in (targets, [scene()[1], scene(size=(48, 72))[1]]):
            losses = model(images, given)
            sum(losses.values()).backward()
            assert all(loss.isfinite() for loss in losses.values())
        model.eval()
        with torch.no_grad():
            results = model(images)
        assert [result["masks"].shape for result in results] == [(0, 1, 64, 64), (0, 1, 48, 72)]
        assert all(result["boxes"].shape == (0, 4) for result in results)

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_boxes_moved_out_of_the_picture(self, batch, mask_head):
        model = tiny_cascade(mask_head)
        model.cascade.stage(0).region.deltas.bias.data.fill_(1e4)
        losses = model(*batch)
        sum(losses.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        _let_masks_appear(model)
        model.eval()
        with torch.no_grad():
            assert all(part.isfinite().all() for result in model(batch[0]) for part in result.values())

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_given_boxes_without_area_or_outside(self, batch, mask_head):
        images, _ = batch
        model = tiny_cascade(mask_head).eval()
        _let_masks_appear(model)
        boxes = torch.tensor([[5.0, 5.0, 5.0, 9.0], [200.0, 200.0, 240.0, 240.0], [3.0, 3.0, 4.0, 4.0]])
        for refine in (False, True):
            for result in model.segment_boxes(images, [boxes, boxes[:0]], refine=refine):
                assert all(part.isfinite().all() for part in result.values())


class TestTraining:
    @pytest.mark.parametrize("mask_head", HEADS)
    @pytest.mark.parametrize("roi", ["align", "warp"])
    def test_a_few_steps_lower_the_loss(self, batch, mask_head, roi):
        model = tiny_cascade(mask_head, roi=roi)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        history = []
        for _ in range(25):
            losses = model(*batch)
            loss = sum(losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        assert sum(history[-5:]) < 0.8 * sum(history[:5])

    @pytest.mark.parametrize("mask_head", HEADS)
    def test_state_dict_restores_the_model(self, batch, mask_head):
        model, other = tiny_cascade(mask_head).eval(), tiny_cascade(mask_head, seed=1).eval()
        _let_masks_appear(model)
        other.load_state_dict(model.state_dict())
        with torch.no_grad():
            for result, same in zip(model(batch[0]), other(batch[0]), strict=True):
                assert all(torch.equal(result[name], same[name]) for name in result)


class TestInsideBox:
    BOX = torch.tensor([[20.0, 20.0, 41.0, 41.0]])

    def mask(self, mask_head, inside_box):
        model = tiny_cascade(mask_head, inside_box=inside_box).eval()
        _let_masks_appear(model)
        return model.segment_boxes([torch.rand(3, 64, 64)], [self.BOX])[0]["masks"][0, 0]

    def test_object_masks_leave_the_box_unless_cut(self):
        box = torch.zeros(64, 64, dtype=torch.bool)
        box[20:41, 20:41] = True
        # Discs of radius 7 around cells of one pixel.
        assert self.mask("omn", False).sum() > 30 * 30
        assert torch.equal(self.mask("omn", True), box)

    def test_binary_masks_are_inside_anyway(self):
        assert torch.equal(self.mask("binary", False), self.mask("binary", True))

    def test_may_be_changed(self, batch):
        model = tiny_cascade("omn").eval()
        _let_masks_appear(model)
        with torch.no_grad():
            free = model(batch[0])[0]["masks"].sum()
            model.inside_box = True
            assert model(batch[0])[0]["masks"].sum() < free


class TestBackbones:
    @pytest.mark.parametrize(("name", "channels"), [("vgg16", 512), ("resnet50_c4", 1024), ("resnet50_fpn", 256)])
    def test_cascade_on_it(self, name, channels):
        model = MNCCascade(name, 3, "omn", 5, width=8, mask_width=4, min_size=64, max_size=64, proposals=8).eval()
        image = torch.rand(3, 64, 64)
        with torch.no_grad():
            features = model._features(model.transform([image])[0])
            (result,) = model([image])
        assert features["0"].shape[1] == channels
        assert features["0"].shape[-1] == (16 if name == "resnet50_fpn" else 4)
        assert result["masks"].shape[1:] == (1, 64, 64)

    def test_vgg_weights_bring_their_convention_and_freeze_the_first_layers(self, tiny_vgg):
        from cnnfast.features.detection_backbones import vgg16_c5
        from cnnfast.weights import VGGWeights

        state = {name: (w.float(), b.float()) for name, (w, b) in tiny_vgg("vgg16", (64, 128, 256, 512, 512)).items()}
        backbone = vgg16_c5(VGGWeights("vgg16", state, "torchvision"))
        assert backbone.preprocessing.name == "torchvision"
        assert torch.equal(backbone[0].weight, state["conv1_1"][0]) and torch.equal(
            backbone[28].bias, state["conv5_3"][1]
        )
        frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
        assert frozen == {f"{i}.{part}" for i in (0, 2, 5, 7) for part in ("weight", "bias")}
        assert all(p.requires_grad for p in vgg16_c5().parameters())


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mask_head": "soft"}, 'expected mask_head one of "binary", "omn", got \'soft\''),
            ({"stages": 4}, "expected stages 3 or 5, got 4"),
            ({"roi": "pool"}, 'expected method one of "align", "warp", got \'pool\''),
        ],
    )
    def test_words(self, change, message):
        with pytest.raises(ValueError, match=message):
            tiny_cascade(**change)

    def test_backbones(self):
        with pytest.raises(ValueError, match='expected backbone "vgg16", "resnet50_c4", "resnet50_fpn" or a module'):
            MNCCascade("alexnet", 3)
        with pytest.raises(TypeError, match="expected a backbone with out_channels, got Identity"):
            MNCCascade(nn.Identity(), 3)
        with pytest.raises(ValueError, match="expected num_classes at least 2"):
            MNCCascade("vgg16", 1)

    def test_targets(self, batch):
        images, targets = batch
        model = tiny_cascade()
        with pytest.raises(ValueError, match="MNCCascade: expected targets in training mode, got None"):
            model(images)
        for change, message in (
            (
                {"boxes": torch.tensor([[5.0, 5.0, 5.0, 9.0]] * 2)},
                "expected target boxes of positive width",
            ),
            ({"labels": torch.tensor([0, 1])}, "expected target labels of at least 1, got 0"),
            ({"labels": torch.tensor([1, 3])}, r"expected target labels of 1 to 2, got 3"),
            ({"masks": torch.zeros(2, 9, 9).bool()}, r"target masks of shape \[2, 64, 64\], got \[2, 9, 9\]"),
        ):
            with pytest.raises(ValueError, match=message):
                model(images, [targets[0] | change, targets[1]])

    def test_images(self):
        model = tiny_cascade().eval()
        with pytest.raises(TypeError, match=r"floating dtype in \[0,1\], got torch.uint8"):
            model([torch.zeros(3, 64, 64, dtype=torch.uint8)])
        with pytest.raises(ValueError, match=r"shape \[3,H,W\], got \[1, 64, 64\]"):
            model([torch.zeros(1, 64, 64)])

    def test_segment_boxes(self, batch):
        images, _ = batch
        with pytest.raises(ValueError, match="expected boxes for 2 images, got 1"):
            tiny_cascade().eval().segment_boxes(images, [torch.zeros(1, 4)])
        with pytest.raises(ValueError, match="five stages to refine boxes, got three"):
            tiny_cascade(stages=3).eval().segment_boxes(images, [torch.zeros(1, 4)] * 2, refine=True)
