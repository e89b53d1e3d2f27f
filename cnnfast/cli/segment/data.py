"""The data set of a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnfast._errors import InputError
from cnnfast._options import argument, option
from cnnfast.detection.data import (
    AnnotationError,
    CityscapesInstances,
    CocoInstances,
    InstanceDataset,
    SBDInstances,
    SyntheticInstances,
    VOCInstances,
)
from cnnfast.models.instance_segmentation.architectures import CLASSLESS

SYNTHETIC, CITYSCAPES = "synthetic", "cityscapes"
FORMATS = ("auto", "coco", "voc", "sbd", CITYSCAPES, SYNTHETIC)

_OBJECT = "object"  # the class of networks that tell none apart
# Synthetic pictures of other splits than "train" have seeds that no training sees.
_OTHER_SEEDS = 10_000_000
# Format -> what its folder has.
_MARKS = {"voc": "SegmentationObject", "sbd": "inst", CITYSCAPES: "leftImg8bit"}


@dataclass(kw_only=True)
class DataOptions:
    """Which data set a command works on."""

    data: str = argument("folder of a data set (COCO: of its pictures), or the word synthetic")
    format: str = option("auto, coco, voc, sbd, cityscapes or synthetic", default="auto", choices=FORMATS)
    annotations: Path | None = option("JSON file of a data set in COCO's format", default=None)
    split: str = option("part of the data set, as train or val", default="train")
    pictures: int = option("number of synthetic pictures", default=256, minimum=1)
    side: int = option("of synthetic pictures, in px", default=96)
    objects: int = option("in each synthetic picture", default=2)

    @property
    def inputs(self) -> list[Path]:
        """Files that are read, but for pictures."""
        return [] if self.annotations is None else [self.annotations]

    @property
    def kind(self) -> str:
        """The format, named or found.

        Raises:
            InputError: it cannot be found.
        """
        if self.format != "auto":
            return self.format
        if self.annotations is not None:
            return "coco"
        if self.data == SYNTHETIC:
            return SYNTHETIC
        for kind, mark in _MARKS.items():
            if (Path(self.data) / mark).is_dir():
                return kind
        what = "a folder of none of them" if Path(self.data).is_dir() else "no folder"
        marks = ", ".join(f"{mark} ({kind})" for kind, mark in _MARKS.items())
        raise InputError(
            f"{self.data}: expected a folder with {marks}, one of pictures with --annotations (coco), or the word "
            f"synthetic, got {what}"
        )


def open_data(options: DataOptions, *, evaluation: bool = False) -> InstanceDataset:
    """The data set.

    Args:
        options: that name it.
        evaluation: whether what only an evaluation needs is in it, where the format has such: regions of many objects,
            objects without a pixel.

    Raises:
        InputError: it cannot be read; the message names the file.
    """
    kind = options.kind
    if kind == "coco":
        if options.annotations is None:
            raise InputError("--annotations: expected the JSON file of a data set in COCO's format, got none")
        return CocoInstances(_folder(options.data), options.annotations, crowd=evaluation, empty=evaluation)
    if options.annotations is not None:
        raise InputError(f"--annotations: expected it with --format coco alone, got it with {kind}")
    if kind == "voc":
        return VOCInstances(options.data, options.split)
    if kind == "sbd":
        return SBDInstances(options.data, options.split)
    if kind == CITYSCAPES:
        return CityscapesInstances(options.data, options.split, crowd=evaluation)
    seed = 0 if options.split == "train" else _OTHER_SEEDS
    return SyntheticInstances(options.pictures, seed=seed, size=options.side, objects=options.objects)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        what = "a file" if Path(text).exists() else "nothing"
        raise AnnotationError(f"{text}: expected a folder of pictures, got {what}")
    return Path(text)


def classes_of(data: InstanceDataset, kind: str) -> tuple[list[str], list[int]]:
    """Names and numbers of the classes that a kind of network tells apart."""
    if kind in CLASSLESS:
        return [_OBJECT], [1]
    names = list(data.categories)
    numbers: Any = getattr(data, "category_ids", None)
    return names, list(range(1, len(names) + 1)) if numbers is None else list(numbers.values())
