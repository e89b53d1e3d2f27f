"""A whole training, from the options to the network's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from cnnfast.training.files import TrainingFiles, read_checkpoint
from cnnfast.training.loop import fit
from cnnfast.training.options import TrainingOptions
from cnnfast.training.task import Task


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
    task.examples[(0, 0)]  # pictures of which none can be read are found out here
    saved = None if options.resume is None else read_checkpoint(task.function, options.resume, task.settings)
    training = task.build(options.steps_for(len(task.examples)))
    if saved is not None:
        training.restore(saved, f"{task.function}: expected a whole checkpoint in {options.resume}")
    files = TrainingFiles(task, options, callback)
    if training.step < training.steps:
        fit(training, task, options, files)
    else:
        files.write_network(training)
    return training.network.eval()
