"""AP of Cityscapes, on cases made by hand and against the benchmark's own program."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.detection.metrics import CityscapesAP, cityscapes_ap
from tests.detection.metrics.cases import random_scenes

NAMES = {1: "person", 2: "rider", 3: "car"}


@pytest.fixture
def official(monkeypatch):
    """AP of each class and threshold by the benchmark's own program, from masks instead of files."""
    program = pytest.importorskip("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    monkeypatch.setattr(program.args, "instLabels", list(NAMES.values()))

    def evaluate(predictions, truths):
        pictures = (_matches(p, t) for p, t in zip(predictions, truths, strict=True))
        return program.evaluateMatches(dict(enumerate(pictures)), program.args)[0]

    return evaluate


def _matches(prediction, truth):
    """A picture as the program has it after reading: what it knows of every object, and all overlaps of one class."""
    result = {"groundTruth": {name: [] for name in NAMES.values()}, "prediction": {name: [] for name in NAMES.values()}}
    ignore = truth.get("ignore", torch.zeros(prediction["masks"].shape[1:], dtype=torch.bool))
    masks, crowds = truth["masks"].bool(), truth.get("iscrowd", torch.zeros(len(truth["masks"])))
    for mask, crowd, label in zip(masks, crowds, truth["labels"].tolist(), strict=True):
        # The program numbers objects from 1000 times the class on, and groups of them by the class alone.
        known = {"instID": int(label) if crowd else 1000 * int(label), "pixelCount": int(mask.sum())}
        known |= {"medDist": -1, "distConf": 0.0, "matchedPred": [], "mask": mask}
        result["groundTruth"][NAMES[int(label)]].append(known)
    for mask, label, score in zip(
        prediction["masks"].bool(), prediction["labels"].tolist(), prediction["scores"].tolist(), strict=True
    ):
        if not mask.any():
            continue
        known = {"pixelCount": int(mask.sum()), "confidence": score, "voidIntersection": int((mask & ignore).sum())}
        overlaps = []
        for thing in result["groundTruth"][NAMES[int(label)]]:
            if shared := int((mask & thing["mask"]).sum()):
                overlaps.append(thing | {"intersection": shared})
                thing["matchedPred"].append(known | {"intersection": shared})
        result["prediction"][NAMES[int(label)]].append(known | {"matchedGt": overlaps})
    return result


def with_ties(predictions, steps):
    """Scores rounded to so many steps, so that many are equal."""
    return [p | {"scores": (p["scores"] * steps).round() / steps} for p in predictions]


@pytest.mark.parametrize("steps", [None, 4, 1])
@pytest.mark.parametrize("seed", range(2))
def test_against_the_benchmarks_own_program(official, seed, steps):
    predictions, truths = random_scenes(12, seed, size=40, crowds=True)
    if steps is not None:
        predictions = with_ties(predictions, steps)
    metric = CityscapesAP()
    for pair in zip(predictions, truths, strict=True):
        metric.update(*pair)
    expected = official(predictions, truths)
    known = {label: row for label, row in zip(NAMES, expected, strict=True) if not np.isnan(row[0])}
    assert metric.per_class().keys() == known.keys() and known
    for label, values in metric.per_class().items():
        assert values == pytest.approx({"AP": known[label].mean(), "AP50": known[label][0]})
    assert cityscapes_ap(predictions, truths) == pytest.approx(
        {"AP": np.nanmean(expected), "AP50": np.nanmean(expected[:, 0])}
    )


def test_the_curve_starts_at_precision_one(official):
    """Two detections of the best score, one of them right."""
    found, truth = scene([square(0, 0), square(20, 20)], [1.0, 1.0], [square(0, 0)])
    assert cityscapes_ap([found], [truth])["AP50"] == official([found], [truth])[0, 0] == 0.75


def square(top, left, side=12, size=40):
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, top : top + side, left : left + side] = True
    return mask


def scene(masks, scores, objects, **more):
    found = {"masks": torch.cat(masks), "labels": torch.ones(len(masks)), "scores": torch.tensor(scores)}
    return found, {"masks": torch.cat(objects), "labels": torch.ones(len(objects)), **more}


def test_second_detection_of_an_object_is_wrong_whatever_its_score():
    found, truth = scene([square(0, 0), square(0, 0)], [0.9, 0.8], [square(0, 0), square(20, 20)])
    assert cityscapes_ap([found], [truth])["AP50"] == pytest.approx(0.5)
    more = {"masks": square(20, 20), "labels": torch.ones(1), "scores": torch.tensor([0.7])}
    both = {key: torch.cat([found[key], more[key]]) for key in found}
    # Precision 1 up to recall 1/2, 1/2 there, then 2/3 at recall 1: trapezoids between.
    assert cityscapes_ap([both], [truth])["AP50"] == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)


def test_nothing_is_wrong_in_void_groups_and_on_small_objects():
    found, truth = scene(
        [square(0, 0), square(20, 20), square(0, 20), square(20, 0, side=6)],
        [0.5, 0.9, 0.8, 0.7],
        [square(0, 0), square(20, 20, side=16), square(20, 0, side=6)],
        iscrowd=torch.tensor([0, 1, 0]),
        ignore=square(0, 20)[0],
    )
    assert cityscapes_ap([found], [truth]) == {"AP": 1.0, "AP50": 1.0}
    truth["ignore"] = torch.zeros(40, 40, dtype=torch.bool)
    assert cityscapes_ap([found], [truth])["AP50"] < 1


def test_overlap_must_exceed_the_threshold():
    found, truth = scene([square(0, 0, side=20)], [0.5], [square(0, 0, side=20)])
    found["masks"][:, 10:] = False  # IoU is one half
    assert cityscapes_ap([found], [truth])["AP50"] == 0


def test_nothing_to_find():
    found, truth = scene([square(0, 0)], [0.5], [square(0, 0, side=5)])
    assert all(math.isnan(value) for value in cityscapes_ap([found], [truth]).values())
    empty = {key: value[:0] for key, value in found.items()}
    assert cityscapes_ap([empty], [truth | {"masks": square(0, 0)}]) == {"AP": 0.0, "AP50": 0.0}


def test_refused():
    found, truth = scene([square(0, 0)], [0.5], [square(0, 0)])
    with pytest.raises(ValueError, match=r"cityscapes_ap: expected ground truth ignore of shape \[40, 40\]"):
        cityscapes_ap([found], [truth | {"ignore": torch.zeros(3, 3, dtype=torch.bool)}])
    with pytest.raises(ValueError, match=r"expected ground truth iscrowd of shape \[1\]"):
        cityscapes_ap([found], [truth | {"iscrowd": torch.zeros(2)}])
