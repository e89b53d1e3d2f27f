"""``cnnfast fast-style train``: networks that give any picture a style in a single pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast.cli.base.options import (
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
from cnnfast.cli.style import train_run


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
