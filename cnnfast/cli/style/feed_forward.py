"""``cnnfast fast-style``: networks that give any picture a style in a single pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast.cli.base.options import (
    Alpha,
    Checkpoint,
    Device,
    Devices,
    Epochs,
    Log,
    LogFormat,
    Nodes,
    Plot,
    Preprocessing,
    Resume,
    TrainingCheckpointEvery,
    TrainingDtype,
    TrainingHistory,
    TrainingSteps,
    Workers,
)
from cnnfast.cli.base.parsing import check_output, parse_device, parse_size
from cnnfast.cli.style import apply_run, train_run

app = typer.Typer(
    help="Train a network that gives pictures a style in a single pass, apply it, or export it.", rich_markup_mode=None
)


@app.command()
def train(
    style: Annotated[Path, typer.Argument(help="picture of the style")],
    images: Annotated[Path, typer.Argument(help="folder of pictures to train on, searched with all its folders")],
    output: Annotated[Path, typer.Option("-o", "--output", help="network to write: .pth, .model, .pt or .safetensors")],
    steps: TrainingSteps = None,
    epochs: Epochs = 2,
    batch: Annotated[int, typer.Option(help="crops a step, on each device")] = 4,
    image_size: Annotated[int, typer.Option(help="side of the crops in px")] = 256,
    crop: Annotated[str, typer.Option(help="random (scaled, shifted, mirrored) or center")] = "random",
    width: Annotated[float, typer.Option(help="factor of the network's channels: 0.5 is four times as fast")] = 1.0,
    style_size: Annotated[int | None, typer.Option(help="longest side of the style in px; default: its own")] = None,
    style_strength: Annotated[float, typer.Option(help="how much the style counts against the content")] = 5.0,
    content_weight: Annotated[float | None, typer.Option(help="weight of the content; default: found")] = None,
    style_weight: Annotated[float | None, typer.Option(help="weight of the style; default: found")] = None,
    tv_weight: Annotated[float, typer.Option(help="weight of the total variation, for smoother pictures")] = 0.0,
    lr: Annotated[float, typer.Option(help="learning rate of Adam")] = 1e-3,
    seed: Annotated[int, typer.Option(help="of the network's first weights and of the crops")] = 42,
    weights: Annotated[
        str, typer.Option(help="of the loss network: auto, random (filters without training), or a VGG file")
    ] = "auto",
    preprocessing: Preprocessing = "auto",
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    dtype: TrainingDtype = "auto",
    workers: Workers = 2,
    checkpoint: Checkpoint = None,
    checkpoint_every: TrainingCheckpointEvery = 500,
    resume: Resume = None,
    log: Log = None,
    log_format: LogFormat = "csv",
    history: TrainingHistory = None,
    plot: Plot = None,
) -> int:
    """Train a network that gives pictures the style of STYLE.

    Ctrl-C saves the network so far and a checkpoint; --resume goes on as the unbroken training would.
    """
    return train_run.run(train_run.Options(**locals()))


@app.command()
def apply(
    model: Annotated[Path, typer.Argument(help="network of the style")],
    inputs: Annotated[list[str], typer.Argument(help="pictures, folders of pictures, or patterns like 'frames/*.png'")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="picture to write, or folder for several; made if it is missing")
    ],
    size: Annotated[str | None, typer.Option(help="longest side in px, or WIDTHxHEIGHT; default: each its own")] = None,
    batch: Annotated[int, typer.Option(help="pictures of equal size to take at once")] = 1,
    tile: Annotated[
        str, typer.Option(help="rows to evaluate at a time, with the same result: auto (where memory is short), off, N")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="of the convolutions: auto, float32 or bfloat16")] = "float32",
    device: Device = "auto",
    alpha: Alpha = "white",
    ending: Annotated[
        str | None, typer.Option("--format", help="png, jpg, webp, tif or bmp in a folder; default: each its own")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="leave pictures alone whose output is there already")
    ] = False,
) -> int:
    """Give pictures, or all pictures of folders, the style of a trained network.

    Pictures keep their size. In a folder they keep their names and places, so the frames of a video stay in order. What
    cannot be read is named and skipped, and the status is 2 in the end.
    """
    return apply_run.run(apply_run.Options(**locals()))


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="network of the style")],
    output: Annotated[Path, typer.Option("-o", "--output", help="file to write, ending in .onnx")],
    size: Annotated[str | None, typer.Option(help="fix the size to WIDTHxHEIGHT px; default: any")] = None,
) -> None:
    """Write a network as ONNX: RGB pictures in [0,1] of any size in, the same out."""
    from cnnfast.models.style.feed_forward.files import load_style_network
    from cnnfast.models.style.feed_forward.onnx import export_onnx

    fixed = None
    if size is not None:
        parsed = parse_size(size)
        fixed = (parsed, parsed) if isinstance(parsed, int) else parsed
    check_output(output, inputs=[model])
    network = load_style_network(model).network
    export_onnx(network.to(parse_device("cpu")), output, size=fixed)
    print(f"{output}: input image [batch,3,height,width], output styled, RGB in [0,1]")
