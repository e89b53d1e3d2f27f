"""What a training writes: checkpoints, the network, entries of a log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from cnnfast._checkpoint import check_settings, read_plain, save_checkpoint
from cnnfast._errors import InputError, MissingPackageError
from cnnfast.training.step import Progress, Training

logger = logging.getLogger(__name__)


def _settings_key(function: str) -> str:
    """The key of a checkpoint's entry with the settings of a training by this function."""
    return f"cnnfast_{function.removeprefix('train_')}"


def read_checkpoint(function: str, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of a training by this function with these settings, read without running any code in it.

    Raises:
        InputError: not a checkpoint of such a training; the message names the settings that differ.
        OSError: the file cannot be read.
    """
    wanted = f"{function}: expected a checkpoint of its own"
    checkpoint = read_plain(path, wanted)
    if not isinstance(checkpoint, dict) or _settings_key(function) not in checkpoint:
        raise InputError(f"{wanted}, got {os.fspath(path)}")
    check_settings(function, checkpoint[_settings_key(function)], settings)
    return checkpoint


class TrainingFiles:
    """Writes files as training goes on, and passes on its progress.

    Args:
        function: that trains.
        write: writes the network's file, or does nothing.
        checkpoint: file of checkpoints, or None.
        every: steps between them.
        settings: of the training, plain values, by which `read_checkpoint` knows its own.
        callback: told of every step; True ends the training.
        log_every: steps between entries of the log; the last step has one, too.
        log: as `open_log` gives it, or None.
    """

    def __init__(
        self,
        function: str,
        write: Callable[[Any], None],
        checkpoint: str | os.PathLike[str] | None,
        every: int,
        settings: Mapping[str, Any],
        callback: Callable[[Any], bool | None] | None,
        log_every: int,
        log: Any = None,
    ) -> None:
        self.function = function
        self._write_network, self._checkpoint, self._every = write, checkpoint, every
        self._settings, self._callback, self._log, self._log_every = dict(settings), callback, log, log_every
        self._failed: set[str] = set()

    def after_step(self, training: Training, optimizer: torch.optim.Optimizer, progress: Progress, last: bool) -> bool:
        """Writes what is due after a step, in the first process alone; returns whether the callback asks to stop."""
        if self._log is not None and (progress.step % self._log_every == 0 or progress.step == progress.steps):
            self._log.log_metrics(progress.metrics(), step=progress.step)
        stop = self._callback is not None and bool(self._callback(progress))
        if last or progress.step % self._every == 0:
            self._write(training, optimizer, must=last)
        return stop

    def close(self) -> None:
        """Writes the rest of the log."""
        if self._log is not None:
            self._log.finalize("success")

    def _write(self, training: Training, optimizer: torch.optim.Optimizer, must: bool) -> None:
        """A full disk, say, must not end hours of training: say it once, go on, and try again next time."""
        try:
            if self._checkpoint is not None:
                state = {"state_dict": training.state_dict(), "optimizer_states": [optimizer.state_dict()]}
                save_checkpoint({**state, _settings_key(self.function): self._settings}, self._checkpoint)
            self._write_network(training)
        except OSError as error:
            if must:
                raise
            if str(error) not in self._failed:
                self._failed.add(str(error))
                logger.warning("checkpoint or network is not up to date, training goes on: %s", error)


def open_log(function: str, folder: str | os.PathLike[str] | None, kind: str) -> Any:
    """A logger of Fabric, or None without a folder.

    Args:
        function: name for messages.
        folder: for the log; every training gets one of its own in it, ``version_0`` and so on.
        kind: one of `LOG_FORMATS`.

    Raises:
        ImportError: Fabric, or TensorBoard for its log, is not installed.
    """
    if folder is None:
        return None
    from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

    if kind == "csv":
        return CSVLogger(str(folder), name="")
    try:
        return TensorBoardLogger(str(folder), name="")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{function}: expected the package tensorboard for its log, got none; "
            "install it with: pip install 'cnnfast[train]'"
        ) from error
