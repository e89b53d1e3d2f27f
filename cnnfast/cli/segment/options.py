"""Options that several commands of ``cnnfast segment`` have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(help="folder of a data set (COCO: of its pictures), or the word synthetic")]
DataFormat = Annotated[str, typer.Option("--format", help="auto, coco, voc, sbd, cityscapes or synthetic")]
Annotations = Annotated[Path | None, typer.Option(help="JSON file of a data set in COCO's format")]
Split = Annotated[str | None, typer.Option(help="part of the data set, as train or val")]
Pictures = Annotated[int, typer.Option(help="number of synthetic pictures")]
Side = Annotated[int, typer.Option(help="of synthetic pictures, in px")]
Objects = Annotated[int, typer.Option(help="in each synthetic picture")]
Model = Annotated[Path, typer.Argument(help="network that `cnnfast segment train` wrote")]
MaskThreshold = Annotated[
    float,
    typer.Option(
        help="value of a soft mask of Mask R-CNN from which a pixel is the object's; other models have their own"
    ),
]
Decode = Annotated[str | None, typer.Option(help="object masks: soft, hard or max; default: soft")]
MaxDetections = Annotated[int, typer.Option(help="objects of a picture, the best ones")]
