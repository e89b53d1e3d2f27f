"""Average precision of the Cityscapes benchmark for instances."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.detection.boxes import mask_areas
from cnnfast.detection.metrics.inputs import (
    THRESHOLDS,
    Prediction,
    Truth,
    check_same_size,
    found_regions,
    pairs,
    true_regions,
)
from cnnfast.detection.metrics.masks import mask_intersections

SMALLEST_OBJECT = 100
"""Pixels below which an object need not be found."""


class _Picture(NamedTuple):
    """Detections and objects of a class in a picture.

    Attributes:
        scores: [n].
        ious: [n,g].
        counts: [g] bool, objects that are to be found: neither groups nor small.
        ignored: [n] share of each detection that lies on pixels without label, groups and small objects.
    """

    scores: Tensor
    ious: Tensor
    counts: Tensor
    ignored: Tensor


class CityscapesAP:
    """The benchmark's AP, updated picture by picture, see `cityscapes_ap`; masks are not kept.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import CityscapesAP
        >>> mask, labels = torch.ones(1, 10, 10, dtype=torch.bool), torch.tensor([3])
        >>> metric = CityscapesAP()
        >>> truth = {"masks": mask, "labels": labels}
        >>> metric.update(truth | {"scores": torch.tensor([0.9])}, truth)
        >>> metric.per_class()
        {3: {'AP': 1.0, 'AP50': 1.0}}
    """

    def __init__(self) -> None:
        self._pictures: dict[int, list[_Picture]] = {}

    def update(self, prediction: Prediction, truth: Truth) -> None:
        """Add a picture, see `cityscapes_ap`."""
        found, true = check_same_size(
            "cityscapes_ap", found_regions("cityscapes_ap", prediction), true_regions("cityscapes_ap", truth)
        )
        found = found.choose(found.masks.flatten(1).any(1))
        for label in torch.cat([found.labels, true.labels]).unique().tolist():
            detections, objects = found.choose(found.labels == label), true.choose(true.labels == label)
            area = mask_areas(detections.masks).cpu()
            size = mask_areas(objects.masks).cpu()
            shared = mask_intersections(detections.masks, objects.masks).cpu()
            ious = shared.double() / (area[:, None] + size - shared).clamp(min=1)
            small = size < SMALLEST_OBJECT
            # A small group is counted twice, as in the benchmark's own program.
            ignored = (shared * (objects.crowd.long() + small.long())).sum(1)
            if true.ignore is not None:
                ignored = ignored + mask_intersections(detections.masks, true.ignore[None])[:, 0].cpu()
            picture = _Picture(detections.scores, ious, ~objects.crowd & ~small, ignored.double() / area)
            self._pictures.setdefault(label, []).append(picture)

    def per_class(self) -> dict[int, dict[str, float]]:
        """AP and AP50 of each class that has objects."""
        result = {}
        for label, pictures in sorted(self._pictures.items()):
            if any(bool(picture.counts.any()) for picture in pictures):
                values = [_average_precision(pictures, threshold) for threshold in THRESHOLDS]
                result[label] = {"AP": sum(values) / len(values), "AP50": values[0]}
        return result

    def compute(self) -> dict[str, float]:
        """AP and AP50, means over the classes that have objects; NaN without any."""
        classes = self.per_class().values()
        return {
            name: sum(values[name] for values in classes) / len(classes) if classes else math.nan
            for name in ("AP", "AP50")
        }


def cityscapes_ap(predictions: Iterable[Prediction], truths: Iterable[Truth]) -> dict[str, float]:
    """AP by the rules of the Cityscapes benchmark.

    For each class and each IoU threshold of 0.5, 0.55, ..., 0.95 an object is found if a detection overlaps it by more
    than the threshold; of several the best-scored one counts, the others are wrong. Detections that overlap no object
    enough are wrong, too, unless a larger share than the threshold lies on what is to be ignored: pixels without
    label, groups of objects, objects of less than 100 px. AP is the area under precision over recall, by the
    trapezoidal rule, with one point for each score and a first one of precision 1 at recall 0. Variants for distances
    of 50 and 100 m need depth and are not offered.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, labels [n], scores [n].
            Any iterable, so that a generator need not hold the masks of all pictures.
        truths: for each picture a dict of masks [g,H,W], labels [g], and perhaps iscrowd [g] (groups) and ignore [H,W]
            (pixels without label), as `CityscapesInstances` has them.

    Returns:
        "AP" and "AP50", means over the classes that have objects; NaN without any.

    Raises:
        ValueError: missing keys, or shapes that do not fit.
        TypeError: masks that are soft, or no dicts of tensors.

    Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, section 4.2.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import cityscapes_ap
        >>> mask, labels = torch.zeros(1, 20, 20, dtype=torch.bool), torch.tensor([1])
        >>> mask[:, :, :13] = True
        >>> found = {"masks": torch.ones_like(mask), "labels": labels, "scores": torch.tensor([0.9])}
        >>> cityscapes_ap([found], [{"masks": mask, "labels": labels}])  # IoU 0.65 is above three thresholds of ten
        {'AP': 0.3, 'AP50': 1.0}
    """
    metric = CityscapesAP()
    for prediction, truth in pairs("cityscapes_ap", predictions, truths):
        metric.update(prediction, truth)
    return metric.compute()


def _average_precision(pictures: list[_Picture], threshold: float) -> float:
    true: list[float] = []
    false: list[float] = []
    missed = 0
    for picture in pictures:
        overlaps = picture.ious > threshold
        for column in overlaps.T[picture.counts]:
            scores = picture.scores[column]
            missed += not len(scores)
            if len(scores):
                true.append(float(scores.max()))
                false.extend(scores.sort(descending=True).values[1:].tolist())
        # A detection that overlaps a group or a small object by more than the threshold is ignored.
        wrong = ~overlaps.any(1) & (picture.ignored <= threshold)
        false.extend(picture.scores[wrong].tolist())
    return _area(torch.tensor(true, dtype=torch.float64), torch.tensor(false, dtype=torch.float64), missed)


def _area(true: Tensor, false: Tensor, missed: int) -> float:
    """Area under the curve through one point for each score, from precision 1 at recall 0 on."""
    if not len(true):
        return 0.0
    scores = torch.cat([true, false]).unique().flip(0)
    hits = (true >= scores[:, None]).sum(1).double()
    precision = hits / (hits + (false >= scores[:, None]).sum(1))
    recall = hits / (len(true) + missed)
    start = precision.new_tensor([1.0])
    return float(torch.trapezoid(torch.cat([start, precision]), torch.cat([start * 0, recall])))
