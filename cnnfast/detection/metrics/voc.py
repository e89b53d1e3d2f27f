"""Region average precision, AP^r, of the PASCAL VOC benchmarks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_word
from cnnfast.detection.metrics.inputs import (
    Prediction,
    Truth,
    check_same_size,
    found_regions,
    pairs,
    true_regions,
)
from cnnfast.detection.metrics.masks import mask_iou

METHODS = ("voc07", "area")
"""Mean of the precision at 11 recalls, or the area under the monotone envelope."""


class _Found(NamedTuple):
    """Detections of a class in a picture.

    Attributes:
        scores: [n].
        ious: [n], IoU with the object that each overlaps most.
        objects: [n], number of that object, counted over all pictures.
        crowd: [n] bool, whether that object is a crowd region.
    """

    scores: Tensor
    ious: Tensor
    objects: Tensor
    crowd: Tensor


class RegionAP:
    r"""AP^r, updated picture by picture; masks are compared once for all thresholds and not kept.

    See `voc_ap_r`.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import RegionAP
        >>> mask, labels = torch.ones(1, 4, 4, dtype=torch.bool), torch.tensor([3])
        >>> metric = RegionAP()
        >>> truth = {"masks": mask, "labels": labels}
        >>> metric.update(truth | {"scores": torch.tensor([0.9])}, truth)
        >>> metric.per_class(0.7), metric.mean(0.7)
        ({3: 1.0}, 1.0)
    """

    def __init__(self) -> None:
        self._found: dict[int, list[_Found]] = {}
        self._objects: dict[int, int] = {}
        self._numbered = 0

    def update(self, prediction: Prediction, truth: Truth) -> None:
        """Add a picture, see `voc_ap_r`."""
        found, true = check_same_size(
            "voc_ap_r", found_regions("voc_ap_r", prediction), true_regions("voc_ap_r", truth)
        )
        for label in torch.cat([found.labels, true.labels]).unique().tolist():
            detections, objects = found.choose(found.labels == label), true.choose(true.labels == label)
            self._objects[label] = self._objects.get(label, 0) + int((~objects.crowd).sum())
            ious = mask_iou(detections.masks, objects.masks).cpu()
            if len(objects.masks):
                best, index = ious.max(1)
            else:
                best, index = torch.zeros(len(ious)).double(), torch.zeros(len(ious), dtype=torch.int64)
            crowd = objects.crowd[index] if len(objects.masks) else torch.zeros(len(ious), dtype=torch.bool)
            self._found.setdefault(label, []).append(_Found(detections.scores, best, self._numbered + index, crowd))
            self._numbered += len(objects.masks)

    def per_class(self, iou: float = 0.5, method: str = "voc07") -> dict[int, float]:
        """AP^r of each class that has objects."""
        check_word("voc_ap_r", "method", method, METHODS)
        if not 0 < iou <= 1:
            raise ValueError(f"voc_ap_r: expected iou above 0 and up to 1, got {iou}")
        return {
            label: _average_precision(self._found[label], self._objects[label], iou, method)
            for label in sorted(self._objects)
            if self._objects[label]
        }

    def mean(self, iou: float = 0.5, method: str = "voc07") -> float:
        """Their mean, NaN without a class."""
        values = self.per_class(iou, method).values()
        return sum(values) / len(values) if values else math.nan


def voc_ap_r(
    predictions: Iterable[Prediction], truths: Iterable[Truth], iou: float = 0.5, method: str = "voc07"
) -> float:
    r"""Mean over classes of the average precision of segmented regions.

    The detections of a class, of all pictures, in falling order of their scores (equal scores keep their order): each
    belongs to the object of its picture and class that it overlaps most, and is a true positive if the overlap is at
    least `iou` and the object has not been found before, else a false positive. From the precision p(r) at recall r

    .. math::
        \mathrm{AP} = \tfrac{1}{11} \sum_{r \in \{0, .1, ..., 1\}} \max_{r' \ge r} p(r') \quad\text{or}\quad
        \mathrm{AP} = \int_0^1 \max_{r' \ge r} p(r')\, dr

    Crowd regions ("iscrowd") need not be found, and detections that belong to one are ignored.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, labels [n], scores [n].
            Any iterable, so that a generator need not hold the masks of all pictures.
        truths: for each picture a dict of masks [g,H,W], labels [g], and perhaps iscrowd [g].
        iou: least overlap.
        method: "voc07" (the sum over eleven recalls) or "area" (the integral).

    Returns:
        In [0,1]; NaN if there is no object at all. Classes without objects do not count.

    Raises:
        ValueError: missing keys, shapes that do not fit, scores that are NaN, or another number or word than above.
        TypeError: masks that are soft, or no dicts of tensors.

    Source: Hariharan et al., "Simultaneous Detection and Segmentation", ECCV 2014, section 4; Everingham et al., "The
        PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import voc_ap_r
        >>> mask, labels = torch.ones(1, 4, 4, dtype=torch.bool), torch.tensor([1])
        >>> half = mask.clone()
        >>> half[:, :, :2] = False
        >>> found = {"masks": torch.cat([half, mask]), "labels": labels.repeat(2), "scores": torch.tensor([0.9, 0.8])}
        >>> voc_ap_r([found], [{"masks": mask, "labels": labels}], iou=0.7)  # the first is wrong
        0.5
    """
    metric = RegionAP()
    for prediction, truth in pairs("voc_ap_r", predictions, truths):
        metric.update(prediction, truth)
    return metric.mean(iou, method)


def _average_precision(parts: list[_Found], objects: int, iou: float, method: str) -> float:
    scores, ious, best, crowd = (torch.cat(columns) for columns in zip(*parts, strict=True))
    order = scores.argsort(descending=True, stable=True)
    hits = ious[order] >= iou
    kept = ~(hits & crowd[order])
    hits, best = hits[kept], best[order][kept]
    # The first hit of an object counts, later ones are false.
    first = torch.zeros_like(hits)
    seen: set[int] = set()
    for position in torch.where(hits)[0].tolist():
        index = int(best[position])
        first[position] = index not in seen
        seen.add(index)
    return average_precision(first, objects, method)


def average_precision(hits: Tensor, objects: int, method: str) -> float:
    """Average precision from hits [n] bool, by falling score, and the number of objects to be found."""
    true = hits.double().cumsum(0)
    precision = true / torch.arange(1, len(hits) + 1, dtype=torch.float64)
    recall = true / objects
    envelope = precision.flip(0).cummax(0).values.flip(0) if len(hits) else precision
    if method == "area":
        before = torch.cat([recall.new_zeros(1), recall[:-1]])
        return float((envelope * (recall - before)).sum())
    # Recall k / 10 is reached where 10 times the number of hits is k times that of the objects, without rounding.
    reached = [torch.where(10 * true >= k * objects)[0] for k in range(11)]
    return sum(float(envelope[index[0]]) for index in reached if len(index)) / 11
