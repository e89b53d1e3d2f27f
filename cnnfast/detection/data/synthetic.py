"""Pictures of simple shapes that a small network learns within a minute, and boxes perturbed at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from cnnfast.detection.checks import check_boxes
from cnnfast.detection.data.base import InstanceDataset, Objects, Target

SHAPES = ("ellipse", "rectangle", "star")
"""Kinds of shapes; their numbers from 1 on are the labels."""

# Half axes in px; centres keep the larger one from the edges.
_SMALLEST, _LARGEST = 8.0, 16.0
_FLATTEST = 0.55
_DARKEST, _BRIGHTEST = 0.2, 0.8
_CONTRAST = 0.25
_NOISE = 0.08
_LEAST_AREA = 100
_LEAST_VISIBLE = 0.6
# Largest shift, as a share of the box's size, and largest logarithm of the factor of its sides.
_SHIFT = _LOG_SCALE = 0.4
_ATTEMPTS = 1000


def synthetic_instances(seed: int, size: int = 64, n: int = 1) -> tuple[Tensor, Target]:
    """A picture of n shapes on a plain background, with noise.

    Background: each channel uniform in [0.2,0.8]. Shapes: an ellipse, a rotated rectangle or a star with equal
    probability; half axes a uniform in [8,16] px and b in [0.55 a, a]; centre uniform, 16 px and more from the edges;
    any angle; at least 100 px large; a uniform colour that differs from the background by more than 0.25 in some
    channel. Later shapes hide earlier ones, of which at least 60 % stay visible. Noise: Gaussian of deviation 0.08,
    clipped to [0,1]. With (u,v) the offsets of pixel centres along the axes::

        ellipse    (u/a)^2 + (v/b)^2 <= 1
        rectangle  |u| <= a  and  |v| <= b
        star       hypot(u/a, v/b) <= 0.8 + 0.35 cos(5 atan2(v, u))

    Args:
        seed: the same one gives the same picture.
        size: side in px, at least 32.
        n: number of shapes.

    Returns:
        The picture [3,size,size] and its target, see `InstanceDataset`; label 1 is an ellipse, 2 a rectangle, 3 a star.

    Raises:
        ValueError: a size below 32, a negative seed or n, or more shapes than find a place.

    Example:
        >>> from cnnfast.detection.data import synthetic_instances
        >>> picture, target = synthetic_instances(0, n=2)
        >>> picture.shape, target["masks"].shape
        (torch.Size([3, 64, 64]), torch.Size([2, 64, 64]))
    """
    data = SyntheticInstances(1, seed=seed, size=size, objects=n)
    return data[0]


class SyntheticInstances(InstanceDataset):
    """A data set of `synthetic_instances`: picture i has the seed `seed` + i.

    Args:
        count: number of pictures.
        seed: of the first one.
        size: side in px, at least 32.
        objects: shapes in each.

    Example:
        >>> from cnnfast.detection.data import SyntheticInstances
        >>> data = SyntheticInstances(3, size=128, objects=4)
        >>> len(data), data[2][1]["labels"].shape
        (3, torch.Size([4]))
    """

    categories = SHAPES

    def __init__(self, count: int, seed: int = 0, size: int = 64, objects: int = 1) -> None:
        super().__init__()
        for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size", size, 32), ("n", objects, 0)):
            if value < least:
                raise ValueError(f"synthetic_instances: expected {name} of at least {least}, got {value}")
        self.names = [f"synthetic {number}" for number in range(seed, seed + count)]
        self._seed, self._side, self._count = seed, size, objects

    def _picture(self, index: int) -> Tensor:
        return _draw(self._seed + index, self._side, self._count)[0].clone()

    def _path(self, index: int) -> Path:
        return Path(self.names[index])

    def _objects(self, index: int, size: Sequence[int]) -> Objects:
        _, masks, labels = _draw(self._seed + index, self._side, self._count)
        return Objects(masks, labels)


def perturb_boxes(
    boxes: Tensor,
    image_size: tuple[int, int],
    iou: tuple[float, float] = (0.4, 0.7),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random boxes whose IoU with the given ones is in a range.

    Each box is shifted by a share of its size uniform in [-0.4,0.4] in x and in y, its width and height multiplied by
    exp(u), u uniform in [-0.4,0.4], and clipped to the picture; drawn again until its IoU with the given box is right.

    Args:
        boxes: [n,4], (x0,y0,x1,y1).
        image_size: (height, width).
        iou: the least and the largest IoU.
        generator: of the random numbers; None is torch's own.

    Returns:
        [n,4], the dtype of boxes.

    Raises:
        ValueError: no such box is found; boxes or bounds of another form.
        TypeError: boxes are no floating tensor.

    Example:
        >>> import torch
        >>> from torchvision.ops import box_iou
        >>> from cnnfast.detection.data import perturb_boxes
        >>> boxes = torch.tensor([[10.0, 10.0, 30.0, 40.0]])
        >>> moved = perturb_boxes(boxes, (64, 64), (0.5, 0.6), torch.Generator().manual_seed(0))
        >>> bool(0.5 <= box_iou(boxes, moved) <= 0.6)
        True
    """
    check_boxes("perturb_boxes", boxes)
    low, high = iou
    if not 0 <= low <= high <= 1:
        raise ValueError(f"perturb_boxes: expected iou (least, largest) in [0,1], got {iou}")
    height, width = image_size
    edges = boxes.new_tensor([width, height, width, height])
    result = boxes.detach().clone()
    waiting = torch.arange(len(boxes), device=boxes.device)
    for _ in range(_ATTEMPTS):
        if not len(waiting):
            return result
        given = boxes.detach()[waiting]
        size = given[:, 2:] - given[:, :2]
        draws = torch.rand(2, len(given), 2, generator=generator, dtype=boxes.dtype).to(boxes.device) * 2 - 1
        centre = (given[:, :2] + given[:, 2:]) / 2 + _SHIFT * draws[0] * size
        half = size * (_LOG_SCALE * draws[1]).exp() / 2
        moved = torch.minimum(torch.cat([centre - half, centre + half], 1).clamp(min=0), edges)
        overlap = _paired_iou(given, moved)
        good = (overlap >= low) & (overlap <= high)
        result[waiting[good]] = moved[good]
        waiting = waiting[~good]
    if len(waiting):
        box = boxes[waiting[0]].tolist()
        raise ValueError(f"perturb_boxes: expected boxes with others of IoU {low:g} to {high:g} near, got {box}")
    return result


def _paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of [n,4] with its partner."""
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    shared = sides.clamp(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) for boxes in (a, b)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=torch.finfo(a.dtype).tiny)


@lru_cache(maxsize=1)  # an item asks for its picture and then for its objects
def _draw(seed: int, size: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Picture [3,size,size], visible masks [n,size,size] bool, labels [n]."""
    generator = torch.Generator().manual_seed(seed)
    background = _uniform(generator, _DARKEST, _BRIGHTEST, 3)
    picture = background[:, None, None].expand(3, size, size).clone()
    masks, kinds = _place(generator, size, count)
    hidden = torch.zeros(size, size, dtype=torch.bool)
    visible = []
    for mask in reversed(masks):
        visible.append(mask & ~hidden)
        hidden |= mask
    visible.reverse()
    for mask in visible:
        picture[:, mask] = _colour(generator, background)[:, None]
    noise = torch.randn(3, size, size, generator=generator)
    shown = torch.stack(visible) if visible else torch.zeros(0, size, size, dtype=torch.bool)
    return (picture + _NOISE * noise).clamp(0, 1), shown, torch.tensor(kinds, dtype=torch.int64) + 1


def _place(generator: torch.Generator, size: int, count: int) -> tuple[list[Tensor], list[int]]:
    """Shapes from back to front, each of which stays visible enough."""
    masks: list[Tensor] = []
    kinds: list[int] = []
    for _ in range(_ATTEMPTS * max(1, count)):
        if len(masks) == count:
            return masks, kinds
        kind, mask = _shape(generator, size)
        if _stay_visible(masks, mask):
            masks.append(mask)
            kinds.append(kind)
    if len(masks) < count:
        raise ValueError(f"synthetic_instances: expected a place for n shapes in {size}x{size} px, got {count} of them")
    return masks, kinds


def _stay_visible(masks: Sequence[Tensor], new: Tensor) -> bool:
    hidden = new.clone()
    for mask in reversed(masks):
        if int((mask & ~hidden).sum()) < _LEAST_VISIBLE * int(mask.sum()):
            return False
        hidden |= mask
    return True


def _shape(generator: torch.Generator, size: int) -> tuple[int, Tensor]:
    """The kind of a shape and its mask."""
    while True:
        kind = int(torch.randint(len(SHAPES), (), generator=generator))
        a = float(_uniform(generator, _SMALLEST, _LARGEST))
        b = a * float(_uniform(generator, _FLATTEST, 1))
        x, y = _uniform(generator, _LARGEST, size - _LARGEST, 2).tolist()
        angle = float(_uniform(generator, 0, math.pi))
        mask = _inside(kind, a, b, *_axes(size, x, y, angle))
        if mask.sum() >= _LEAST_AREA:
            return kind, mask


def _axes(size: int, x: float, y: float, angle: float) -> tuple[Tensor, Tensor]:
    """Offsets (u,v) of pixel centres from (x,y), along axes turned by an angle."""
    place = torch.arange(size) + 0.5
    across, down = place[None, :] - x, place[:, None] - y
    return (
        math.cos(angle) * across + math.sin(angle) * down,
        math.cos(angle) * down - math.sin(angle) * across,
    )


def _inside(kind: int, a: float, b: float, u: Tensor, v: Tensor) -> Tensor:
    if SHAPES[kind] == "ellipse":
        return (u / a) ** 2 + (v / b) ** 2 <= 1
    if SHAPES[kind] == "rectangle":
        return (u.abs() <= a) & (v.abs() <= b)
    return torch.hypot(u / a, v / b) <= 0.8 + 0.35 * torch.cos(5 * torch.atan2(v, u))


def _colour(generator: torch.Generator, background: Tensor) -> Tensor:
    while True:
        colour = torch.rand(3, generator=generator)
        if ((colour - background).abs() > _CONTRAST).any():
            return colour


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
