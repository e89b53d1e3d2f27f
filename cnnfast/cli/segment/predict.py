"""``cnnfast segment predict``: objects of pictures, drawn and written as COCO JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast._rooms import import_room
from cnnfast.cli.base.options import Alpha, Device
from cnnfast.cli.segment.options import Decode, MaskThreshold, MaxDetections, Model


def predict(
    model: Model,
    inputs: Annotated[list[str], typer.Argument(help="pictures, folders of pictures, or patterns like 'photos/*.png'")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="picture to write, or folder for several; made if it is missing")
    ],
    json: Annotated[
        Path | None, typer.Option("--json", help="write the objects of all pictures in COCO's format")
    ] = None,
    score: Annotated[float, typer.Option(help="objects with a lower one are left out")] = 0.5,
    mask_threshold: MaskThreshold = 0.5,
    decode: Decode = None,
    max_detections: MaxDetections = 100,
    boxes: Annotated[bool, typer.Option("--boxes/--no-boxes", help="draw the boxes")] = True,
    captions: Annotated[bool, typer.Option("--captions/--no-captions", help="write classes and scores")] = True,
    device: Device = "auto",
    alpha: Alpha = "white",
    ending: Annotated[
        str | None, typer.Option("--format", help="png, jpg, webp, tif or bmp in a folder; default: each its own")
    ] = None,
) -> int:
    """Find the objects of pictures, draw them, and write them as JSON.

    What cannot be read is named and skipped, and the status is 2 in the end.
    """
    words = dict(locals())
    room = import_room("cnnfast.cli.segment.predict_run")
    status: int = room.run(room.Options(**words))
    return status
