"""Pictures of the toy task: what each method makes of the same boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cnnfast.detection.drawing import draw_instances
from cnnfast.images import load_image, side_by_side
from cnnfast.models.instance_segmentation.toy import (
    ToyPictures,
    ToyRun,
    ToySettings,
    evaluation_boxes,
    evaluation_pictures,
    predict,
)
from cnnfast.models.instance_segmentation.toy_heads import MaskMethod

# Screen pixels of a picture's pixel.
_ZOOM = 4
_GAP = 8
_TITLE = 22


def example_sheet(
    methods: Sequence[MaskMethod], run: ToyRun, count: int, settings: ToySettings | None = None
) -> Tensor:
    """The first test pictures with the boxes that overlap their object least, one in a row.

    Args:
        methods: of the run.
        run: networks and their results.
        count: of rows.
        settings: of the run.

    Returns:
        [3,H,W] in [0,1]: in the columns the box and the whole object, then the mask of each method.
    """
    settings = settings or ToySettings()
    testing = evaluation_pictures(settings)
    pictures, boxes = testing[:count], evaluation_boxes(testing, settings)[0][:count]
    columns = [("box and whole object", pictures.masks)]
    for method, network in zip(methods, run.networks, strict=True):
        network = network.to("cpu")
        columns.append((method.name, predict(method, pictures, boxes, network)))
    rows = [_title_row([name for name, _ in columns], pictures.size[1] * _ZOOM)]
    for index in range(len(pictures)):
        rows.append(side_by_side([_panel(pictures, boxes, masks, index) for _, masks in columns], gap=_GAP))
    gap = torch.ones(3, _GAP, rows[0].shape[2])
    return torch.cat([part for row in rows for part in (row, gap)][:-1], 1)


def _panel(pictures: ToyPictures, boxes: Tensor, masks: Tensor, index: int) -> Tensor:
    """A mask and the box on their picture, enlarged; in grey, so that no object has the colour of a mask."""
    picture, mask = (
        part.repeat_interleave(_ZOOM, -1).repeat_interleave(_ZOOM, -2)
        for part in (pictures.images[index].mean(0).expand(3, -1, -1), masks[index : index + 1])
    )
    return draw_instances(picture, {"masks": mask, "boxes": boxes[index : index + 1] * _ZOOM}, captions=False)


def _title_row(names: Sequence[str], width: int) -> Tensor:
    """The names of columns, on white."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (len(names) * width + (len(names) - 1) * _GAP, _TITLE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TITLE // 2)
    for column, name in enumerate(names):
        draw.text((column * (width + _GAP), _TITLE // 4), name, fill="black", font=font)
    return load_image(np.asarray(image))
