"""COCO's results and measures, against pycocotools on files written by hand."""

from __future__ import annotations

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch

from tests.detection.metrics.cases import random_scene, random_scenes

pytest.importorskip("pycocotools")

from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnfast.detection.metrics import (
    CocoMetrics,
    average_recall,
    coco_metrics,
    encode_masks,
    to_coco_results,
)

SUMMARY = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR@1", "AR@10", "AR@100")


def by_files(tmp_path, predictions, truths):
    """What pycocotools says of files in COCO's format."""
    annotations = []
    for image, truth in enumerate(truths):
        crowd = truth.get("iscrowd", torch.zeros(len(truth["labels"])))
        for mask, label, many in zip(truth["masks"], truth["labels"].tolist(), crowd.tolist(), strict=True):
            run = coco_masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": 10 * label, "iscrowd": int(many)}
            counts = {"size": run["size"], "counts": run["counts"].decode()}
            area = int(coco_masks.area(run))
            annotations.append(entry | {"segmentation": counts, "area": area, "bbox": [0, 0, 1, 1]})
    size = {"height": truths[0]["masks"].shape[1], "width": truths[0]["masks"].shape[2]}
    content = {
        "info": {},
        "images": [{"id": image} | size for image in range(len(truths))],
        "categories": [{"id": 10 * label} for label in (1, 2, 3)],
        "annotations": annotations,
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    results = to_coco_results(predictions, range(len(truths)), {1: 10, 2: 20, 3: 30})
    (tmp_path / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(api, api.loadRes(str(tmp_path / "results.json")), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [math.nan if value == -1 else value for value in evaluation.stats[:9].tolist()]
    return dict(zip(SUMMARY, values, strict=True))


class TestCocoMetrics:
    @pytest.mark.parametrize("size", [24, 140])
    @pytest.mark.parametrize("crowds", [False, True])
    def test_against_files(self, tmp_path, size, crowds):
        predictions, truths = random_scenes(10, size=size, crowds=crowds)
        expected = by_files(tmp_path, predictions, truths)
        assert coco_metrics(predictions, truths) == pytest.approx(expected, nan_ok=True)
        assert 0 < expected["AP"] < 1

    def test_silent(self, capsys):
        coco_metrics(*random_scenes(2))
        assert capsys.readouterr() == ("", "")

    def test_perfect(self):
        _, truth = random_scene(3)
        result = coco_metrics([{**truth, "scores": torch.ones(len(truth["labels"]))}], [truth])
        assert result["AP"] == pytest.approx(1) and result["AR@100"] == pytest.approx(1)

    def test_class_agnostic(self):
        predictions, truths = random_scenes(10)
        bare = [[{k: v for k, v in entry.items() if k != "labels"} for entry in part] for part in (predictions, truths)]
        result = coco_metrics(*bare, (1, 2, 10), class_agnostic=True)
        assert result["AR@1"] < result["AR@2"] <= result["AR@10"]
        # One detection a picture leaves no choice between COCO's matching and that by falling IoU.
        assert result["AR@1"] == pytest.approx(average_recall(*bare, (1,))[1])

    def test_area_of_the_annotation_decides_about_size(self):
        _, truth = random_scene(3)
        found = {**truth, "scores": torch.ones(len(truth["labels"]))}
        result = coco_metrics([found], [truth | {"area": torch.full((len(truth["labels"]),), 5e4)}])
        assert math.isnan(result["AP_small"]) and result["AP_large"] == pytest.approx(1)

    def test_nothing(self):
        assert all(math.isnan(value) for value in CocoMetrics().compute().values())
        _, truth = random_scene(3)
        nothing = {key: value[:0] for key, value in truth.items()} | {"scores": torch.zeros(0)}
        assert coco_metrics([nothing], [truth])["AP"] == 0

    @pytest.mark.parametrize("limits", [(), (0,), (10, 1), (1, 1)])
    def test_limits_refused(self, limits):
        with pytest.raises(ValueError, match="coco_metrics: expected rising numbers"):
            CocoMetrics(limits)

    def test_area_refused(self):
        prediction, truth = random_scene(3)
        with pytest.raises(ValueError, match="coco_metrics: expected area of shape"):
            coco_metrics([prediction], [truth | {"area": torch.ones(99)}])


class TestResults:
    def test_entries(self):
        prediction, _ = random_scene(7)
        assert len(prediction["scores"]) > 2
        prediction["masks"][0] = False
        results = to_coco_results([prediction], [77], {1: 5, 2: 6, 3: 7})
        json.dumps(results)
        kept = [k for k in prediction["scores"].argsort(descending=True, stable=True).tolist() if k != 0]
        assert len(results) == len(kept)
        for entry, k in zip(results, kept, strict=True):
            assert entry["image_id"] == 77 and entry["category_id"] == int(prediction["labels"][k]) + 4
            assert entry["score"] == float(prediction["scores"][k])
            assert (coco_masks.decode(entry["segmentation"]) == prediction["masks"][k].numpy()).all()
            assert set(entry) == {"image_id", "category_id", "segmentation", "score"}

    def test_encode(self):
        masks = torch.rand(3, 7, 5, generator=torch.Generator().manual_seed(0)) < 0.5
        for mask, run in zip(masks, encode_masks(masks), strict=True):
            assert run["size"] == [7, 5] and (coco_masks.decode(run) == mask.numpy()).all()

    def test_refused(self):
        prediction, _ = random_scene(7)
        with pytest.raises(ValueError, match=r"to_coco_results: expected labels among \[9\]"):
            to_coco_results([prediction], [1], {9: 1})
        with pytest.raises(ValueError, match="to_coco_results: expected"):
            to_coco_results([prediction], [])


def test_without_pycocotools(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.mask", None)
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    for call in (CocoMetrics, lambda: encode_masks(torch.ones(1, 2, 2, dtype=torch.bool))):
        with pytest.raises(ImportError, match=r"expected the package pycocotools.*pip install"):
            call()
