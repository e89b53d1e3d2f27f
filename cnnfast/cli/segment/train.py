"""``cnnfast segment train``: networks that find objects and their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast._rooms import import_room
from cnnfast.cli.base.options import (
    Checkpoint,
    Device,
    Devices,
    Epochs,
    Log,
    LogFormat,
    Nodes,
    Plot,
    Resume,
    TrainingCheckpointEvery,
    TrainingDtype,
    TrainingHistory,
    TrainingSteps,
    Workers,
)
from cnnfast.cli.segment.options import Annotations, Data, DataFormat, Objects, Pictures, Side, Split


def train(
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="network to write: .pt or .safetensors")],
    format: DataFormat = "auto",
    annotations: Annotations = None,
    split: Split = "train",
    pictures: Pictures = 256,
    side: Side = 96,
    objects: Objects = 2,
    model: Annotated[
        str,
        typer.Option(
            help="maskrcnn-omn or maskrcnn (Mask R-CNN with object masks, or its own), rpn-omn (segment proposals), "
            "mnc-omn or mnc (cascades)"
        ),
    ] = "maskrcnn-omn",
    backbone: Annotated[
        str,
        typer.Option(
            help="small, resnet18-fpn, resnet50-fpn; for cascades also resnet50-c4, vgg16; default: small for "
            "synthetic pictures, else resnet50-fpn"
        ),
    ] = "auto",
    weights: Annotated[
        Path | None,
        typer.Option(help="file to start from: torchvision's ResNet, VGG-16 or Mask R-CNN, or a network of ours"),
    ] = None,
    preprocessing: Annotated[
        str, typer.Option(help="input convention of a VGG-16, as torchvision or caffe; default: the cascade's own")
    ] = "",
    frozen: Annotated[
        bool | None,
        typer.Option(
            "--frozen/--no-frozen",
            help="keep batch norms and the first stages of the backbone as they are; default: with --weights",
        ),
    ] = None,
    truncation: Annotated[int, typer.Option(help="R: largest distance of object masks, in cells")] = 9,
    bins: Annotated[int, typer.Option(help="K: bins of the distances of object masks")] = 5,
    stages: Annotated[int, typer.Option(help="3 or 5, of cascades")] = 5,
    min_size: Annotated[
        int | None,
        typer.Option(help="short side of pictures becomes this many px; default: 800, cascades 600, synthetic: as is"),
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(help="unless the long side exceeds this many; default: 1333, cascades 1000")
    ] = None,
    steps: TrainingSteps = None,
    epochs: Epochs = 12,
    batch: Annotated[int, typer.Option(help="pictures a step, on each device")] = 2,
    optimizer: Annotated[str, typer.Option(help="sgd or adamw")] = "sgd",
    lr: Annotated[
        float | None, typer.Option(help="learning rate; default: 0.00125 a picture (sgd), 0.0002 (adamw)")
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="of weights, not of biases and norms")] = 5e-4,
    schedule: Annotated[
        str, typer.Option(help="of the learning rate: step (a tenth after 80 % and 95 % of steps), cosine, constant")
    ] = "step",
    warmup: Annotated[int, typer.Option(help="steps over which the learning rate rises")] = 0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="mirror half of the pictures")] = True,
    seed: Annotated[int, typer.Option(help="of first weights, order, mirrored pictures, sampled boxes")] = 42,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    dtype: TrainingDtype = "float32",
    workers: Workers = 2,
    checkpoint: Checkpoint = None,
    checkpoint_every: TrainingCheckpointEvery = 500,
    resume: Resume = None,
    log: Log = None,
    log_format: LogFormat = "csv",
    history: TrainingHistory = None,
    plot: Plot = None,
) -> int:
    """Train a network that finds the objects of DATA and their masks.

    Ctrl-C saves the network so far and a checkpoint; --resume goes on as the unbroken training would.
    """
    words = dict(locals())
    room = import_room("cnnfast.cli.segment.train_run")
    status: int = room.run(room.Options(**words))
    return status
