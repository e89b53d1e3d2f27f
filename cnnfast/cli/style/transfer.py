"""``cnnfast style``: the content of one picture in the style of others."""

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
from cnnfast.cli.style.transfer_run import Options, run


def style(
    content: Annotated[Path, typer.Argument(help="picture whose content to keep")],
    styles: Annotated[list[Path], typer.Argument(help="pictures whose style to take", metavar="STYLE...")],
    output: Picture,
    size: Annotated[str, typer.Option(help="longest side in px, or WIDTHxHEIGHT")] = "512",
    preset: Annotated[
        str, typer.Option(help="cnnfast, or the settings of another program: gatys2016, neural-style, crowson")
    ] = "cnnfast",
    blend: Annotated[str | None, typer.Option(help="how much each style counts: 1,2; default: equally")] = None,
    content_weight: Annotated[float | None, typer.Option(help="default: the preset's")] = None,
    style_weight: Annotated[float | None, typer.Option(help="default: the preset's")] = None,
    tv_weight: Annotated[float | None, typer.Option(help="smoothness; default: the preset's")] = None,
    style_scale: Annotated[float, typer.Option(help="size of the strokes: factor of the styles' sizes")] = 1.0,
    preserve_color: Annotated[
        str | None,
        typer.Option(
            help="luminance (stylise the luminance alone), match (styles take the content's colours first), "
            "match_style (the content takes the styles'), or original (the content's chroma on the result)"
        ),
    ] = None,
    color_match: Annotated[str, typer.Option(help="how colours are matched: pca, chol or sym")] = "pca",
    content_mask: Annotated[
        list[Path] | None,
        typer.Option(help="a region of CONTENT, white on black, of its size; once for each region"),
    ] = None,
    style_mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="the region of the style that it takes, in the same order; with several styles the first region is "
            "of the first style, and so on. Default: the whole style"
        ),
    ] = None,
    guides: Annotated[
        str, typer.Option(help="what belongs to a region in the network's layers: simple, inside or all")
    ] = "simple",
    init: Annotated[
        str | None, typer.Option(help="start from content, noise or a picture; default: the preset's")
    ] = None,
    levels: Annotated[int | None, typer.Option(help="sizes to go through, coarse to fine; default: automatic")] = None,
    iterations: Iterations = None,
    content_layers: Annotated[str | None, typer.Option(help="names, with weights if wanted: relu4_2=1")] = None,
    style_layers: Annotated[str | None, typer.Option(help="names, with weights if wanted: relu1_1,relu2_1=0.5")] = None,
    weights: Weights = "auto",
    preprocessing: Preprocessing = "auto",
    optimizer: Annotated[str | None, typer.Option(help="lbfgs, or adam (less memory); default: the preset's")] = None,
    seed: Annotated[int, typer.Option(help="of the noise it may start from")] = 0,
    alpha: Annotated[str, typer.Option(help="transparency of pictures: white (compose on white) or drop")] = "white",
    device: Device = "auto",
    dtype: ComputeDtype = "auto",
    preview_every: PreviewEvery = 25,
    checkpoint: Checkpoint = None,
    checkpoint_every: CheckpointEvery = None,
    resume: Resume = None,
    side_by_side: Annotated[
        Path | None, typer.Option(help="write content, styles (as they were used) and result in a row")
    ] = None,
    history: History = None,
    plot: Plot = None,
) -> int:
    """Paint the content of CONTENT in the style of one or more pictures STYLE.

    Ctrl-C saves the present picture and a checkpoint; --resume continues from it, to the same picture bit for bit.
    """
    words = locals() | {"content_mask": content_mask or [], "style_mask": style_mask or []}
    try:
        return run(Options(**words))
    except KeyboardInterrupt:
        print("cnnfast: stopped before the first iteration, nothing was written", file=sys.stderr)
        return 130
