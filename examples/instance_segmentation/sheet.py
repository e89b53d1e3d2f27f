"""A picture that compares masks: a scene in each row, in the columns what is true and what each network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cnnfast.images import load_image, side_by_side
from cnnfast.models.instance_segmentation import draw_instances

# Screen pixels of a picture's pixel.
_ZOOM = 4
_GAP = 8
_TITLE = 22


def comparison_sheet(
    pictures: Sequence[Tensor], boxes: Sequence[Tensor], columns: Mapping[str, Sequence[Tensor]]
) -> Tensor:
    """Masks and boxes on their pictures.

    Args:
        pictures: [3,H,W] in [0,1], all of one size.
        boxes: by picture, [n,4].
        columns: by title, masks [n,H,W] of each picture.

    Returns:
        [3,H',W'] in [0,1].
    """
    rows = [_title_row(list(columns), pictures[0].shape[2] * _ZOOM)]
    for picture, drawn, *masks in zip(pictures, boxes, *columns.values(), strict=True):
        rows.append(side_by_side([_panel(picture, drawn, own) for own in masks], gap=_GAP))
    gap = torch.ones(3, _GAP, rows[0].shape[2])
    return torch.cat([part for row in rows for part in (row, gap)][:-1], 1)


def _panel(picture: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    """Masks and boxes on their picture, enlarged; in grey, so that no object has the colour of a mask."""
    grey, enlarged = (
        part.cpu().repeat_interleave(_ZOOM, -1).repeat_interleave(_ZOOM, -2)
        for part in (picture.mean(0).expand(3, -1, -1), masks)
    )
    return draw_instances(grey, {"masks": enlarged, "boxes": boxes.cpu() * _ZOOM}, captions=False)


def _title_row(titles: Sequence[str], width: int) -> Tensor:
    """The titles of columns, on white."""
    image = Image.new("RGB", (len(titles) * width + (len(titles) - 1) * _GAP, _TITLE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TITLE // 2)
    for column, title in enumerate(titles):
        draw.text((column * (width + _GAP), _TITLE // 4), title, fill="black", font=font)
    return load_image(np.asarray(image))
