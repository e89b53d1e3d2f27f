"""AP of Cityscapes, on cases made by hand and against the benchmark's rules written out in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.detection.metrics import CityscapesAP, cityscapes_ap
from tests.detection.metrics.cases import random_scenes

THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def counts(a, b):
    return int((a & b).sum())


def ap_by_loops(predictions, truths, label, threshold):
    """True and false scores, picture by picture, then the curve over distinct scores."""
    true, false, missed, any_object = [], [], 0, False
    for p, t in zip(predictions, truths, strict=True):
        found = [
            (m, s) for m, s, own in zip(p["masks"], p["scores"].tolist(), p["labels"], strict=True) if own == label
        ]
        found = [(mask, score) for mask, score in found if mask.any()]
        objects = [(m, c) for m, c, own in zip(t["masks"], t["iscrowd"], t["labels"], strict=True) if own == label]

        def overlap(a, b):
            return counts(a, b) / int((a | b).sum()) > threshold

        for mask, crowd in objects:
            if crowd or mask.sum() < 100:
                continue
            any_object = True
            scores = sorted((score for other, score in found if overlap(other, mask)), reverse=True)
            missed += not scores
            true += scores[:1]
            false += scores[1:]
        for mask, score in found:
            if any(overlap(mask, other) for other, _ in objects):
                continue
            ignored = counts(mask, t["ignore"])
            for other, crowd in objects:
                ignored += counts(mask, other) * (int(bool(crowd)) + int(other.sum() < 100))
            if ignored / int(mask.sum()) <= threshold:
                false.append(score)
    if not any_object:
        return None
    points = [
        (sum(s >= cut for s in true), sum(s >= cut for s in false)) for cut in sorted({*true, *false}, reverse=True)
    ]
    if not true:
        return 0.0
    precision = [hits / (hits + wrong) for hits, wrong in points]
    recall = [hits / (len(true) + missed) for hits, _ in points]
    return float(np.trapezoid([precision[0], *precision], [0.0, *recall]))


@pytest.mark.parametrize("seed", range(4))
def test_against_loops(seed):
    predictions, truths = random_scenes(12, seed, size=40, crowds=True)
    expected = {}
    for label in (1, 2, 3):
        values = [ap_by_loops(predictions, truths, label, threshold) for threshold in THRESHOLDS]
        if values[0] is not None:
            expected[label] = {"AP": sum(values) / 10, "AP50": values[0]}
    metric = CityscapesAP()
    for pair in zip(predictions, truths, strict=True):
        metric.update(*pair)
    assert metric.per_class().keys() == expected.keys() and expected
    for label, values in metric.per_class().items():
        assert values == pytest.approx(expected[label])
    means = {name: sum(v[name] for v in expected.values()) / len(expected) for name in ("AP", "AP50")}
    assert cityscapes_ap(predictions, truths) == pytest.approx(means)


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
