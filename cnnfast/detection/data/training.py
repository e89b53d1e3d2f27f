"""Pictures with their objects for training: mirrored or not by the seed, unreadable ones skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from cnnfast.training.examples import TrainingExamples

_KEYS = ("boxes", "labels", "masks")


class Scenes(NamedTuple):
    """A batch.

    Attributes:
        pictures: [3,H,W] in [0,1], of any sizes.
        targets: boxes [n,4], labels [n] and masks [n,H,W] of each picture.
        skipped: error message of each picture that could not be read.
    """

    pictures: list[Tensor]
    targets: list[dict[str, Tensor]]
    skipped: list[str]


class AnnotatedPictures(Sized, Protocol):
    """A data set: pictures [3,H,W] in [0,1], each with boxes [n,4], labels [n] from 1 on and masks [n,H,W]."""

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """One of them; ValueError or OSError where it cannot be read."""


class TrainingScenes(TrainingExamples[Scenes]):
    """Pictures of a data set with their objects; one that cannot be read is skipped, and the next one taken.

    Keys are those of :class:`~cnnfast.training.batches.TrainingBatches`; whether a picture is mirrored depends on the
    seed and its number. Objects without area, and regions that are crowds (``iscrowd``), are left out.

    Args:
        data: the data set.
        flip: whether half of the pictures are mirrored.
        classless: whether all objects are of one class.
        seed: of the choice of mirrored pictures.
        check: called with the (height, width) of each picture; raises ValueError where the network cannot take it.

    Raises:
        ValueError: none of the pictures can be read, when the first one is asked for.

    Example:
        >>> import torch
        >>> from cnnfast.detection.data.training import TrainingScenes
        >>> mask = torch.zeros(1, 4, 8, dtype=torch.bool)
        >>> mask[:, 1:3, 2:6] = True
        >>> target = {"boxes": torch.tensor([[2.0, 1.0, 6.0, 3.0]]), "labels": torch.tensor([3]), "masks": mask}
        >>> scenes = TrainingScenes([(torch.rand(3, 4, 8), target)], flip=False)
        >>> scenes[(0, 0)].targets[0]["labels"]
        tensor([3])
    """

    def __init__(
        self,
        data: AnnotatedPictures,
        *,
        flip: bool = True,
        classless: bool = False,
        seed: int = 0,
        check: Callable[[tuple[int, int]], None] | None = None,
    ) -> None:
        super().__init__(data, "train_segmentation", seed)
        self._data, self._flip, self._classless, self._check = data, flip, classless, check

    def read(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """A picture with its annotation."""
        picture, annotation = self._data[index]
        if self._check is not None:
            self._check((picture.shape[1], picture.shape[2]))
        return picture, annotation

    def describe(self, index: int) -> str:
        """The picture's name where the data set knows it."""
        return name_of(self._data, index)

    def prepare(self, example: tuple[Tensor, dict[str, Any]], generator: torch.Generator, skipped: list[str]) -> Scenes:
        """One picture, mirrored or not."""
        picture, annotation = example
        target = self._target(annotation)
        if self._flip and bool(torch.rand((), generator=generator) < 0.5):
            picture, target = mirror(picture, target)
        return Scenes([picture], [target], skipped)

    def _target(self, annotation: dict[str, Any]) -> dict[str, Tensor]:
        boxes, crowd = annotation["boxes"], annotation.get("iscrowd")
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1) & annotation["masks"].bool().flatten(1).any(1)
        if crowd is not None:
            kept &= ~crowd.bool()
        target = {name: annotation[name][kept] for name in _KEYS}
        if self._classless:
            target["labels"] = torch.ones_like(target["labels"])
        return target


def name_of(data: AnnotatedPictures, index: int) -> str:
    """The name of a picture of a data set, its number where there are no names.

    Example:
        >>> from cnnfast.detection.data.training import name_of
        >>> name_of([], 3)
        'picture 3'
    """
    names = getattr(data, "names", None)
    return f"picture {index}" if names is None else str(names[index])


def mirror(picture: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A picture and its objects with left and right exchanged.

    Example:
        >>> import torch
        >>> from cnnfast.detection.data.training import mirror
        >>> target = {"boxes": torch.tensor([[1.0, 0.0, 3.0, 2.0]]), "masks": torch.ones(1, 4, 8)}
        >>> mirror(torch.rand(3, 4, 8), target)[1]["boxes"]
        tensor([[5., 0., 7., 2.]])
    """
    width = picture.shape[2]
    x0, y0, x1, y1 = target["boxes"].unbind(1)
    boxes = torch.stack([width - x1, y0, width - x0, y1], 1)
    return picture.flip(2), {**target, "boxes": boxes, "masks": target["masks"].flip(2)}


def collate(scenes: Sequence[Scenes]) -> Scenes:
    """Pictures to a batch."""
    return Scenes(
        [picture for scene in scenes for picture in scene.pictures],
        [target for scene in scenes for target in scene.targets],
        [line for scene in scenes for line in scene.skipped],
    )
