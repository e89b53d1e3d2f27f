"""A whole training: what a family gives, and all that is the same for every one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from cnnfast._extension import default_device, fast_dtype
from cnnfast.training.batches import TrainingBatches, training_loader
from cnnfast.training.examples import TrainingExamples
from cnnfast.training.files import TrainingFiles, open_log, read_checkpoint
from cnnfast.training.loop import fit
from cnnfast.training.options import TrainingOptions
from cnnfast.training.step import Training


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a family gives to a training.

    Attributes:
        function: that trains, for messages and checkpoints.
        examples: the pictures.
        collate: examples to a batch.
        build: number of all steps to network, loss and optimiser.
        settings: plain values that a resumed training must share.
        save: writes a network to a file, with settings of its training.
        find_unused: whether some steps leave parameters without a gradient.
    """

    function: str
    examples: TrainingExamples[Any]
    collate: Callable[[Sequence[Any]], Any]
    build: Callable[[int], Training]
    settings: Mapping[str, Any]
    save: Callable[[nn.Module, str | os.PathLike[str], Mapping[str, Any]], None]
    find_unused: bool = False


def run(task: Task, options: TrainingOptions, callback: Callable[[Any], bool | None] | None = None) -> nn.Module:
    """Build, resume, train and save a network.

    Args:
        task: what is trained.
        options: checked.
        callback: called after every step; returning True ends the training, after a checkpoint.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: no readable pictures, or another run's checkpoint.
        RuntimeError: the loss was NaN or infinite 20 times in a row; the last checkpoint is kept.
        ImportError: TensorBoard, for its log, is not installed.
    """
    count, device = len(task.examples), choose_device(options)
    task.examples[(0, 0)]  # pictures of which none can be read are found out here
    saved = None if options.resume is None else read_checkpoint(task.function, options.resume, task.settings)
    training = task.build(options.steps_for(count))
    if saved is not None:
        training.restore(saved)

    def write(trained: Training) -> None:
        if options.out is not None:
            task.save(trained.network, options.out, {**task.settings, "steps": trained.step})

    def loader(rank: int) -> DataLoader[Any]:
        batches = TrainingBatches(
            count,
            options.batch_size,
            training.steps,
            start=training.step,
            seed=options.seed,
            rank=rank,
            processes=options.processes,
        )
        return training_loader(task.examples, batches, task.collate, workers=options.workers, seed=options.seed)

    if training.step < training.steps:
        files = TrainingFiles(
            task.function,
            write,
            options.checkpoint,
            options.checkpoint_every,
            task.settings,
            callback,
            options.log_every,
            open_log(task.function, options.log_dir, options.log_format),
        )
        fit(
            training,
            loader,
            files,
            device,
            devices=options.devices,
            nodes=options.nodes,
            precision=precision_for(options.amp, device),
            find_unused=task.find_unused,
        )
    else:
        write(training)
    return training.network.eval()


def choose_device(options: TrainingOptions) -> torch.device:
    """The device that is asked for, or a GPU that this installation has kernels for, else the CPU."""
    return default_device() if options.device in ("auto", None) else torch.device(options.device)


def precision_for(amp: str, device: torch.device) -> torch.dtype:
    """The dtype of mixed precision that one of `PRECISIONS` means, or torch.float32.

    Example:
        >>> import torch
        >>> from cnnfast.training.run import precision_for
        >>> precision_for("bf16", torch.device("cpu"))
        torch.bfloat16
    """
    if amp == "auto":
        return fast_dtype(device)
    return torch.bfloat16 if amp in ("bf16", "bfloat16") else torch.float32
