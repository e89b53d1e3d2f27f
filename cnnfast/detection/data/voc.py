"""PASCAL VOC's segmentations, and the Semantic Boundaries Dataset (SBD), which has them for more of its pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnfast._rooms import missing_package
from cnnfast.detection.data.base import (
    AnnotationError,
    InstanceDataset,
    Objects,
    check_annotation_file,
    check_folder,
    read_names,
    split_objects,
)
from cnnfast.images.labels import load_labels

VOC_CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Names of labels 1 to 20."""

VOID = 255
"""Pixels between objects, and objects too hard to label, in VOC's pictures of labels."""


class VOCInstances(InstanceDataset):
    r"""Instances of PASCAL VOC: folders JPEGImages, SegmentationObject, SegmentationClass, and ImageSets/Segmentation.

    Args:
        root: the folder of a year, VOCdevkit/VOC2012.
        split: name of a list in ImageSets/Segmentation: "train", "val", "trainval", or one of your own.

    Attributes:
        names: of the pictures, without ending.
        categories: the 20 classes.

    Raises:
        AnnotationError: folders or lists are missing, or a picture of labels cannot be used.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from cnnfast.images import save_image
        >>> from cnnfast.detection.data import VOCInstances
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        ...         Path(folder, part).mkdir(parents=True)
        ...     _ = Path(folder, "ImageSets/Segmentation/val.txt").write_text("a\n")
        ...     save_image(torch.zeros(3, 2, 3), f"{folder}/JPEGImages/a.jpg")
        ...     save_image(torch.tensor([[[0.0, 1, 1], [0, 0, 255]]]) / 255, f"{folder}/SegmentationObject/a.png")
        ...     save_image(torch.tensor([[[0.0, 7, 7], [0, 0, 255]]]) / 255, f"{folder}/SegmentationClass/a.png")
        ...     picture, target = VOCInstances(folder, "val")[0]
        >>> target["boxes"], target["labels"], target["ignore"].sum()
        (tensor([[1., 0., 3., 1.]]), tensor([7]), tensor(1))
    """

    categories = VOC_CATEGORIES

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        super().__init__()
        self._root = check_folder(Path(root))
        self.names = read_names(self._root / "ImageSets" / "Segmentation" / f"{split}.txt")
        for part in ("JPEGImages", "SegmentationObject", "SegmentationClass"):
            check_folder(self._root / part)

    def _path(self, index: int) -> Path:
        return self._root / "JPEGImages" / f"{self.names[index]}.jpg"

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        path, of_classes = (
            self._root / part / f"{self.names[index]}.png" for part in ("SegmentationObject", "SegmentationClass")
        )
        objects = load_labels(path)
        self._check_size(index, objects.shape, size)
        classes = load_labels(of_classes)
        if objects.shape != classes.shape:
            sizes = " and ".join(f"{labels.shape[1]}x{labels.shape[0]} px" for labels in (objects, classes))
            raise AnnotationError(f"{path}: expected objects and classes of one size, got {sizes}")
        _, masks = split_objects(objects, besides=(0, VOID))
        labels = torch.tensor([_class_of(path, classes[mask]) for mask in masks], dtype=torch.int64)
        return Objects(masks, labels, ignore=objects == VOID)


class SBDInstances(InstanceDataset):
    r"""Instances of the Semantic Boundaries Dataset: folders img and inst, and lists train.txt and val.txt.

    BAIS and multi-task network cascades were trained on its "train" and evaluated on its "val".

    Args:
        root: its folder "dataset".
        split: name of a list: "train", "val", "train_noval" (no picture of VOC 2012 val), or one of your own.

    Attributes:
        names: of the pictures, without ending.
        categories: the 20 classes of PASCAL VOC.

    Raises:
        AnnotationError: folders or lists are missing, or a file of instances cannot be used.
        ImportError: SciPy is not installed.

    Source: Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011.

    Example:
        >>> import tempfile, torch
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from scipy.io import savemat
        >>> from cnnfast.images import save_image
        >>> from cnnfast.detection.data import SBDInstances
        >>> numbers = np.array([[0, 1, 1], [2, 2, 0]], dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "img").mkdir(), Path(folder, "inst").mkdir()
        ...     _ = Path(folder, "val.txt").write_text("a\n")
        ...     save_image(torch.zeros(3, 2, 3), f"{folder}/img/a.jpg")
        ...     content = {"Segmentation": numbers, "Categories": np.array([[7], [15]])}
        ...     savemat(f"{folder}/inst/a.mat", {"GTinst": content})
        ...     picture, target = SBDInstances(folder, "val")[0]
        (None, None)
        >>> target["boxes"], target["labels"]
        (tensor([[1., 0., 3., 1.],
                [0., 1., 2., 2.]]), tensor([ 7, 15]))
    """

    categories = VOC_CATEGORIES

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        super().__init__()
        self._root = check_folder(Path(root))
        self.names = read_names(self._root / f"{split}.txt")
        for part in ("img", "inst"):
            check_folder(self._root / part)
        _matlab_reader()

    def _path(self, index: int) -> Path:
        return self._root / "img" / f"{self.names[index]}.jpg"

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        path = self._root / "inst" / f"{self.names[index]}.mat"
        labels, categories = _read_instances(path)
        self._check_size(index, labels.shape, size)
        numbers, masks = split_objects(labels)
        if bool(((numbers < 1) | (numbers > len(categories))).any()):
            got = f"{len(categories)} for the numbers {numbers.tolist()}"
            raise AnnotationError(f"{path}: expected a category for every object, got {got}")
        chosen = categories[numbers - 1]
        if bool(((chosen < 1) | (chosen > len(VOC_CATEGORIES))).any()):
            raise AnnotationError(f"{path}: expected categories of 1..{len(VOC_CATEGORIES)}, got {chosen.tolist()}")
        return Objects(masks, chosen)


def _read_instances(path: Path) -> tuple[Tensor, Tensor]:
    """The object numbers [H,W] of a file of the SBD, and the category of each object, from 1 on."""
    check_annotation_file(path)
    try:
        content = _matlab_reader()(str(path))["GTinst"]
        numbers, categories = (np.asarray(content[key][0, 0]) for key in ("Segmentation", "Categories"))
        if numbers.ndim != 2 or numbers.dtype.kind not in "ui" or categories.dtype.kind not in "ui":
            raise TypeError("its Segmentation or Categories are no whole numbers")
    except Exception as error:  # SciPy raises nearly every type there is for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AnnotationError(f"{path}: expected MATLAB's GTinst of the SBD, got {reason}") from error
    return torch.from_numpy(numbers.astype(np.int64)), torch.from_numpy(categories.astype(np.int64).ravel())


def _class_of(path: Path, classes: Tensor) -> int:
    """The class of most of an object's pixels."""
    known = classes[(classes >= 1) & (classes <= len(VOC_CATEGORIES))]
    if not len(known):
        raise AnnotationError(f"{path}: expected a class of 1..{len(VOC_CATEGORIES)} for every object, got none")
    return int(known.bincount().argmax())


def _matlab_reader() -> Any:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise missing_package("SBDInstances", "scipy") from error
    return loadmat
