"""Options that several commands have, each said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cnnfast._options import option

Picture = Annotated[Path, typer.Option("-o", "--output", help="picture to write; its ending chooses the format")]
Iterations = Annotated[int | None, typer.Option(help="of the finest level; coarser ones in proportion")]
Weights = Annotated[str, typer.Option(help="auto, random (filters without training), or a file of VGG weights")]
Preprocessing = Annotated[str, typer.Option(help="input convention of a weights file that does not tell")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
ComputeDtype = Annotated[
    str, typer.Option(help="of the convolutions: float32, bfloat16, or auto (bfloat16 where it is fast)")
]
PreviewEvery = Annotated[int, typer.Option(help="iterations between previews written to the output; 0: none")]
Checkpoint = Annotated[Path | None, typer.Option(help="file to continue from; default: OUTPUT.checkpoint.pt")]
CheckpointEvery = Annotated[
    int | None, typer.Option(help="iterations between checkpoints; default: 25 with --checkpoint, else when stopped")
]
Resume = Annotated[Path | None, typer.Option(help="checkpoint to continue, with the options of its run")]
Plot = Annotated[Path | None, typer.Option(help="write a plot of the loss: .png, .pdf or .svg")]
History = Annotated[Path | None, typer.Option(help="write the loss of every iteration as JSON")]


@dataclass(kw_only=True)
class DeviceOptions:
    """Where a command works."""

    device: str = option("auto, cpu, cuda or cuda:N", default="auto")
