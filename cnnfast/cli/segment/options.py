"""Options that several commands of ``cnnfast segment`` have, each said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cnnfast._options import argument, option

Data = Annotated[str, typer.Argument(help="folder of a data set (COCO: of its pictures), or the word synthetic")]
DataFormat = Annotated[str, typer.Option("--format", help="auto, coco, voc, sbd, cityscapes or synthetic")]
Annotations = Annotated[Path | None, typer.Option(help="JSON file of a data set in COCO's format")]
Split = Annotated[str | None, typer.Option(help="part of the data set, as train or val")]
Pictures = Annotated[int, typer.Option(help="number of synthetic pictures")]
Side = Annotated[int, typer.Option(help="of synthetic pictures, in px")]
Objects = Annotated[int, typer.Option(help="in each synthetic picture")]


@dataclass(kw_only=True)
class ModelFile:
    """The network that a command applies."""

    model: Path = argument("network that `cnnfast segment train` wrote")


@dataclass(kw_only=True)
class MaskOptions:
    """Which objects a network finds, and the form of their masks."""

    mask_threshold: float = option(
        "value of a soft mask of Mask R-CNN from which a pixel is the object's; other models have their own",
        default=0.5,
    )
    decode: str | None = option("object masks: soft, hard or max; default: soft", default=None)
    max_detections: int = option("objects of a picture, the best ones", default=100, minimum=1)
