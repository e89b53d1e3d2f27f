"""COCO's files of results, and its average precision and average recall, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnfast.detection.boxes import mask_areas
from cnnfast.detection.metrics.inputs import (
    THRESHOLDS,
    Prediction,
    Regions,
    Truth,
    check_same_size,
    found_regions,
    pairs,
    true_regions,
)
from cnnfast.detection.run_length import coco_masks

# Areas of objects, in pycocotools' order after that of all sizes.
_SIZES = ("small", "medium", "large")


def to_coco_results(
    predictions: Iterable[Prediction], image_ids: Iterable[int], category_ids: Mapping[int, int] | None = None
) -> list[dict[str, Any]]:
    """Detections as COCO's file of results has them: written as JSON they can be sent to COCO's server.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, labels [n], scores [n].
        image_ids: of the pictures.
        category_ids: category of each label; None: the labels themselves. See `CocoInstances.category_ids`.

    Returns:
        For every mask with a pixel, by picture in falling order of the scores: image_id, category_id, segmentation
        (run lengths: size and counts), score. There are no boxes: pycocotools would take their area for the mask's.

    Raises:
        ValueError: missing keys, shapes that do not fit, more pictures than image_ids, or a label without category.
        TypeError: masks that are soft, or no dicts of tensors.
        ImportError: pycocotools is not installed.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import to_coco_results
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> mask[0, 1:3, 2] = True
        >>> found = {"masks": mask, "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}
        >>> to_coco_results([found], [42])[0]["segmentation"]
        {'size': [4, 4], 'counts': '925'}
    """
    results: list[dict[str, Any]] = []
    for prediction, image_id in pairs("to_coco_results", predictions, image_ids):
        found = found_regions("to_coco_results", prediction)
        entries = _entries(found, int(image_id), category_ids)
        for entry, score in zip(entries, found.scores.tolist(), strict=True):
            if entry.pop("area"):
                results.append(entry | {"score": score})
    return results


class CocoMetrics:
    """COCO's metrics, updated picture by picture, see `coco_metrics`; masks are kept as run lengths.

    Args:
        limits: numbers of detections of each picture, rising.
        class_agnostic: ignore labels.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import CocoMetrics
        >>> mask, labels = torch.ones(1, 40, 40, dtype=torch.bool), torch.tensor([1])
        >>> metric = CocoMetrics()
        >>> truth = {"masks": mask, "labels": labels}
        >>> metric.update(truth | {"scores": torch.tensor([0.9])}, truth)
        >>> round(metric.compute()["AP"], 6)
        1.0
    """

    _function = "coco_metrics"

    def __init__(self, limits: Sequence[int] = (1, 10, 100), *, class_agnostic: bool = False) -> None:
        coco_masks(self._function)
        if not limits or min(limits) < 1 or list(limits) != sorted(set(limits)):
            raise ValueError(f"coco_metrics: expected rising numbers of detections of at least 1, got {list(limits)}")
        self._limits, self._class_agnostic = list(limits), class_agnostic
        self._images: list[dict[str, int]] = []
        self._objects: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def update(self, prediction: Prediction, truth: Truth) -> None:
        """Add a picture, see `coco_metrics`."""
        name, labelled = self._function, not self._class_agnostic
        found, true = check_same_size(
            name, found_regions(name, prediction, labelled=labelled), true_regions(name, truth, labelled=labelled)
        )
        image = len(self._images) + 1
        height, width = true.masks.shape[1:]
        self._images.append({"id": image, "height": height, "width": width})
        for entry, score in zip(_entries(found, image), found.scores.tolist(), strict=True):
            self._found.append(entry | {"id": len(self._found) + 1, "score": score, "iscrowd": 0})
        areas = _areas(name, truth, true)
        for entry, crowd, area in zip(_entries(true, image), true.crowd.tolist(), areas, strict=True):
            self._objects.append(entry | {"id": len(self._objects) + 1, "iscrowd": int(crowd), "area": area})

    def compute(self) -> dict[str, float]:
        """The metrics, see `coco_metrics`."""
        return _summary(self._evaluate(self._limits, self._class_agnostic), self._limits)

    def average_recall(self, limits: Sequence[int] = (10, 100, 1000)) -> dict[int, float]:
        """Average recall for each number of proposals, whatever the labels, see the function `average_recall`."""
        _check_proposals(limits)
        rising = sorted(set(limits))
        recall = self._evaluate(rising, class_agnostic=True, sizes=1)["recall"]
        return {limit: _mean(recall[..., rising.index(limit)]) for limit in limits}

    def _evaluate(self, limits: Sequence[int], class_agnostic: bool, sizes: int = 1 + len(_SIZES)) -> dict[str, Any]:
        """Arrays of pycocotools, -1 where there are no objects; with `sizes` 1 not by size."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        categories = sorted({entry["category_id"] for entry in self._objects + self._found})
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            sets = []
            for annotations in (self._objects, self._found):
                api = COCO()
                api.dataset = {
                    "images": self._images,
                    "annotations": [dict(entry) for entry in annotations],
                    "categories": [{"id": category} for category in categories],
                }
                api.createIndex()
                sets.append(api)
            evaluation = COCOeval(*sets, "segm")
            evaluation.params.maxDets = list(limits)
            evaluation.params.useCats = int(not class_agnostic)
            evaluation.params.areaRng = evaluation.params.areaRng[:sizes]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:sizes]
            if not (self._images and categories):
                shape = (len(THRESHOLDS), 1, sizes, len(limits))
                return {"precision": np.full((shape[0], 1, *shape[1:]), -1.0), "recall": np.full(shape, -1.0)}
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval


class _ProposalMetrics(CocoMetrics):
    _function = "average_recall"


def coco_metrics(
    predictions: Iterable[Prediction],
    truths: Iterable[Truth],
    limits: Sequence[int] = (1, 10, 100),
    *,
    class_agnostic: bool = False,
) -> dict[str, float]:
    """COCO's average precision and average recall of masks.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, labels [n], scores [n].
            Any iterable, so that a generator need not hold the masks of all pictures.
        truths: for each picture a dict of masks [g,H,W], labels [g], and perhaps iscrowd [g] and area [g] (by which
            COCO sorts objects into small, medium and large; else the mask's own area).
        limits: numbers of detections of each picture (and class) that are used, rising; AP uses the last one.
        class_agnostic: ignore labels, which may be missing, as for proposals.

    Returns:
        "AP" (mean over IoU 0.5, 0.55, ..., 0.95 and classes), "AP50", "AP75", "AP_small" (objects below 32^2 px),
        "AP_medium", "AP_large" (above 96^2 px), and "AR@n" for each of `limits`. NaN where there are no such objects.

    Raises:
        ValueError: missing keys, shapes that do not fit, or limits that do not rise.
        TypeError: masks that are soft, or no dicts of tensors.
        ImportError: pycocotools is not installed.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the measures are those of pycocotools.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import coco_metrics
        >>> mask, labels = torch.ones(1, 40, 40, dtype=torch.bool), torch.tensor([1])
        >>> found = {"masks": mask, "labels": labels, "scores": torch.tensor([0.9])}
        >>> result = coco_metrics([found], [{"masks": mask, "labels": labels}])
        >>> round(result["AP"], 6), result["AR@1"], result["AP_small"]
        (1.0, 1.0, nan)
    """
    metric = CocoMetrics(limits, class_agnostic=class_agnostic)
    for prediction, truth in pairs("coco_metrics", predictions, truths):
        metric.update(prediction, truth)
    return metric.compute()


def average_recall(
    predictions: Iterable[Prediction], truths: Iterable[Truth], limits: Sequence[int] = (10, 100, 1000)
) -> dict[int, float]:
    r"""AR@n: the share of objects that are found, whatever their class, by the n best-scored proposals of a picture.

    .. math::
        \mathrm{AR@}n = \operatorname{mean}_{t \in \{.5, .55, ..., .95\}}
        \frac{\#\{\text{objects matched at IoU} \ge t\}}{\#\{\text{objects}\}}

    At each threshold t the proposals are matched as COCO does it: in falling order of their scores, each to the object
    of largest IoU that is not matched yet. Crowd regions ("iscrowd") are ignored.

    Args:
        predictions: for each picture a dict of masks [n,H,W] or [n,1,H,W] bool or integers, and scores [n].
        truths: for each picture a dict of masks [g,H,W], and perhaps iscrowd [g].
        limits: numbers of proposals n.

    Returns:
        n to AR@n; NaN if there is no object at all.

    Raises:
        ValueError: missing keys, shapes that do not fit, or numbers below 1.
        TypeError: masks that are soft, or no dicts of tensors.
        ImportError: pycocotools is not installed.

    Source: Hosang et al., "What Makes for Effective Detection Proposals?", PAMI 2016, section 5, with the matching of
        pycocotools.

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
    _check_proposals(limits)
    metric = _ProposalMetrics(class_agnostic=True)
    for prediction, truth in pairs("average_recall", predictions, truths):
        metric.update(prediction, truth)
    return metric.average_recall(limits)


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """COCO's run lengths of masks [n,H,W] bool: dicts of size [H,W] and counts, a string.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import encode_masks
        >>> encode_masks(torch.eye(2, dtype=torch.bool)[None])
        [{'size': [2, 2], 'counts': '0120'}]
    """
    library = coco_masks("encode_masks")
    runs = []
    for mask in masks.cpu().numpy():
        run = library.encode(np.asfortranarray(mask, dtype=np.uint8))
        runs.append({"size": [int(side) for side in run["size"]], "counts": run["counts"].decode("ascii")})
    return runs


def _entries(regions: Regions, image: int, category_ids: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """The keys that results and annotations have in common."""
    areas = mask_areas(regions.masks).tolist()
    runs = encode_masks(regions.masks)
    columns = zip(regions.labels.tolist(), runs, areas, strict=True)
    return [
        {
            "image_id": image,
            "category_id": _category(label, category_ids),
            "segmentation": run,
            "area": area,
        }
        for label, run, area in columns
    ]


def _category(label: int, category_ids: Mapping[int, int] | None) -> int:
    if category_ids is None:
        return label
    if label not in category_ids:
        raise ValueError(f"to_coco_results: expected labels among {sorted(category_ids)}, got {label}")
    return int(category_ids[label])


def _areas(function: str, truth: Truth, true: Regions) -> list[float]:
    if "area" not in truth:
        return mask_areas(true.masks).tolist()
    areas = torch.as_tensor(truth["area"]).detach().cpu()
    if areas.shape != (len(true.masks),):
        raise ValueError(f"{function}: expected area of shape [{len(true.masks)}], got {list(areas.shape)}")
    return areas.double().tolist()


def _check_proposals(limits: Sequence[int]) -> None:
    if not limits or min(limits) < 1:
        raise ValueError(f"average_recall: expected numbers of proposals of at least 1, got {list(limits)}")


def _summary(evaluated: Mapping[str, Any], limits: Sequence[int]) -> dict[str, float]:
    """Means over the classes that have objects."""
    precision, recall = evaluated["precision"], evaluated["recall"]
    result = {
        "AP": _mean(precision[:, :, :, 0, -1]),
        "AP50": _mean(precision[THRESHOLDS.index(0.5), :, :, 0, -1]),
        "AP75": _mean(precision[THRESHOLDS.index(0.75), :, :, 0, -1]),
    }
    for index, name in enumerate(_SIZES, 1):
        result[f"AP_{name}"] = _mean(precision[:, :, :, index, -1])
    for index, limit in enumerate(limits):
        result[f"AR@{limit}"] = _mean(recall[:, :, 0, index])
    return result


def _mean(values: np.ndarray) -> float:
    """Mean over the classes with objects; pycocotools marks the others with -1."""
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")
