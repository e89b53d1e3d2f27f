"""Data sets in COCO's format: a folder of pictures, and one JSON file of annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from cnnfast.detection.data.base import AnnotationError, InstanceDataset, Objects, read_text
from cnnfast.detection.data.coco_segmentation import decode_segmentation, is_number
from cnnfast.images import MAX_PIXELS


class CocoInstances(InstanceDataset):
    """Instances of a data set in COCO's format.

    Segmentations are lists of polygons, or run lengths with counts as a list or a string. What COCO's own program
    (pycocotools) ignores is left out and named in the log: annotations of pictures or categories that are not listed,
    and all but the last picture or category of one id; likewise entries and segmentations of no valid form, at which it
    stops. An area that is no number is computed from the mask.

    Args:
        images: folder of the pictures.
        annotations: JSON file with "images" (id, file_name, height, width), "annotations" (image_id, category_id,
            segmentation; iscrowd and area where there are such) and "categories" (id, name).
        crowd: whether to keep crowd regions, see `InstanceDataset`.
        empty: whether to keep objects without a pixel, which COCO's evaluation counts as objects that are not found.
        annotated_only: whether to leave out pictures without an object.

    Attributes:
        names: file names of the pictures, in the order of their ids.
        categories: names in the order of their ids; label n is the n-th.
        category_ids: label to COCO's id, for `to_coco_results`.
        image_ids: of the pictures.

    Raises:
        AnnotationError: the file is no JSON of this form, or no picture or category of it can be used.

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
        empty: bool = False,
        annotated_only: bool = False,
    ) -> None:
        super().__init__(crowd=crowd, empty=empty)
        self._folder, self._file = Path(images), Path(annotations)
        content = _read(self._file)
        useless = _Useless()
        self._pictures: dict[int, _Picture] = {}
        for picture in useless.filter(content["images"], _picture):
            if picture.number in self._pictures:
                useless.add("images of an id that a later one has", {"id": picture.number})
            self._pictures[picture.number] = picture
        categories: dict[int, str] = {}
        for number, name in useless.filter(content["categories"], _category):
            if number in categories:
                useless.add("categories of an id that a later one has", {"id": number})
            categories[number] = name
        labels = {category: label for label, category in enumerate(sorted(categories), 1)}
        self.category_ids = {label: category for category, label in labels.items()}
        self.categories = [categories[category] for category in labels]
        self._annotations: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
        for image, category, entry in useless.filter(content["annotations"], _annotation):
            if image not in self._pictures:
                useless.add("annotations of an image that is not listed", entry)
            elif category not in labels:
                useless.add("annotations of a category that is not listed", entry)
            else:
                self._annotations.setdefault(image, []).append((labels[category], entry))
        for sentence in useless.sentences():
            self._leave_out(f"{self._file}: {sentence}")
        if not labels and content["annotations"]:
            raise AnnotationError(f"{self._file}: expected at least one category of a whole number as id, got none")
        self.image_ids = sorted(self._annotations if annotated_only else self._pictures)
        if not self.image_ids:
            raise AnnotationError(f"{self._file}: expected at least one picture, got none")
        self.names = [self._pictures[image].name for image in self.image_ids]

    def _path(self, index: int) -> Path:
        return self._folder / self.names[index]

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        image = self.image_ids[index]
        height, width = self._pictures[image].size
        self._check_size(index, (height, width), size)
        masks, labels, crowd, areas = [], [], [], []
        for label, entry in self._annotations.get(image, []):
            where = f"{self._file}: picture {image}, annotation {entry.get('id', 'without id')}"
            try:
                mask = decode_segmentation(entry.get("segmentation"), height, width, where)
            except AnnotationError as error:
                self._leave_out(str(error))
                continue
            area: Any = entry.get("area")
            masks.append(torch.from_numpy(mask))
            labels.append(label)
            crowd.append(bool(entry.get("iscrowd", 0)))
            areas.append(float(area if is_number(area) else mask.sum()))
        return Objects(
            torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.uint8),
            torch.tensor(labels, dtype=torch.int64),
            torch.tensor(crowd, dtype=torch.bool),
            torch.tensor(areas),
            image_id=image,
        )


class _Picture(NamedTuple):
    """An entry of "images": its id, file name, and (height, width)."""

    number: int
    name: str
    size: tuple[int, int]


_Entry = Mapping[str, Any]
_T = TypeVar("_T")


class _Useless:
    """Entries that cannot be used, by what is wrong with them."""

    def __init__(self) -> None:
        self._entries: dict[str, list[_Entry]] = {}

    def add(self, reason: str, entry: _Entry) -> None:
        """An entry more."""
        self._entries.setdefault(reason, []).append(entry)

    def filter(self, entries: Iterable[_Entry], read: Callable[[_Entry], _T]) -> Iterator[_T]:
        """What `read` makes of the entries, but for those at which it raises."""
        for entry in entries:
            if not isinstance(entry, Mapping):
                self.add("entries that are no objects", {})
                continue
            try:
                yield read(entry)
            except _UnusableError as error:
                self.add(str(error), entry)

    def sentences(self) -> Iterator[str]:
        """How many there are of a kind, and which is the first."""
        for reason, entries in self._entries.items():
            yield f"{len(entries)} {reason}, the first of id {entries[0].get('id')!r}"


class _UnusableError(Exception):
    """An entry that cannot be used; the message is of those that are left out, after their count."""


def _picture(entry: _Entry) -> _Picture:
    number = _whole("images", entry, "id")
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name or os.path.isabs(name) or ".." in Path(name).parts:
        raise _UnusableError("images without a file_name inside the folder")
    height, width = (_whole("images", entry, key) for key in ("height", "width"))
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise _UnusableError(f"images of no pixel or more than {MAX_PIXELS:.0e}")
    return _Picture(number, name, (height, width))


def _category(entry: _Entry) -> tuple[int, str]:
    number = _whole("categories", entry, "id")
    return number, str(entry.get("name", number))


def _annotation(entry: _Entry) -> tuple[int, int, _Entry]:
    return _whole("annotations", entry, "image_id"), _whole("annotations", entry, "category_id"), entry


def _whole(what: str, entry: _Entry, key: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise _UnusableError(f"{what} without a whole number as {key}")
    return value


def _read(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"{path}: expected JSON, got a file that is none: {error}") from error
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or (entries and not any(isinstance(entry, dict) for entry in entries)):
            raise AnnotationError(f"{path}: expected an object of COCO's form with a list of {key}, got none")
    return content
