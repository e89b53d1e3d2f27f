"""Objects drawn on their picture."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnfast.images import load_image
from cnnfast.images.errors import check_picture, check_pillow
from cnnfast.ops import truncated_distance_transform

# Hues a golden section apart differ for any number of objects.
_GOLDEN = 0.618034
_OPACITY = 0.45
# Lines and letters grow with the picture.
_PIXELS_PER_LINE = 300
_PIXELS_PER_LETTER = 30
_SMALLEST_LETTER = 9


def instance_colour(index: int) -> tuple[float, float, float]:
    """A bright colour (red, green, blue) in [0,1] that differs from those of the objects before.

    Example:
        >>> from cnnfast.detection.drawing import instance_colour
        >>> len({instance_colour(index) for index in range(50)})
        50
    """
    return colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.85, 1.0)


def draw_instances(
    picture: Tensor,
    instances: Mapping[str, Tensor],
    classes: Sequence[str] | None = None,
    *,
    boxes: bool = True,
    captions: bool = True,
) -> Tensor:
    """Masks in colour with their outlines, boxes, and captions of class and score; the best objects on top.

    Args:
        picture: [3,H,W] in [0,1].
        instances: masks [n,H,W] bool, boxes [n,4], and, for captions, labels [n] and scores [n].
        classes: names, the first one is that of label 1; None for the labels themselves.
        boxes: whether to draw them.
        captions: whether to write them.

    Returns:
        [3,H,W] in [0,1].

    Raises:
        ImageError: no picture.
        ValueError: masks of another size.
        ImportError: Pillow is not installed.

    Example:
        >>> import torch
        >>> from cnnfast.detection.drawing import draw_instances
        >>> mask = torch.zeros(1, 40, 60, dtype=torch.bool)
        >>> mask[:, 10:30, 20:50] = True
        >>> found = {"masks": mask, "boxes": torch.tensor([[20.0, 10.0, 50.0, 30.0]])}
        >>> drawn = draw_instances(torch.zeros(3, 40, 60), found, captions=False)
        >>> bool((drawn[:, mask[0]].amax(0) > 0).all()), float(drawn[:, 35:].max())
        (True, 0.0)
    """
    check_picture("draw_instances", picture)
    check_pillow("draw_instances")
    masks = instances["masks"].cpu()
    if masks.dim() != 3 or masks.shape[1:] != picture.shape[1:]:
        expected = ["n", *picture.shape[1:]]
        raise ValueError(f"draw_instances: expected masks {expected}, got {list(masks.shape)}".replace("'", ""))
    line = max(1, round(min(picture.shape[1:]) / _PIXELS_PER_LINE))
    canvas = picture.detach().cpu().float().clone()
    order = _order(instances, len(masks))
    for index in order:
        _paint(canvas, masks[index].bool(), index, line)
    if not order or not (boxes or captions):
        return canvas
    return _annotate(canvas, instances, order, classes, line, boxes, captions)


def _order(instances: Mapping[str, Tensor], count: int) -> list[int]:
    """The best one last."""
    if "scores" not in instances:
        return list(range(count))
    order: list[int] = instances["scores"].cpu().argsort(stable=True).tolist()
    return order


def _paint(canvas: Tensor, mask: Tensor, index: int, line: int) -> None:
    colour = torch.tensor(instance_colour(index))[:, None]
    canvas[:, mask] = (1 - _OPACITY) * canvas[:, mask] + _OPACITY * colour
    depth = truncated_distance_transform(mask, line + 1)
    canvas[:, mask & (depth <= line)] = colour


def _annotate(
    canvas: Tensor,
    instances: Mapping[str, Tensor],
    order: Sequence[int],
    classes: Sequence[str] | None,
    line: int,
    boxes: bool,
    captions: bool,
) -> Tensor:
    from PIL import Image, ImageDraw, ImageFont

    values = canvas.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous()
    image = Image.fromarray(np.asarray(values))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(_SMALLEST_LETTER, round(min(canvas.shape[1:]) / _PIXELS_PER_LETTER)))
    for index in order:
        colour = tuple(round(255 * part) for part in instance_colour(index))
        box = instances["boxes"][index].tolist()
        if boxes:
            draw.rectangle(_pixels(box), outline=colour, width=line)
        if captions:
            text = _caption(instances, index, classes)
            _write(draw, text, box[0], box[1], colour, font, image.size)
    return load_image(image)


def _pixels(box: Sequence[float]) -> list[int]:
    """First and last column and row of a box whose coordinates are edges of pixels."""
    x0, y0, x1, y1 = (round(value) for value in box)
    return [x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)]


def _caption(instances: Mapping[str, Tensor], index: int, classes: Sequence[str] | None) -> str:
    parts = []
    if "labels" in instances:
        label = int(instances["labels"][index])
        parts.append(str(label) if classes is None else classes[label - 1])
    if "scores" in instances:
        parts.append(f"{float(instances['scores'][index]):.2f}")
    return " ".join(parts)


def _write(draw: Any, text: str, x: float, y: float, colour: tuple[int, ...], font: Any, size: tuple[int, int]) -> None:
    """Text on its colour, above the point, within the picture."""
    _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right + 2, bottom + 2
    x = min(max(0, round(x)), max(0, size[0] - width))
    y = min(max(0, round(y) - height), max(0, size[1] - height))
    draw.rectangle([x, y, x + width - 1, y + height - 1], fill=colour)
    dark = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 110
    draw.text((x + 1, y + 1), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=font)
