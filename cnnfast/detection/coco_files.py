"""Predictions as files in COCO's format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from cnnfast._json import write_json
from cnnfast.detection.metrics import to_coco_results
from cnnfast.detection.run_length import coco_masks


class CocoPredictions:
    """Predictions of pictures as annotations with scores, in one JSON object of COCO's format.

    `write` makes a complete data set that ``pycocotools.coco.COCO`` opens: images, categories, and annotations with
    run lengths.

    Args:
        classes: names, the first one is that of label 1.
        category_ids: their numbers; by default 1, 2, 3 ...

    Raises:
        ImportError: pycocotools is not installed.

    Example:
        >>> import torch
        >>> from cnnfast.detection.coco_files import CocoPredictions
        >>> found = {"masks": torch.ones(1, 2, 3, dtype=torch.bool), "labels": torch.tensor([1])}
        >>> predictions = CocoPredictions(["cell"], [7])
        >>> predictions.add("a.png", found | {"scores": torch.tensor([0.5])}, (2, 3))
        >>> [(entry["category_id"], entry["area"]) for entry in predictions.content()["annotations"]]
        [(7, 6)]
    """

    def __init__(self, classes: Sequence[str], category_ids: Sequence[int] | None = None) -> None:
        coco_masks("CocoPredictions")
        numbers = range(1, len(classes) + 1) if category_ids is None else category_ids
        self._numbers = dict(enumerate(numbers, 1))
        self._categories = [{"id": number, "name": name} for number, name in zip(numbers, classes, strict=True)]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, name: str, prediction: Mapping[str, Tensor], size: tuple[int, int]) -> None:
        """Add the objects of a picture.

        Args:
            name: the picture's file name.
            prediction: masks [n,H,W] bool, labels [n], scores [n].
            size: (H,W).
        """
        image = len(self._images) + 1
        self._images.append({"id": image, "file_name": name, "height": size[0], "width": size[1]})
        library = coco_masks("CocoPredictions")
        for entry in to_coco_results([prediction], [image], self._numbers):
            number = len(self._annotations) + 1
            run = entry["segmentation"]
            measures = {"bbox": library.toBbox(run).tolist(), "area": int(library.area(run))}
            self._annotations.append({"id": number, **entry, **measures, "iscrowd": 0})

    def content(self) -> dict[str, Any]:
        """The JSON object."""
        return {"images": self._images, "annotations": self._annotations, "categories": self._categories}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it, see :func:`cnnfast._json.write_json`."""
        write_json(path, self.content())
