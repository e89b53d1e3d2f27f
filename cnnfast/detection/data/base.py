"""What data sets of instance segmentation have in common: pictures, and targets as torchvision's models take them."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cnnfast._errors import InputError
from cnnfast._files import problem_of
from cnnfast.detection.boxes import mask_areas, tight_boxes
from cnnfast.images import load_image

logger = logging.getLogger(__name__)

Target = dict[str, Tensor]
"""Ground truth of a picture; see `InstanceDataset`."""


class AnnotationError(InputError):
    """An annotation cannot be read or used; the message is one line and names the file."""


@dataclass
class Objects:
    """Objects of a picture.

    Attributes:
        masks: [n,H,W] bool or integers.
        labels: [n], 1..C.
        crowd: [n] bool, crowd regions: many objects in one mask; None if there are none.
        area: [n] in px; None: computed from the masks.
        ignore: [H,W] bool, unlabelled pixels; None if the data set does not mark them.
        image_id: number of the picture; None: its index.
    """

    masks: Tensor
    labels: Tensor
    crowd: Tensor | None = None
    area: Tensor | None = None
    ignore: Tensor | None = None
    image_id: int | None = None


class InstanceDataset(Dataset[tuple[Tensor, Target]], ABC):
    """Pictures with their objects.

    An item is a picture [3,H,W], RGB in [0,1], and its target, a dict of

    - boxes [n,4] float32, (x0,y0,x1,y1) in continuous coordinates, tight around the masks;
    - labels [n] int64, 1..C, in the order of `categories`;
    - masks [n,H,W] uint8, 0 or 1;
    - area [n] float32 in px; image_id [1] int64; iscrowd [n] int64, 1 for crowd regions, many objects in one mask;
    - ignore [H,W] bool, unlabelled pixels, if the data set marks them.

    Pictures are as they are stored, not turned as an EXIF orientation says, since annotations belong to the stored
    pixels. Objects without a pixel are left out unless `empty` is True, and crowd regions unless `crowd` is True:
    networks are trained without them and evaluated with them. An annotation that cannot be used is left out, and named
    in the log.

    Attributes:
        names: of the pictures.
        categories: names of the C classes.
        left_out: what could not be used so far, a sentence each. Pictures are read when they are asked for, in
            processes of their own if there are several, so that only one that has read all of them knows it all.
    """

    names: Sequence[str]
    categories: Sequence[str]

    def __init__(self, *, crowd: bool = False, empty: bool = False) -> None:
        self._crowd, self._empty = crowd, empty
        self.left_out: list[str] = []

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """A picture and its target.

        Raises:
            IndexError: there is no such picture.
            ImageError: a picture, or a picture of labels, cannot be read.
            AnnotationError: the annotation cannot be used, or is of another size than the picture.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: expected an index below {len(self)}, got {index}")
        index %= len(self)
        picture = self._picture(index)
        return picture, self._target(index, self._objects(index, picture.shape[1:]))

    def _picture(self, index: int) -> Tensor:
        return load_image(self._path(index), upright=False)

    def _target(self, index: int, objects: Objects) -> Target:
        masks = objects.masks.bool()
        crowd = torch.zeros(len(masks), dtype=torch.bool) if objects.crowd is None else objects.crowd
        area = mask_areas(masks) if objects.area is None else objects.area
        kept = torch.full((len(masks),), self._empty)
        if masks.numel():
            kept |= masks.flatten(1).any(1)
        if not self._crowd:
            kept = kept & ~crowd
        target = {
            "boxes": tight_boxes(masks[kept]),
            "labels": objects.labels[kept].long(),
            "masks": masks[kept].to(torch.uint8),
            "image_id": torch.tensor([index if objects.image_id is None else objects.image_id]),
            "area": area[kept].float(),
            "iscrowd": crowd[kept].long(),
        }
        return target if objects.ignore is None else target | {"ignore": objects.ignore}

    def _leave_out(self, what: str) -> None:
        if what not in self.left_out:
            self.left_out.append(what)
            logger.warning("left out: %s", what)

    @abstractmethod
    def _path(self, index: int) -> Path:
        """The file of a picture."""

    @abstractmethod
    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        """The objects of a picture of (height, width) `size`, which `_check_size` compares with the annotation."""

    def _check_size(self, index: int, annotated: Sequence[int], size: Sequence[int]) -> None:
        if tuple(annotated) != tuple(size):
            (height, width), got = annotated, f"{size[1]}x{size[0]}"
            if (width, height) == tuple(size):
                got += ", as it is stored: annotations belong to the pixels before an EXIF orientation turns them"
            raise AnnotationError(f"{self._path(index)}: expected {width}x{height} px as its annotation, got {got}")


def split_objects(labels: Tensor, *, besides: Sequence[int] = (0,)) -> tuple[Tensor, Tensor]:
    """A mask for each object of a label picture.

    Args:
        labels: [H,W] int64, the number of each pixel's object.
        besides: numbers that are not objects.

    Returns:
        the numbers [n], rising, and the masks [n,H,W] bool.
    """
    numbers = labels.unique()
    numbers = numbers[~torch.isin(numbers, torch.tensor(besides))]
    return numbers, labels[None] == numbers[:, None, None]


def read_names(path: Path) -> list[str]:
    """The first word of each line of a file that lists pictures; VOC writes flags after the name.

    Raises:
        AnnotationError: the file is missing or empty, or a name leaves the folder.
    """
    text = read_text(path)
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    if not names:
        raise AnnotationError(f"{path}: expected names of pictures, one a line, got none")
    for name in names:
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise AnnotationError(f"{path}: expected names of pictures, got {name!r}")
    return names


def read_text(path: Path) -> str:
    """The contents of a text file.

    Raises:
        AnnotationError: it cannot be read, or is not text.
    """
    check_annotation_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise AnnotationError(f"{path}: expected a file of text, got bytes that are none") from None
    except OSError as error:
        raise AnnotationError(f"{path}: expected a readable file, got: {error.strerror}") from error


def check_annotation_file(path: Path) -> None:
    """Check that a path is a regular file, since reading from a pipe would block.

    Raises:
        AnnotationError: it is not.
    """
    problem = problem_of(path)
    if problem is not None and problem != "is empty":
        got = {"does not exist": "nothing", "is a directory": "a folder"}.get(problem, f"one that {problem}")
        raise AnnotationError(f"{path}: expected a file of annotations, got {got}")


def check_folder(path: Path) -> Path:
    """The path, if it is a folder.

    Raises:
        AnnotationError: it is not.
    """
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing"
        raise AnnotationError(f"{path}: expected a folder of the data set, got {what}")
    return path
