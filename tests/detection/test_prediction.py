"""Predictions of a picture: thresholds and order, the drawing, COCO's files, measures of a data set."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

pytest.importorskip("PIL")
pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from pycocotools.coco import COCO

from cnnfast._json import write_json
from cnnfast.detection import prediction
from cnnfast.detection.coco_files import CocoPredictions
from cnnfast.detection.drawing import draw_instances, instance_colour
from cnnfast.detection.evaluation import evaluate
from cnnfast.detection.metrics import average_recall, coco_metrics, voc_ap_r
from cnnfast.detection.prediction import predict_instances
from cnnfast.images import ImageError
from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
from cnnfast.models.instance_segmentation.object_masks.decoding import choose_decoding
from tests.ops.measures import peak_bytes


def square(size, top, left, side):
    mask = torch.zeros(*size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def instances(size=(40, 60)):
    masks = torch.stack([square(size, 5, 5, 20), square(size, 12, 30, 24), square(size, 0, 50, 5)])
    boxes = torch.tensor([[5.0, 5.0, 25.0, 25.0], [30.0, 12.0, 54.0, 36.0], [50.0, 0.0, 55.0, 5.0]])
    return {
        "masks": masks,
        "boxes": boxes,
        "labels": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.3, 0.9, 0.6]),
    }


class Fixed(nn.Module):
    """A network that finds given objects, soft masks [n,1,H,W], in every picture."""

    def __init__(self, found, *, labels=True, soft=True):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.found = {name: tensor for name, tensor in found.items() if labels or name != "labels"}
        masks = self.found["masks"][:, None]
        self.found["masks"] = masks * 0.7 if soft else masks
        self.eval()

    def forward(self, pictures):
        return [dict(self.found) for _ in pictures]


class TestPredict:
    def test_order_and_thresholds(self):
        picture = torch.rand(3, 40, 60)
        found = predict_instances(Fixed(instances()), picture)
        assert found["scores"].tolist() == pytest.approx([0.9, 0.6, 0.3]) and found["labels"].tolist() == [2, 1, 1]
        assert torch.equal(found["masks"], instances()["masks"][[1, 2, 0]])
        assert len(predict_instances(Fixed(instances()), picture, score_threshold=0.5)["boxes"]) == 2
        assert predict_instances(Fixed(instances()), picture, max_detections=1)["labels"].tolist() == [2]
        assert not predict_instances(Fixed(instances()), picture, mask_threshold=0.8)["masks"].any()

    def test_hard_masks_and_no_classes(self):
        found = predict_instances(
            Fixed(instances(), labels=False, soft=False), torch.rand(3, 40, 60), mask_threshold=0.9
        )
        assert found["labels"].tolist() == [1, 1, 1] and found["masks"].any()

    def test_refused(self):
        network = Fixed(instances())
        for options, words in (
            ({"score_threshold": -0.1}, "score_threshold in"),
            ({"mask_threshold": math.nan}, "mask_threshold in"),
            ({"max_detections": 0}, "max_detections of at least 1"),
        ):
            with pytest.raises(ValueError, match=words):
                predict_instances(network, torch.rand(3, 40, 60), **options)
        with pytest.raises(ImageError, match="expected image"):
            predict_instances(network, torch.rand(1, 40, 60))
        with pytest.raises(ValueError, match="in evaluation mode"):
            predict_instances(network.train(), torch.rand(3, 40, 60))

    def test_decoding(self):
        network = nn.Sequential(nn.Identity(), nn.Identity())
        network[1].decode = "soft"
        choose_decoding(network, "hard")
        assert network[1].decode == "hard"
        with pytest.raises(ValueError, match='decode one of "soft", "hard", "max", got \'best\''):
            choose_decoding(network, "best")
        with pytest.raises(ValueError, match="object masks to decode, got a network without"):
            choose_decoding(nn.Identity(), "hard")

    @pytest.mark.parametrize("kind", ["maskrcnn", "maskrcnn-omn", "rpn-omn", "mnc-omn"])
    def test_masks_made_in_pieces(self, kind, monkeypatch):
        """The same as from a call of the network, and never all of them as floats."""
        torch.manual_seed(0)
        classes = 2 if kind == "rpn-omn" else 3
        network = build_model(ModelSettings(kind, "small", classes, min_size=64, max_size=64)).eval()
        picture = torch.rand(3, 500, 700)
        with torch.no_grad():
            expected = network([picture])[0]
        pixels = picture[0].numel()
        monkeypatch.setattr(prediction, "_PIECE", 2 * pixels)
        found = predict_instances(network, picture)
        order = expected["scores"].argsort(descending=True, stable=True)
        assert len(order) > 12 and torch.equal(found["boxes"], expected["boxes"][order])
        masks = expected["masks"][order, 0]
        assert torch.equal(found["masks"], masks >= 0.5 if masks.is_floating_point() else masks)
        if kind != "mnc-omn":  # whose own result is bool, and is made at once
            network_alone = peak_bytes(lambda: predict_instances(network, picture, score_threshold=1.0))
            peak = peak_bytes(lambda: predict_instances(network, picture))
            assert peak <= found["masks"].numel() + network_alone + 6 * 4 * pixels

    def test_a_picture_too_narrow_for_the_network(self):
        network = build_model(ModelSettings("maskrcnn", "small", 3, min_size=64, max_size=64)).eval()
        with pytest.raises(ImageError, match="1 px or more on each side resized to 64 px, got 300x2 px"):
            predict_instances(network, torch.rand(3, 2, 300))
        assert predict_instances(network, torch.rand(3, 5, 300))["masks"].shape[1:] == (5, 300)

    def test_a_network_without_masks(self):
        network = Fixed(instances())
        del network.found["masks"]
        with pytest.raises(ValueError, match="expected a network that finds masks, got one that finds"):
            predict_instances(network, torch.rand(3, 40, 60))


class TestDrawing:
    def test_masks_outlines_and_background(self):
        picture = torch.full((3, 40, 60), 0.5)
        found = instances()
        drawn = draw_instances(picture, found, boxes=False, captions=False)
        inside = found["masks"].any(0)
        assert torch.equal(drawn[:, ~inside], picture[:, ~inside])
        assert (drawn[:, inside] != 0.5).any(0).all()
        # The outline is full colour, the inside lets the picture through.
        edge, middle = drawn[:, 5, 10], drawn[:, 15, 15]
        torch.testing.assert_close(middle, 0.55 * 0.5 + 0.45 * edge)
        assert torch.equal(picture, torch.full((3, 40, 60), 0.5))

    def test_the_best_is_on_top(self):
        found = instances()
        found["masks"][0] = found["masks"][1]
        alone = {name: tensor[:2] for name, tensor in found.items()}
        for best in (0, 1):
            alone["scores"] = torch.tensor([0.5, 0.5])
            alone["scores"][best] = 0.9
            drawn = draw_instances(torch.zeros(3, 40, 60), alone, boxes=False, captions=False)
            # On the outline colours are not mixed.
            assert drawn[:, 12, 40].tolist() == pytest.approx(instance_colour(best))

    @pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 60)])
    def test_captions_stay_inside(self, size):
        mask = torch.ones(1, *size, dtype=torch.bool)
        box = torch.tensor([[0.0, 0.0, size[1], size[0]]])
        found = {"masks": mask, "boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}
        drawn = draw_instances(torch.rand(3, *size), found, ["a rather long name"])
        assert drawn.shape == (3, *size) and torch.isfinite(drawn).all()

    def test_overlapping_masks_hide_what_is_below(self):
        found = instances()
        found["masks"][0] = True
        drawn = draw_instances(torch.full((3, 40, 60), 0.5), found, boxes=False, captions=False)
        for index, (y, x) in ((0, (35, 5)), (1, (20, 40)), (2, (2, 52))):
            mixed = 0.55 * 0.5 + 0.45 * torch.tensor(instance_colour(index))
            torch.testing.assert_close(drawn[:, y, x], mixed)

    def test_boxes_end_with_their_last_pixel(self):
        found = instances()
        found["masks"][:] = False
        drawn = draw_instances(torch.zeros(3, 40, 60), found, captions=False).amax(0) > 0
        inside = torch.zeros(40, 60, dtype=torch.bool)
        for x0, y0, x1, y1 in found["boxes"].long().tolist():
            inside[y0:y1, x0:x1] = True
            inside[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
        assert torch.equal(drawn, inside)

    @pytest.mark.parametrize("corner", [(0, 0), (0, 290), (190, 0), (190, 290)])
    def test_captions_lie_within_the_picture(self, corner):
        y, x = corner
        box = torch.tensor([[x, y, x + 10.0, y + 10.0]])
        found = {"masks": torch.zeros(1, 200, 300, dtype=torch.bool), "boxes": box, "labels": torch.tensor([1])}
        drawn = draw_instances(torch.zeros(3, 200, 300), found, ["elephant"], boxes=False)
        middle = {"boxes": torch.tensor([[100.0, 100.0, 110.0, 110.0]])}
        whole = draw_instances(torch.zeros(3, 200, 300), found | middle, ["elephant"], boxes=False)
        # The same picture of the word, only elsewhere.
        assert int((drawn > 0).sum()) == int((whole > 0).sum()) > 0

    def test_captions_change_the_picture(self):
        plain = draw_instances(torch.zeros(3, 80, 120), instances((80, 120)), ["cat", "dog"], captions=False)
        named = draw_instances(torch.zeros(3, 80, 120), instances((80, 120)), ["cat", "dog"])
        assert (plain != named).any()

    def test_nothing_found(self):
        nothing = {name: tensor[:0] for name, tensor in instances().items()}
        picture = torch.rand(3, 40, 60)
        assert torch.equal(draw_instances(picture, nothing, ["a"]), picture)

    def test_wrong_size(self):
        with pytest.raises(ValueError, match=r"draw_instances: expected masks \[n, 30, 60\], got \[3, 40, 60\]"):
            draw_instances(torch.rand(3, 30, 60), instances())


class TestCocoFiles:
    def test_pycocotools_opens_them(self, tmp_path):
        predictions = CocoPredictions(["cat", "dog"], [17, 18])
        predictions.add("a.png", instances(), (40, 60))
        predictions.add("b.png", {name: tensor[:0] for name, tensor in instances().items()}, (9, 8))
        predictions.write(tmp_path / "out.json")
        coco = COCO(str(tmp_path / "out.json"))
        assert coco.getCatIds(catNms=["dog"]) == [18] and len(coco.getImgIds()) == 2
        assert coco.imgs[2] == {"id": 2, "file_name": "b.png", "height": 9, "width": 8}
        (best,) = coco.loadAnns(coco.getAnnIds(catIds=[18]))
        assert (best["score"], best["area"], best["bbox"]) == (pytest.approx(0.9), 576, [30, 12, 24, 24])
        assert torch.equal(torch.from_numpy(coco.annToMask(best)).bool(), instances()["masks"][1])
        results = coco.loadRes([{**entry, "score": 1.0} for entry in coco.dataset["annotations"]])
        assert len(results.anns) == 3

    def test_old_file_stays_when_writing_fails(self, tmp_path):
        (tmp_path / "a.json").write_text("old")
        with pytest.raises(TypeError):
            write_json(tmp_path / "a.json", {"a": object()})
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "old"


class TestEvaluate:
    def data(self):
        truth = instances()
        target = {"masks": truth["masks"][:2], "labels": truth["labels"][:2], "boxes": truth["boxes"][:2]}
        return [(torch.rand(3, 40, 60), target | {"image_id": torch.tensor([number])}) for number in (7, 9)]

    def test_measures(self):
        data, network = self.data(), Fixed(instances())
        evaluation = evaluate(network, data, category_ids={1: 17, 2: 18})
        found = [predict_instances(network, picture) for picture, _ in data]
        truths = [target for _, target in data]
        measures = evaluation.compute()
        for overlap in (0.5, 0.7):
            assert measures[f"AP^r {overlap}"] == pytest.approx(voc_ap_r(found, truths, overlap))
        assert measures["AP"] == pytest.approx(coco_metrics(found, truths)["AP"])
        assert measures["AR@1"] == average_recall(found, truths, (1,))[1] == 0.5
        assert evaluation.per_class() == pytest.approx({1: 0.5, 2: 1.0}, abs=0.1)
        assert [entry["image_id"] for entry in evaluation.results] == [7] * 3 + [9] * 3
        assert {entry["category_id"] for entry in evaluation.results} == {17, 18}

    def test_classless(self):
        measures = evaluate(Fixed(instances(), labels=False), self.data(), classless=True).compute()
        assert measures["AR@10"] == 1 and "AR@1000" in measures

    def test_limit_and_callback(self):
        seen = []
        evaluation = evaluate(Fixed(instances()), self.data(), limit=1, callback=lambda *done: seen.append(done))
        assert evaluation.pictures == 1 and seen == [(1, 1)]

    def test_unreadable_pictures_are_skipped(self, caplog):
        class Damaged(list):
            def __getitem__(self, index):
                if index == 0:
                    raise ValueError("picture 0 is damaged")
                return super().__getitem__(index)

        evaluation = evaluate(Fixed(instances()), Damaged(self.data()))
        assert (evaluation.pictures, evaluation.skipped) == (1, 1) and "picture 0 is damaged" in caplog.text
        with pytest.raises(ValueError, match="read and measured, got none; "):
            evaluate(Fixed(instances()), Damaged(self.data()[:1]))

    def test_results_are_json(self):
        json.dumps(evaluate(Fixed(instances()), self.data()).results)
