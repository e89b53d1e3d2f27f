"""Objects drawn on their picture."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence

import torch
from PIL import ImageFont
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from cnnfast.images.errors import check_picture
from cnnfast.ops import truncated_distance_transform

# Multiples of the golden ratio are different hues for any number of objects.
_GOLDEN = 0.618034
_OPACITY = 0.45
# Lines and letters grow with the picture.
_PIXELS_PER_LINE = 300
_PIXELS_PER_LETTER = 30
_SMALLEST_LETTER = 9


def instance_colour(index: int) -> tuple[float, float, float]:
    """A bright colour (red, green, blue) in [0,1], another one for every index.

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
    masks = instances["masks"].cpu()
    if masks.dim() != 3 or masks.shape[1:] != picture.shape[1:]:
        expected = ["n", *picture.shape[1:]]
        raise ValueError(f"draw_instances: expected masks {expected}, got {list(masks.shape)}".replace("'", ""))
    canvas = picture.detach().cpu().float().clone()
    order = _order(instances, len(masks))
    if not order:
        return canvas
    line = max(1, round(min(canvas.shape[1:]) / _PIXELS_PER_LINE))
    canvas = _paint(canvas, masks, order, line)
    if not (boxes or captions):
        return canvas
    drawn = canvas.clamp(0, 1).mul(255).round().byte()
    colours = [tuple(round(255 * part) for part in instance_colour(index)) for index in order]
    corners = instances["boxes"][order].cpu().round().long()
    if boxes:
        # Coordinates are edges of pixels: the last column and row of a box come before its end.
        last = torch.maximum(corners[:, :2], corners[:, 2:] - 1)
        drawn = draw_bounding_boxes(drawn, torch.cat([corners[:, :2], last], 1), colors=colours, width=line)
    if captions:
        texts = [_caption(instances, index, classes) for index in order]
        drawn = _write(drawn, texts, corners[:, :2], colours)
    return drawn.float() / 255


def _order(instances: Mapping[str, Tensor], count: int) -> list[int]:
    """Indices of the objects, the best one last."""
    if "scores" not in instances:
        return list(range(count))
    order: list[int] = instances["scores"].cpu().argsort(stable=True).tolist()
    return order


def _paint(picture: Tensor, masks: Tensor, order: Sequence[int], line: int) -> Tensor:
    """Masks of the indices `order`, the last on top, and on them outlines of `line` px.

    torchvision's function would paint black where masks overlap, and takes eight bytes for each pixel of each mask.
    """
    owner = torch.full(masks.shape[1:], -1)
    edge = torch.zeros(masks.shape[1:], dtype=torch.bool)
    for place, index in enumerate(order):
        mask = masks[index].bool()
        owner[mask] = place
        edge[mask] = (truncated_distance_transform(mask, line + 1) <= line)[mask]
    colours = torch.tensor([instance_colour(index) for index in order]).T
    inside = owner >= 0
    painted = picture.clone()
    painted[:, inside] = colours[:, owner[inside]]
    painted = picture * (1 - _OPACITY) + painted * _OPACITY
    painted[:, edge] = colours[:, owner[edge]]
    return painted


def _caption(instances: Mapping[str, Tensor], index: int, classes: Sequence[str] | None) -> str:
    parts = []
    if "labels" in instances:
        label = int(instances["labels"][index])
        parts.append(str(label) if classes is None else classes[label - 1])
    if "scores" in instances:
        parts.append(f"{float(instances['scores'][index]):.2f}")
    return " ".join(parts)


def _write(picture: Tensor, texts: Sequence[str], corners: Tensor, colours: Sequence[tuple[int, ...]]) -> Tensor:
    """Each text on its colour, above the upper left corner of its box, within the picture."""
    height, width = picture.shape[1:]
    letter = max(_SMALLEST_LETTER, round(min(height, width) / _PIXELS_PER_LETTER))
    font = ImageFont.load_default(letter)
    # torchvision writes a label inside its box. To place it above the object and within the picture, each label gets an
    # empty box at its own place: the text begins one pixel from it, with a background one pixel larger.
    extent = torch.tensor([font.getbbox(text) for text in texts]).long()
    above = corners - torch.stack([torch.zeros_like(extent[:, 3]), extent[:, 3] + 3], 1)
    inside = torch.minimum(above, torch.tensor([width, height]) - 3 - extent[:, 2:])
    place = torch.maximum(inside, -extent[:, :2])
    same_font = io.BytesIO(font.font_bytes)  # type: ignore[union-attr]  # torchvision's default font has one size only
    return draw_bounding_boxes(
        picture,
        place.repeat(1, 2),
        texts,
        colours,
        width=0,
        font=same_font,
        font_size=letter,
        label_colors=["black" if _is_bright(colour) else "white" for colour in colours],
        fill_labels=True,
    )


def _is_bright(colour: Sequence[int]) -> bool:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 110
