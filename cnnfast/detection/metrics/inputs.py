"""Predictions and ground truth of one picture, as all metrics take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_tensor
from cnnfast.detection.checks import check_masks

Prediction = Mapping[str, Tensor]
"""Of a picture: masks [n,H,W] or [n,1,H,W] bool or integers, scores [n], and labels [n] where classes count."""

Truth = Mapping[str, Tensor]
"""Of a picture: masks [g,H,W], labels [g] where classes count; iscrowd [g] and ignore [H,W] where there are such."""

THRESHOLDS = tuple(number / 100 for number in range(50, 100, 5))
"""IoU 0.5, 0.55, ..., 0.95."""

_T = TypeVar("_T")


class Regions(NamedTuple):
    """Objects of a picture, found or true.

    Attributes:
        masks: [n,H,W] bool, on the device they came from.
        labels: [n] int64, ones where classes do not count, on the CPU as all below.
        scores: [n] float64; of true objects ones.
        crowd: [n] bool, crowd regions; of found objects False.
        ignore: [H,W] bool or None, unlabelled pixels, on the device of the masks.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor
    crowd: Tensor
    ignore: Tensor | None = None

    def choose(self, index: Tensor) -> Regions:
        """The objects of an index or of a mask [n] bool; without `ignore`."""
        parts = (self.masks, self.labels, self.scores, self.crowd)
        return Regions(*(part[index.to(part.device)] for part in parts))


def found_regions(function: str, prediction: Any, *, labelled: bool = True) -> Regions:
    """The objects that a model found in a picture, by falling score; equal scores keep their order.

    Raises:
        ValueError: a key is missing, or shapes do not fit.
        TypeError: no mapping of tensors, or masks that are soft.
    """
    masks = _masks(function, "prediction", prediction)
    scores = _column(function, "prediction", prediction, "scores", len(masks)).double()
    if bool(scores.isnan().any()):
        raise ValueError(f"{function}: expected prediction scores that are numbers, got NaN")
    labels = _labels(function, "prediction", prediction, len(masks), labelled)
    order = scores.argsort(descending=True, stable=True)
    crowd = torch.zeros(len(masks), dtype=torch.bool)
    return Regions(masks[order.to(masks.device)], labels[order], scores[order], crowd)


def true_regions(function: str, truth: Any, *, labelled: bool = True) -> Regions:
    """The objects that a picture shows.

    Raises:
        ValueError: a key is missing, or shapes do not fit.
        TypeError: no mapping of tensors, or masks that are soft.
    """
    masks = _masks(function, "ground truth", truth)
    labels = _labels(function, "ground truth", truth, len(masks), labelled)
    crowd = torch.zeros(len(masks), dtype=torch.bool)
    if "iscrowd" in truth:
        crowd = _column(function, "ground truth", truth, "iscrowd", len(masks)) != 0
    ignore = truth.get("ignore")
    if ignore is not None:
        check_tensor(function, ignore, "ground truth ignore")
        if ignore.shape != masks.shape[1:]:
            expected = list(masks.shape[1:])
            raise ValueError(f"{function}: expected ground truth ignore of shape {expected}, got {list(ignore.shape)}")
        ignore = (ignore != 0).to(masks.device)
    return Regions(masks, labels, torch.ones(len(masks), dtype=torch.float64), crowd, ignore)


def check_same_size(function: str, found: Regions, true: Regions) -> tuple[Regions, Regions]:
    """Found and true objects, on the device of the found ones, if their masks have one size.

    Raises:
        ValueError: masks of different sizes.
    """
    if found.masks.shape[1:] != true.masks.shape[1:]:
        raise ValueError(
            f"{function}: expected masks of one height and width for a picture, "
            f"got predictions {list(found.masks.shape)} and ground truth {list(true.masks.shape)}"
        )
    device = found.masks.device
    ignore = None if true.ignore is None else true.ignore.to(device)
    return found, true._replace(masks=true.masks.to(device), ignore=ignore)


def pairs(function: str, predictions: Iterable[_T], truths: Iterable[Any]) -> Iterator[tuple[_T, Any]]:
    """Predictions and ground truth, picture by picture, from lists or generators.

    Raises:
        ValueError: one has more pictures than the other.
    """
    end = object()
    first, second = iter(predictions), iter(truths)
    while True:
        a, b = next(first, end), next(second, end)
        if a is end and b is end:
            return
        if a is end or b is end:
            more, less = ("ground truth", "predictions") if a is end else ("predictions", "ground truth")
            raise ValueError(f"{function}: expected {less} for every picture, got more {more}")
        yield a, b  # type: ignore[misc]


def _masks(function: str, what: str, regions: Any) -> Tensor:
    if not isinstance(regions, Mapping):
        raise TypeError(f"{function}: expected {what} of a picture as a dict, got {type(regions).__name__}")
    masks = _entry(function, what, regions, "masks")
    if masks.dim() == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    check_masks(function, masks, f"{what} masks")
    return masks.bool()  # a comparison of bool values with 0 takes eight bytes for each


def _labels(function: str, what: str, regions: Mapping[str, Any], count: int, labelled: bool) -> Tensor:
    if not labelled:
        return torch.ones(count, dtype=torch.int64)
    return _column(function, what, regions, "labels", count).long()


def _column(function: str, what: str, regions: Mapping[str, Any], key: str, count: int) -> Tensor:
    values = _entry(function, what, regions, key)
    if values.shape != (count,):
        raise ValueError(f"{function}: expected {what} {key} of shape [{count}], got {list(values.shape)}")
    return values.detach().cpu()


def _entry(function: str, what: str, regions: Mapping[str, Any], key: str) -> Tensor:
    if key not in regions:
        raise ValueError(f"{function}: expected {what} with the key {key!r}, got {sorted(regions)}")
    check_tensor(function, regions[key], f"{what} {key}")
    return regions[key]
