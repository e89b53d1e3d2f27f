"""Pictures to train a style network on: any folder, crops that depend on nothing but the seed and their number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from cnnfast.images import ImageError, find_pictures, load_image, resize
from cnnfast.training.examples import TrainingExamples

if TYPE_CHECKING:
    from cnnfast.images.reading import Source

CROPS = ("random", "center")
# Random crops come from pictures whose shortest side is up to this many times the crop's.
_LARGEST_ZOOM = 1.5
# Of pictures longer than this many times their short side, which would be huge when that becomes the crop's, only the
# part that is needed is resized.
_LONGEST = 16


class Crops(NamedTuple):
    """A batch.

    Attributes:
        pictures: [B,3,S,S] in [0,1].
        skipped: what was said about each picture that could not be read.
    """

    pictures: Tensor
    skipped: list[str]


class TrainingPictures(TrainingExamples[Crops]):
    """Square crops of pictures; one that cannot be read is skipped, and the next one taken.

    Keys are those of :class:`~cnnfast.training.batches.TrainingBatches`. With crop "random" the picture is reduced to a
    shortest side of 1 to 1.5 times the crop's, cut at a random place and mirrored or not, with "center" reduced to the
    crop's side and cut in the middle. Smaller pictures are enlarged.

    Args:
        sources: whatever :func:`cnnfast.images.load_image` takes.
        side: of the crops in px.
        crop: "random" or "center".
        seed: of the random crops.

    Raises:
        ImageError: none of the pictures can be read, when the first crop is asked for.
        ValueError: an unknown crop, no sources, or a side below 1 px.
    """

    unreadable = (ImageError, RuntimeError, MemoryError)

    def __init__(self, sources: Sequence[Source], side: int, *, crop: str = "random", seed: int = 0) -> None:
        if crop not in CROPS:
            raise ValueError(f"TrainingPictures: expected crop {' or '.join(CROPS)}, got {crop!r}")
        if not sources or side < 1:
            raise ValueError(f"TrainingPictures: expected pictures and a side, got {len(sources)} and {side} px")
        super().__init__(sources, "TrainingPictures", seed)
        self._sources, self._side, self._crop = sources, side, crop

    def read(self, index: int) -> Tensor:
        """A picture [3,H,W]."""
        return load_image(self._sources[index])

    def describe(self, index: int) -> str:
        """A file's path, the number of any other source."""
        source = self._sources[index]
        return os.fspath(source) if isinstance(source, str | os.PathLike) else f"picture {index}"

    def prepare(self, example: Tensor, generator: torch.Generator, skipped: list[str]) -> Crops:
        """One crop [1,3,S,S]."""
        return Crops(self._cut(example, generator)[None], skipped)

    def _cut(self, picture: Tensor, generator: torch.Generator) -> Tensor:
        zoom, down, across, mirror = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        if self._crop == "center":
            zoom, down, across, mirror = 0.0, 0.5, 0.5, 0.0
        shortest = self._side * (1 + (_LARGEST_ZOOM - 1) * zoom)
        if max(picture.shape[1:]) > _LONGEST * min(picture.shape[1:]):
            picture, down, across = _part(picture, self._side / shortest, down, across)
        height, width = picture.shape[1:]
        factor = shortest / min(height, width)
        size = max(self._side, round(height * factor)), max(self._side, round(width * factor))
        picture = resize(picture, size)
        top, left = (round(part * (whole - self._side)) for part, whole in zip((down, across), size, strict=True))
        picture = picture[:, top : top + self._side, left : left + self._side]
        return picture.flip(2) if mirror >= 0.5 else picture


def _part(picture: Tensor, share: float, down: float, across: float) -> tuple[Tensor, float, float]:
    """The part of a long picture that a crop of `share` of the short side needs, and the crop's place inside it.

    Places are shares of what is left beside the crop, as in the whole picture.
    """
    height, width = picture.shape[1:]
    long, need = max(height, width), min(min(height, width) + 2, max(height, width))
    place = down if height > width else across
    start = min(long - need, max(0, round(place * (long - share * min(height, width))) - 1))
    if height > width:
        return picture[:, start : start + need], 0.5, across
    return picture[:, :, start : start + need], down, 0.5


def collate(crops: Sequence[Crops]) -> Crops:
    """Crops to a batch."""
    return Crops(torch.cat([crop.pictures for crop in crops]), [line for crop in crops for line in crop.skipped])


def as_sources(images: Any) -> list[Any]:
    """Pictures from a folder's path or any iterable of what `load_image` takes."""
    if isinstance(images, str | os.PathLike):
        return list(find_pictures(images))
    sources = list(images)
    if not sources:
        raise ValueError("train_fast_style: expected pictures, got none")
    return sources
