"""``cnnfast texture``: a new picture of any size with the texture of a sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnnfast.cli.base.options import (
    Checkpoint,
    CheckpointEvery,
    ComputeDtype,
    Device,
    History,
    Iterations,
    Picture,
    Plot,
    Preprocessing,
    PreviewEvery,
    Resume,
    Weights,
)
from cnnfast.cli.style.texture_run import Options, run


def texture(
    sample: Annotated[Path, typer.Argument(help="picture of the texture")],
    output: Picture,
    size: Annotated[str | None, typer.Option(help="longest side in px, or WIDTHxHEIGHT; default: the sample's")] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="a bigger picture of the same texture: 2 gives twice the sample's width and height, with statistics "
            "at the sample's own pixel scale. More of the texture, not an enlargement of it"
        ),
    ] = None,
    crop: Annotated[str | None, typer.Option(help="part of the sample to use: WxH+X+Y, or WxH in its middle")] = None,
    alpha: Annotated[str, typer.Option(help="transparency of the sample: white (compose on white) or drop")] = "white",
    tileable: Annotated[
        bool, typer.Option("--tileable", help="make the result fit its own copies on all sides")
    ] = False,
    iterations: Iterations = None,
    preset: Annotated[str, typer.Option(help="fast or good (more iterations)")] = "fast",
    layers: Annotated[str | None, typer.Option(help="names, with weights if wanted: relu1_1,pool1=0.5")] = None,
    weights: Weights = "auto",
    preprocessing: Preprocessing = "auto",
    optimizer: Annotated[str, typer.Option(help="lbfgs, or adam (less memory)")] = "lbfgs",
    no_match_histogram: Annotated[
        bool, typer.Option("--no-match-histogram", help="leave the result's colours as optimised")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the noise it starts from")] = 0,
    device: Device = "auto",
    dtype: ComputeDtype = "auto",
    preview_every: PreviewEvery = 25,
    checkpoint: Checkpoint = None,
    checkpoint_every: CheckpointEvery = None,
    resume: Resume = None,
    side_by_side: Annotated[Path | None, typer.Option(help="write sample and result next to each other")] = None,
    history: History = None,
    plot: Plot = None,
) -> int:
    """Synthesise a new picture with the texture of SAMPLE.

    Ctrl-C saves the present picture and a checkpoint; --resume continues from it, to the same picture bit for bit.
    """
    options = Options(**locals())
    try:
        return run(options)
    except KeyboardInterrupt:
        print("cnnfast: stopped before the first iteration, nothing was written", file=sys.stderr)
        return 130
