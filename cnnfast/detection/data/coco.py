"""Data sets in COCO's format: a folder of pictures, and one JSON file of annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnfast.detection.data.base import AnnotationError, InstanceDataset, Objects, read_text
from cnnfast.detection.run_length import coco_masks
from cnnfast.images import MAX_PIXELS

_LARGEST_NUMBER = 1e15


class CocoInstances(InstanceDataset):
    """Instances of a data set in COCO's format.

    Segmentations are lists of polygons, or run lengths with counts as a list or a string. Everything is checked when
    it is read, so that a damaged file gives an error that says what is wrong with it.

    Args:
        images: folder of the pictures.
        annotations: JSON file with "images" (id, file_name, height, width), "annotations" (image_id, category_id,
            segmentation; iscrowd and area where there are such) and "categories" (id, name).
        crowd: whether to keep crowd regions, see `InstanceDataset`.
        annotated_only: whether to leave out pictures without an object.

    Attributes:
        names: file names of the pictures, in the order of their ids.
        categories: names in the order of their ids; label n is the n-th.
        category_ids: label to COCO's id, for `to_coco_results`.
        image_ids: of the pictures.

    Raises:
        AnnotationError: the file is no JSON of this form, or refers to what is not there.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Example:
        >>> import json, tempfile, torch
        >>> from pathlib import Path
        >>> from cnnfast.images import save_image
        >>> from cnnfast.detection.data import CocoInstances
        >>> square = {"image_id": 7, "category_id": 3, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "iscrowd": 0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(torch.zeros(3, 5, 6), f"{folder}/a.png")
        ...     images = [{"id": 7, "file_name": "a.png", "height": 5, "width": 6}]
        ...     content = {"images": images, "annotations": [square], "categories": [{"id": 3, "name": "box"}]}
        ...     _ = Path(folder, "a.json").write_text(json.dumps(content))
        ...     data = CocoInstances(folder, f"{folder}/a.json")
        ...     picture, target = data[0]
        >>> target["boxes"], target["labels"], data.category_ids
        (tensor([[1., 1., 4., 3.]]), tensor([1]), {1: 3})
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        annotations: str | os.PathLike[str],
        *,
        crowd: bool = False,
        annotated_only: bool = False,
    ) -> None:
        super().__init__(crowd=crowd)
        self._folder, self._file = Path(images), Path(annotations)
        content = _read(self._file)
        self._pictures = {_whole(self._file, "image", entry, "id"): entry for entry in content["images"]}
        categories = {_whole(self._file, "category", entry, "id"): entry for entry in content["categories"]}
        labels = {category: label for label, category in enumerate(sorted(categories), 1)}
        self.category_ids = {label: category for category, label in labels.items()}
        self.categories = [str(categories[category].get("name", category)) for category in labels]
        self._annotations: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
        for entry in content["annotations"]:
            image, category = (_whole(self._file, "annotation", entry, key) for key in ("image_id", "category_id"))
            if image not in self._pictures or category not in labels:
                missing = f"image {image}" if image not in self._pictures else f"category {category}"
                raise AnnotationError(f"{self._file}: expected annotations of known images, got one of {missing}")
            self._annotations.setdefault(image, []).append((labels[category], entry))
        self.image_ids = sorted(self._annotations if annotated_only else self._pictures)
        if not self.image_ids:
            raise AnnotationError(f"{self._file}: expected at least one picture, got none")
        self.names = [_file_name(self._file, self._pictures[image]) for image in self.image_ids]
        self._sizes = [_picture_size(self._file, self._pictures[image]) for image in self.image_ids]

    def _path(self, index: int) -> Path:
        return self._folder / self.names[index]

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        self._check_size(index, self._sizes[index], size)
        entries = self._annotations.get(self.image_ids[index], [])
        height, width = self._sizes[index]
        masks = np.zeros((len(entries), height, width), dtype=np.uint8)
        areas = []
        for mask, (_, entry) in zip(masks, entries, strict=True):
            where = f"{self._file}: picture {self.image_ids[index]}, annotation {entry.get('id', 'without id')}"
            mask[:] = decode_segmentation(entry.get("segmentation"), height, width, where)
            area = entry.get("area", int(mask.sum()))
            if not _is_number(area):
                raise AnnotationError(f"{where}: expected area a number, got {area!r}")
            areas.append(float(area))
        return Objects(
            torch.from_numpy(masks),
            torch.tensor([label for label, _ in entries], dtype=torch.int64),
            torch.tensor([bool(entry.get("iscrowd", 0)) for _, entry in entries], dtype=torch.bool),
            torch.tensor(areas),
            image_id=self.image_ids[index],
        )


def decode_segmentation(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """The mask [H,W] uint8 of COCO's polygons or run lengths.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, ...], or a dict of size [H,W] and counts.
        height: H.
        width: W.
        where: file, picture and annotation, for messages.

    Raises:
        AnnotationError: it is of no such form, or of another size.

    Example:
        >>> from cnnfast.detection.data.coco import decode_segmentation
        >>> decode_segmentation({"size": [2, 2], "counts": [0, 1, 2, 1]}, 2, 2, "here")
        array([[1, 0],
               [0, 1]], dtype=uint8)
    """
    if isinstance(segmentation, Mapping):
        size = segmentation.get("size")
        if not isinstance(size, Sequence) or list(size) != [height, width]:
            raise AnnotationError(f"{where}: expected run lengths of size {[height, width]}, got {size!r}")
        return _from_runs(_runs(segmentation.get("counts"), where), height, width, where)
    if not isinstance(segmentation, list) or not segmentation:
        what = "an empty list" if segmentation == [] else type(segmentation).__name__
        raise AnnotationError(f"{where}: expected a segmentation of polygons or run lengths, got {what}")
    for polygon in segmentation:
        _check_polygon(polygon, height, width, where)
    library = coco_masks("CocoInstances")
    return library.decode(library.merge(library.frPyObjects(segmentation, height, width)))


def _check_polygon(polygon: Any, height: int, width: int, where: str) -> None:
    """Raise if corners lie far outside the picture: time and memory of rasterising grow with their distance."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        got = f"{len(polygon)} numbers" if isinstance(polygon, list) else type(polygon).__name__
        raise AnnotationError(f"{where}: expected polygons of at least three pairs of numbers, got {got}")
    for axis, side in ((0, width), (1, height)):
        for value in polygon[axis::2]:
            if not _is_number(value) or not -side <= value <= 2 * side:
                raise AnnotationError(f"{where}: expected corners in a picture of {width}x{height} px, got {value!r}")


def _runs(counts: Any, where: str) -> list[int]:
    """Lengths of runs of 0 and 1, alternating."""
    if isinstance(counts, list):
        if all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
            return counts
        raise AnnotationError(f"{where}: expected counts of whole numbers, got others")
    if not isinstance(counts, str):
        raise AnnotationError(f"{where}: expected counts as a list or a string, got {type(counts).__name__}")
    # A character holds five bits, the lowest first, and a sixth that is set if more characters follow; the fifth bit of
    # the last character is the sign. From the fourth on, a number is the difference to the one two places before.
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise AnnotationError(f"{where}: expected counts as COCO writes them, got {character!r} among them")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << shift - 4
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise AnnotationError(f"{where}: expected whole counts, got a string that breaks off")
    return runs


def _from_runs(runs: list[int], height: int, width: int, where: str) -> np.ndarray:
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        got = "negative ones" if min(runs, default=0) < 0 else f"{sum(runs)} px"
        raise AnnotationError(f"{where}: expected counts of {height * width} px together, got {got}")
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.repeat(values.astype(np.uint8), runs).reshape(width, height).T


def _read(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"{path}: expected JSON, got a file that is none: {error}") from error
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise AnnotationError(f"{path}: expected an object of COCO's form with a list of {key}, got none")
    return content


def _whole(path: Path, what: str, entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise AnnotationError(f"{path}: expected every {what} with a whole number as {key}, got {value!r}")
    return value


def _file_name(path: Path, entry: Mapping[str, Any]) -> str:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name or os.path.isabs(name) or ".." in Path(name).parts:
        raise AnnotationError(f"{path}: expected every image with a file_name inside the folder, got {name!r}")
    return name


def _picture_size(path: Path, entry: Mapping[str, Any]) -> tuple[int, int]:
    height, width = (_whole(path, "image", entry, key) for key in ("height", "width"))
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise AnnotationError(f"{path}: expected images of 1 to {MAX_PIXELS:.0e} px, got one of {width}x{height}")
    return height, width


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER
