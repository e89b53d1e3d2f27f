"""Any data set of instances as one in COCO's format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cnnfast._json import write_json
from cnnfast.detection.data.base import InstanceDataset
from cnnfast.images import save_image


def write_coco(data: InstanceDataset, images: str | os.PathLike[str], annotations: str | os.PathLike[str]) -> None:
    """Write a data set in COCO's format: PNG pictures, and one JSON file with masks as run lengths.

    Args:
        data: what to write; label n becomes category n. Crowd regions are written if it has them.
        images: folder of the pictures, which are called 000000.png, 000001.png ...; it must exist.
        annotations: JSON file; written last, so that it exists only where the pictures do.

    Raises:
        OSError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> from cnnfast.detection.data import CocoInstances, SyntheticInstances, write_coco
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_coco(SyntheticInstances(2, objects=3), folder, f"{folder}/shapes.json")
        ...     data = CocoInstances(folder, f"{folder}/shapes.json")
        ...     data.names, data.categories, len(data[1][1]["masks"])
        (['000000.png', '000001.png'], ['ellipse', 'rectangle', 'star'], 3)
    """
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(data.categories, 1)],
    }
    for index in range(len(data)):
        picture, target = data[index]
        name, (height, width) = f"{index:06}.png", picture.shape[-2:]
        save_image(picture, Path(images, name))
        content["images"].append({"id": index, "file_name": name, "height": height, "width": width})
        for label, crowd, mask in zip(target["labels"], target["iscrowd"], target["masks"], strict=True):
            number = len(content["annotations"]) + 1
            entry = {"id": number, "image_id": index, "category_id": int(label), "iscrowd": int(crowd)}
            content["annotations"].append(entry | _shape(mask))
    write_json(annotations, content)


def _shape(mask: Tensor) -> dict[str, Any]:
    """Run lengths, area and box (x, y, width, height) of a mask [H,W] with at least one pixel."""
    array = mask.bool().numpy()
    rows, columns = np.flatnonzero(array.any(1)), np.flatnonzero(array.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "segmentation": {"size": list(array.shape), "counts": _run_lengths(array)},
        "area": int(array.sum()),
        "bbox": [int(value) for value in box],
    }


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of runs of False and True, alternating, down the columns; the first is of False and may be 0."""
    values = mask.T.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    edges = [*([0] if values[0] else []), 0, *changes, values.size]
    return np.diff(edges).tolist()
