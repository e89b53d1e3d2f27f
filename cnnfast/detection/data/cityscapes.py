"""Instances of Cityscapes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from cnnfast.detection.data.base import (
    AnnotationError,
    InstanceDataset,
    Objects,
    check_folder,
    split_objects,
)
from cnnfast.images.labels import load_labels

CITYSCAPES_CATEGORIES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Number of each class with instances in Cityscapes' files, and its name."""

# Classes that Cityscapes does not evaluate: unlabelled areas, the ego vehicle, the picture's frame, rare classes.
_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
# The pixels of instance i of class c are 1000 c + i; values below 1000 are classes, here those of groups of objects.
_FACTOR = 1000
_END = 34 * _FACTOR
_PICTURE, _LABELS = "_leftImg8bit.png", "instanceIds.png"


class CityscapesInstances(InstanceDataset):
    """Instances of Cityscapes: folders leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY.

    Labels 1 to 8 are person, rider, car, truck, bus, train, motorcycle, bicycle. Groups of objects that are not
    separated into instances are crowd regions (iscrowd). The target's "ignore" are the pixels of classes that the
    benchmark does not evaluate, as `cityscapes_ap` takes them.

    Args:
        root: folder of leftImg8bit and gtFine.
        split: "train", "val", "test", or another folder of the two.
        mode: "fine" or "coarse", for gtFine or gtCoarse.
        crowd: whether to keep groups, see `InstanceDataset`.

    Attributes:
        names: of the pictures, as CITY/NAME, sorted.
        categories: the eight classes.
        category_ids: label to Cityscapes' number of the class.

    Raises:
        AnnotationError: folders are missing or without pictures, or a picture of labels cannot be used.
        ValueError: an unknown mode.

    Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from cnnfast.images import save_image
        >>> from cnnfast.detection.data import CityscapesInstances
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pictures, labels = (Path(folder, part, "val", "ulm") for part in ("leftImg8bit", "gtFine"))
        ...     pictures.mkdir(parents=True), labels.mkdir(parents=True)
        ...     save_image(torch.zeros(3, 2, 3), pictures / "ulm_0_0_leftImg8bit.png")
        ...     numbers = torch.tensor([[[7.0, 26000, 26001], [7, 26, 4]]])  # road, two cars, a group of them, void
        ...     save_image(numbers / 65535, labels / "ulm_0_0_gtFine_instanceIds.png", bits=16)
        ...     picture, target = CityscapesInstances(folder, "val", crowd=True)[0]
        (None, None)
        >>> target["labels"], target["iscrowd"], target["ignore"].sum()
        (tensor([3, 3, 3]), tensor([1, 0, 0]), tensor(1))
    """

    categories = tuple(CITYSCAPES_CATEGORIES.values())

    def __init__(
        self, root: str | os.PathLike[str], split: str = "train", *, mode: str = "fine", crowd: bool = False
    ) -> None:
        if mode not in ("fine", "coarse"):
            raise ValueError(f'CityscapesInstances: expected mode "fine" or "coarse", got {mode!r}')
        super().__init__(crowd=crowd)
        self._kind = f"gt{mode.capitalize()}"
        folder = check_folder(Path(root))
        self._pictures = check_folder(folder / "leftImg8bit" / split)
        self._labels = check_folder(folder / self._kind / split)
        files = sorted(self._pictures.glob(f"*/*{_PICTURE}"))
        if not files:
            raise AnnotationError(f"{self._pictures}: expected pictures CITY/*{_PICTURE}, got none")
        self.names = [str(file.relative_to(self._pictures))[: -len(_PICTURE)] for file in files]
        self.category_ids = dict(enumerate(CITYSCAPES_CATEGORIES, 1))

    def _path(self, index: int) -> Path:
        return self._pictures / f"{self.names[index]}{_PICTURE}"

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        path = self._labels / f"{self.names[index]}_{self._kind}_{_LABELS}"
        pixels = load_labels(path)
        self._check_size(index, pixels.shape, size)
        largest = int(pixels.max())
        if largest >= _END:
            raise AnnotationError(f"{path}: expected numbers of instances below {_END}, got {largest}")
        classes = torch.where(pixels < _FACTOR, pixels, pixels // _FACTOR)
        evaluated = torch.isin(classes, torch.tensor(list(CITYSCAPES_CATEGORIES)))
        numbers, masks = split_objects(torch.where(evaluated, pixels, 0))
        known = list(CITYSCAPES_CATEGORIES)
        owners = torch.where(numbers < _FACTOR, numbers, numbers // _FACTOR).tolist()
        labels = torch.tensor([known.index(owner) + 1 for owner in owners], dtype=torch.int64)
        return Objects(masks, labels, numbers < _FACTOR, ignore=torch.isin(pixels, torch.tensor(_VOID)))
