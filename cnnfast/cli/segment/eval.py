"""``cnnfast segment eval``: how well a network finds the objects of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast._rooms import import_room
from cnnfast.cli.base.options import Device
from cnnfast.cli.segment.options import (
    Annotations,
    Data,
    DataFormat,
    Decode,
    MaskThreshold,
    MaxDetections,
    Model,
    Objects,
    Pictures,
    Side,
    Split,
)


def evaluate(
    model: Model,
    data: Data,
    format: DataFormat = "auto",
    annotations: Annotations = None,
    split: Split = "val",
    pictures: Pictures = 64,
    side: Side = 96,
    objects: Objects = 2,
    limit: Annotated[int | None, typer.Option(help="only the first so many pictures")] = None,
    mask_threshold: MaskThreshold = 0.5,
    decode: Decode = None,
    max_detections: MaxDetections = 100,
    results: Annotated[Path | None, typer.Option(help="write the detections as COCO's file of results")] = None,
    measures: Annotated[Path | None, typer.Option(help="write the measures as JSON")] = None,
    device: Device = "auto",
) -> int:
    """Print AP^r at 0.5 and 0.7, COCO's AP, and the average recall of a network on DATA.

    What cannot be read is named and skipped, and the status is 2 in the end.
    """
    words = dict(locals())
    room = import_room("cnnfast.cli.segment.eval_run")
    status: int = room.run(room.Options(**words))
    return status
