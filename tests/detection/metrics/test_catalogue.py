"""AP^r and AR@n against arrays that were computed elsewhere, and against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast.detection.metrics import RegionAP, average_recall, mask_iou, voc_ap_r
from tests.detection.metrics.cases import random_scene, random_scenes

THRESHOLDS = [0.5 + 0.05 * k for k in range(10)]


@pytest.fixture
def scenes(parity):
    """Pictures of one class with their measures."""
    arrays = parity("metrics", "bais")
    predictions, truths = [], []
    for index in range(int(arrays["n_images"])):
        masks, found = (torch.from_numpy(arrays[f"im{index}/{name}"]) for name in ("gt", "det"))
        scores = torch.from_numpy(arrays[f"im{index}/score"])
        predictions.append({"masks": found, "scores": scores, "labels": torch.full((len(found),), 4)})
        truths.append({"masks": masks, "labels": torch.full((len(masks),), 4)})
    return predictions, truths, arrays


class TestParity:
    @pytest.mark.parametrize("method", ["voc07", "area"])
    @pytest.mark.parametrize("iou", [0.5, 0.7])
    def test_ap_r(self, scenes, iou, method):
        predictions, truths, arrays = scenes
        expected = float(arrays[f"ap_{method}_{iou}"])
        assert voc_ap_r(predictions, truths, iou, method) == pytest.approx(expected, abs=1e-14)
        assert voc_ap_r(iter(predictions), iter(truths), iou, method) == pytest.approx(expected, abs=1e-14)

    def test_average_recall(self, scenes):
        predictions, truths, arrays = scenes
        result = average_recall(predictions, truths, (1, 2, 10))
        for limit in (1, 2, 10):
            assert result[limit] == pytest.approx(float(arrays[f"ar_{limit}"]), abs=1e-14)

    def test_layouts_and_dtypes(self, scenes):
        predictions, truths, arrays = scenes
        others = [{**p, "masks": p["masks"][:, None].to(torch.uint8) * 3} for p in predictions]
        assert voc_ap_r(others, truths, 0.7) == pytest.approx(float(arrays["ap_voc07_0.7"]), abs=1e-14)

    def test_order_within_a_picture_does_not_count(self, scenes):
        predictions, truths, _ = scenes
        turned = [{key: value.flip(0) for key, value in p.items()} for p in predictions]
        assert voc_ap_r(turned, truths) == voc_ap_r(predictions, truths)


def ap_by_loops(predictions, truths, label, iou, method):
    """One class, literally: sort, match, interpolate."""
    entries, objects = [], 0
    for image, (p, t) in enumerate(zip(predictions, truths, strict=True)):
        crowd = t.get("iscrowd", torch.zeros(len(t["labels"])))
        objects += int(((t["labels"] == label) & (crowd == 0)).sum())
        for k in sorted(range(len(p["scores"])), key=lambda k: -float(p["scores"][k])):
            if p["labels"][k] == label:
                entries.append((float(p["scores"][k]), image, k))
    if not objects:
        return None
    entries.sort(key=lambda entry: -entry[0])
    used, curve, hits, count = set(), [], 0, 0
    for _, image, k in entries:
        best, where = 0.0, None
        for g in range(len(truths[image]["labels"])):
            if truths[image]["labels"][g] == label:
                a, b = predictions[image]["masks"][k], truths[image]["masks"][g]
                value = int((a & b).sum()) / max(1, int((a | b).sum()))
                if value > best:
                    best, where = value, g
        if best >= iou and truths[image].get("iscrowd", torch.zeros(99))[where]:
            continue
        count += 1
        if best >= iou and (image, where) not in used:
            used.add((image, where))
            hits += 1
        curve.append((hits / objects, hits / count))
    if method == "voc07":
        return sum(max((p for r, p in curve if r >= k / 10 - 1e-12), default=0) for k in range(11)) / 11
    area, before = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - before) * max(p for _, p in curve[index:])
        before = recall
    return area


class TestRegionAP:
    @pytest.mark.parametrize("crowds", [False, True])
    @pytest.mark.parametrize("method", ["voc07", "area"])
    def test_against_loops(self, method, crowds):
        for seed in range(6):
            predictions, truths = random_scenes(8, seed, crowds=crowds)
            metric = RegionAP()
            for pair in zip(predictions, truths, strict=True):
                metric.update(*pair)
            for iou in (0.5, 0.7):
                expected = {k: ap_by_loops(predictions, truths, k, iou, method) for k in (1, 2, 3)}
                expected = {label: value for label, value in expected.items() if value is not None}
                assert metric.per_class(iou, method) == pytest.approx(expected)
                assert metric.mean(iou, method) == pytest.approx(sum(expected.values()) / len(expected))

    def test_perfect_and_none(self):
        _, truth = random_scene(3)
        perfect = {**truth, "scores": torch.ones(len(truth["labels"]))}
        assert len(truth["labels"]) and voc_ap_r([perfect], [truth], 1.0) == 1
        nothing = {key: value[:0] for key, value in perfect.items()}
        assert voc_ap_r([nothing], [truth]) == 0
        assert math.isnan(voc_ap_r([perfect], [nothing])) and math.isnan(voc_ap_r([], []))

    def test_label_counts(self):
        _, truth = random_scene(3)
        other = {**truth, "labels": truth["labels"] + 1, "scores": torch.ones(len(truth["labels"]))}
        own = {k: voc_ap_r([{**other, "labels": truth["labels"]}], [truth]) for k in (1,)}
        assert own[1] == 1 and voc_ap_r([other], [truth]) < 1

    def test_recall_of_a_tenth_is_reached_exactly(self):
        # Three of ten found: the 11-point mean counts the recalls 0, .1, .2 and .3.
        masks = torch.eye(10, dtype=torch.bool).view(10, 2, 5)
        truth = {"masks": masks, "labels": torch.ones(10)}
        found = {"masks": masks[:3], "labels": torch.ones(3), "scores": torch.ones(3)}
        assert voc_ap_r([found], [truth]) == pytest.approx(4 / 11)

    def test_refused(self):
        prediction, truth = random_scene(0)
        size = len(prediction["scores"])
        for change, error, words in (
            ({"masks": prediction["masks"].float()}, TypeError, "pass prediction masks > 0.5"),
            ({"masks": prediction["masks"][:, 1:]}, ValueError, "one height and width for a picture"),
            ({"scores": torch.zeros(size + 1)}, ValueError, rf"scores of shape \[{size}\], got \[{size + 1}\]"),
            ({"scores": torch.full((size,), math.nan)}, ValueError, "scores that are numbers, got NaN"),
            ({"scores": None}, TypeError, "prediction scores a torch.Tensor, got NoneType"),
        ):
            with pytest.raises(error, match=f"^voc_ap_r: expected .*{words}"):
                voc_ap_r([{**prediction, **change}], [truth])
        with pytest.raises(ValueError, match="expected prediction with the key 'scores'"):
            voc_ap_r([truth], [truth])
        with pytest.raises(TypeError, match="expected prediction of a picture as a dict, got list"):
            voc_ap_r([[1]], [truth])
        with pytest.raises(ValueError, match="expected predictions for every picture, got more ground truth"):
            voc_ap_r([prediction], [truth, truth])
        with pytest.raises(ValueError, match="expected ground truth for every picture, got more predictions"):
            voc_ap_r([prediction, prediction], [truth])
        for options in ({"iou": 0}, {"iou": 1.1}, {"iou": math.nan}, {"method": "voc12"}):
            with pytest.raises(ValueError, match=r"^voc_ap_r: expected"):
                voc_ap_r([prediction], [truth], **options)


class TestAverageRecall:
    def test_against_loops(self):
        predictions, truths = random_scenes(20, crowds=True)
        total, hits = 0, dict.fromkeys((1, 3, 100), 0)
        for p, t in zip(predictions, truths, strict=True):
            objects = t["masks"][t["iscrowd"] == 0]
            total += len(objects)
            order = p["scores"].argsort(descending=True, stable=True)
            for limit in hits:
                ious = mask_iou(p["masks"][order[:limit]], objects)
                while ious.numel() and ious.max() >= 0.5:
                    row, column = divmod(int(ious.argmax()), ious.shape[1])
                    hits[limit] += sum(float(ious[row, column]) >= t - 1e-12 for t in THRESHOLDS)
                    ious[row], ious[:, column] = -1, -1
        expected = {limit: value / (10 * total) for limit, value in hits.items()}
        assert average_recall(predictions, truths, (1, 3, 100)) == pytest.approx(expected)
        assert 0 < expected[1] < expected[3]

    def test_labels_are_not_needed(self):
        prediction, truth = random_scene(3)
        del prediction["labels"], truth["labels"]
        assert average_recall([prediction], [truth])[10] >= 0

    def test_without_objects(self):
        prediction, _ = random_scene(3)
        nothing = {"masks": prediction["masks"][:0]}
        assert math.isnan(average_recall([prediction], [nothing])[10])

    def test_proposals_choose_by_falling_score(self):
        first, second = torch.zeros(2, 1, 12, dtype=torch.bool)
        first[:, :10], second[:, 2:] = True, True
        wide = first.clone()
        wide[:, 10] = True
        # IoU of `wide` is .91 with the first object and .75 with the second; of `first` 1 and .67. As `wide` comes
        # first it takes the first object up to .9, and `first` is left with the second one up to .65.
        found = {"masks": torch.stack([wide, first]), "scores": torch.tensor([0.9, 0.8])}
        result = average_recall([found], [{"masks": torch.stack([first, second])}], (2,))
        assert result[2] == pytest.approx((4 * 1 + 6 * 0.5) / 10)

    def test_limits_in_any_order(self):
        predictions, truths = random_scenes(5)
        result = average_recall(predictions, truths, (100, 1, 100))
        assert list(result) == [100, 1] and result[1] == average_recall(predictions, truths, (1,))[1]

    @pytest.mark.parametrize("limits", [(), (0, 1)])
    def test_refused(self, limits):
        with pytest.raises(ValueError, match="average_recall: expected numbers of proposals of at least 1"):
            average_recall([], [], limits)
        with pytest.raises(ValueError, match="average_recall: expected prediction with the key 'masks'"):
            average_recall([{}], [{}])
