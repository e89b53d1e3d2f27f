"""Metrics of a trained network on a data set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.detection.data.training import AnnotatedPictures, name_of
from cnnfast.detection.metrics import CityscapesAP, CocoMetrics, RegionAP, to_coco_results
from cnnfast.detection.prediction import MASK_THRESHOLD, predict_instances

logger = logging.getLogger(__name__)

_OVERLAPS = (0.5, 0.7)


class Evaluation:
    """Metrics of predictions, updated picture by picture; masks are kept as run lengths.

    Attributes:
        pictures: number of pictures that were added.
        skipped: number of pictures that could not be read.
        results: the predictions in the format of COCO's file of results.

    Args:
        classless: ignore labels, as for proposals.
        category_ids: labels to the numbers of the classes in the results.
        cityscapes: also compute the metrics of the Cityscapes benchmark.
    """

    def __init__(
        self,
        *,
        classless: bool = False,
        category_ids: Mapping[int, int] | None = None,
        cityscapes: bool = False,
    ) -> None:
        self._classless, self._numbers = classless, category_ids
        self._cityscapes = CityscapesAP() if cityscapes else None
        self._regions = RegionAP()
        self._coco = CocoMetrics(class_agnostic=classless)
        self._recall_limits = (10, 100, 1000) if classless else (1, 10, 100)
        self.results: list[dict[str, Any]] = []
        self.pictures = self.skipped = 0

    def update(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor], image_id: int) -> None:
        """Add a picture."""
        if self._classless:
            truth = {**truth, "labels": torch.ones(len(truth["masks"]), dtype=torch.int64)}
        for metric in (self._regions, self._coco, self._cityscapes):
            if metric is not None:
                metric.update(prediction, truth)
        self.results += to_coco_results([prediction], [image_id], self._numbers)
        self.pictures += 1

    def compute(self) -> dict[str, float]:
        """AP^r at 0.5 and 0.7, COCO's AP, and AR@n: average recall of n objects a picture, whatever their class."""
        measures = {f"AP^r {overlap:g}": self._regions.mean(overlap) for overlap in _OVERLAPS}
        coco = self._coco.compute()
        measures |= {name: value for name, value in coco.items() if name.startswith("AP")}
        if self._cityscapes is not None:
            measures |= {f"Cityscapes {name}": value for name, value in self._cityscapes.compute().items()}
        recall = self._coco.average_recall(self._recall_limits)
        return measures | {f"AR@{limit}": value for limit, value in recall.items()}

    def per_class(self) -> dict[int, float]:
        """AP^r at 0.5 of each class."""
        return self._regions.per_class(_OVERLAPS[0])


def evaluate(
    network: nn.Module,
    data: AnnotatedPictures,
    *,
    classless: bool = False,
    category_ids: Mapping[int, int] | None = None,
    cityscapes: bool = False,
    mask_threshold: float = MASK_THRESHOLD,
    max_detections: int | None = None,
    limit: int | None = None,
    callback: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Measure a network on a data set. Pictures that cannot be read or measured are skipped and named in the log.

    Args:
        network: in evaluation mode.
        data: a data set with its crowd regions ("iscrowd"), see `InstanceDataset`.
        classless: ignore labels, as for proposals.
        category_ids: labels to the numbers of the classes in COCO's files.
        cityscapes: also compute the metrics of the Cityscapes benchmark.
        mask_threshold: see `predict_instances`.
        max_detections: likewise.
        limit: number of pictures from the first on; None for all.
        callback: called with the number of pictures done and the number of all.

    Raises:
        InputError: none of the pictures can be measured; the message has the reason of the first.
        MissingPackageError: pycocotools is not installed.

    Example:
        >>> import torch
        >>> from torchvision.models.detection import MaskRCNN
        >>> from cnnfast.detection.anchors import small_anchors
        >>> from cnnfast.detection.evaluation import evaluate
        >>> from cnnfast.features.small_backbone import SmallBackbone
        >>> mask = torch.zeros(1, 40, 40, dtype=torch.bool)
        >>> mask[:, 5:20, 5:30] = True
        >>> target = {"boxes": torch.tensor([[5.0, 5.0, 30.0, 20.0]]), "labels": torch.tensor([1]), "masks": mask}
        >>> network = MaskRCNN(SmallBackbone(), 2, min_size=64, max_size=64, rpn_anchor_generator=small_anchors())
        >>> result = evaluate(network.eval(), [(torch.rand(3, 40, 40), target)]).compute()
        >>> list(result)[:3]
        ['AP^r 0.5', 'AP^r 0.7', 'AP']
    """
    evaluation = Evaluation(classless=classless, category_ids=category_ids, cityscapes=cityscapes)
    count = len(data) if limit is None else min(limit, len(data))
    first = ""
    for index in range(count):
        try:
            picture, truth = data[index]
            found = predict_instances(network, picture, mask_threshold=mask_threshold, max_detections=max_detections)
            evaluation.update(found, truth, _image_id(truth, index))
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            name, what = name_of(data, index), str(error) or type(error).__name__
            what = what if name in what else f"{name}: {what}"
            logger.warning("skipped: %s", what)
            first = first or what
            evaluation.skipped += 1
            continue
        if callback is not None:
            callback(index + 1, count)
    if not evaluation.pictures:
        raise InputError(f"evaluate: expected a picture that can be read and measured, got none; {first}")
    return evaluation


def _image_id(truth: Mapping[str, Any], index: int) -> int:
    return int(truth["image_id"]) if "image_id" in truth else index
