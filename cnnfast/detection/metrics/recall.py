"""Average recall of segment proposals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from cnnfast.detection.metrics.inputs import (
    THRESHOLDS,
    Prediction,
    Truth,
    check_same_size,
    found_regions,
    pairs,
    true_regions,
)
from cnnfast.detection.metrics.masks import mask_iou


class AverageRecall:
    """AR@n of a stream of pictures, see `average_recall`; masks are not kept.

    Args:
        limits: numbers of proposals n.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import AverageRecall
        >>> mask = torch.ones(1, 4, 4, dtype=torch.bool)
        >>> metric = AverageRecall((1, 10))
        >>> metric.update({"masks": mask, "scores": torch.tensor([0.9])}, {"masks": mask})
        >>> metric.compute()
        {1: 1.0, 10: 1.0}
    """

    def __init__(self, limits: Sequence[int] = (10, 100, 1000)) -> None:
        if not limits or min(limits) < 1:
            raise ValueError(f"average_recall: expected numbers of proposals of at least 1, got {list(limits)}")
        self._matched: dict[int, list[float]] = {limit: [] for limit in limits}
        self._objects = 0

    def update(self, prediction: Prediction, truth: Truth) -> None:
        """Take note of a picture, see `average_recall`."""
        name = "average_recall"
        found = found_regions(name, prediction, labelled=False)
        found, true = check_same_size(name, found, true_regions(name, truth, labelled=False))
        objects = true.choose(~true.crowd)
        self._objects += len(objects.masks)
        ious = mask_iou(found.masks[: max(self._matched)], objects.masks).cpu()
        for limit, matched in self._matched.items():
            matched.extend(_best_pairs(ious[:limit]))

    def compute(self) -> dict[int, float]:
        """Average recall for each number of proposals; NaN without an object."""
        if not self._objects:
            return dict.fromkeys(self._matched, math.nan)
        return {
            limit: sum(iou >= least for iou in matched for least in THRESHOLDS) / (len(THRESHOLDS) * self._objects)
            for limit, matched in self._matched.items()
        }


def average_recall(
    predictions: Iterable[Prediction], truths: Iterable[Truth], limits: Sequence[int] = (10, 100, 1000)
) -> dict[int, float]:
    r"""AR@n: the share of objects that are found, whatever their class, by the n best-scored proposals of a picture.

    .. math::
        \mathrm{AR@}n = \operatorname{mean}_{t \in \{.5, .55, ..., .95\}}
        \frac{\#\{\text{objects with a proposal of IoU} \ge t\}}{\#\{\text{objects}\}}

    A proposal finds one object at most: pairs are taken in falling order of their IoU. Regions of many objects
    ("iscrowd") are left out.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, and scores [n].
        truths: for each picture a dict of masks [g,H,W], and perhaps iscrowd [g].
        limits: numbers of proposals n.

    Returns:
        n to AR@n; NaN if there is no object at all.

    Raises:
        ValueError: missing keys, shapes that do not fit, or numbers below 1.
        TypeError: masks that are soft, or no dicts of tensors.

    Source: Hosang et al., "What Makes for Effective Detection Proposals?", PAMI 2016, section 5.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import average_recall
        >>> mask = torch.ones(1, 4, 4, dtype=torch.bool)
        >>> half = mask.clone()
        >>> half[:, :, :2] = False
        >>> found = {"masks": torch.cat([half, mask]), "scores": torch.tensor([0.9, 0.8])}
        >>> average_recall([found], [{"masks": mask}], (1, 2))
        {1: 0.1, 2: 1.0}
    """
    metric = AverageRecall(limits)
    for prediction, truth in pairs("average_recall", predictions, truths):
        metric.update(prediction, truth)
    return metric.compute()


def _best_pairs(ious: Tensor) -> list[float]:
    """IoUs of a one-to-one matching of [n,g] that takes pairs in falling order."""
    values, order = ious.flatten().sort(descending=True, stable=True)
    rows, columns, matched = set[int](), set[int](), list[float]()
    for value, index in zip(values.tolist(), order.tolist(), strict=True):
        row, column = divmod(index, ious.shape[1])
        if value < THRESHOLDS[0] or len(columns) == ious.shape[1]:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            matched.append(value)
    return matched
