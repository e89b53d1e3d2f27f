"""What a training writes: checkpoints, the network, entries of a log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from cnnfast._checkpoint import check_settings, read_plain, save_checkpoint
from cnnfast.training.lightning import pl
from cnnfast.training.step import Training

logger = logging.getLogger(__name__)


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints that are always either the old or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_checkpoint(checkpoint, path)


def _key(function: str) -> str:
    """Under which a checkpoint has the settings of the training."""
    return f"cnnfast_{function.removeprefix('train_')}"


def read_checkpoint(function: str, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of a training by this function with these settings, read without running any code in it.

    Raises:
        ValueError: not a checkpoint of such a training; the message names the settings that differ.
        OSError: the file cannot be read.
    """
    wanted = f"{function}: expected a checkpoint of its own"
    checkpoint = read_plain(path, wanted)
    if not isinstance(checkpoint, dict) or _key(function) not in checkpoint:
        raise ValueError(f"{wanted}, got {os.fspath(path)}")
    check_settings(function, checkpoint[_key(function)], settings)
    return checkpoint


class TrainingFiles(pl.Callback):
    """Writes files as training goes on, and passes on its progress.

    Args:
        function: that trains.
        write: writes the network's file, or does nothing.
        checkpoint: file of checkpoints, or None.
        every: steps between them.
        settings: of the training, plain values.
        callback: told of every step; True ends the training.
        log_every: steps between entries of the log; the last step has one, too.
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
    ) -> None:
        self._function, self._write_network, self._checkpoint, self._every = function, write, checkpoint, every
        self._settings, self._callback, self._log_every = dict(settings), callback, log_every
        self._failed: set[str] = set()
        self.checkpoint_io = _WholeFiles()

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the settings, by which `read_checkpoint` knows its own."""
        checkpoint[_key(self._function)] = self._settings

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """After every step."""
        assert isinstance(module, Training) and module.progress is not None
        progress = module.progress
        if trainer.is_global_zero:
            logged = progress.step % self._log_every == 0 or progress.step == module.steps
            if trainer.logger is not None and logged:
                trainer.logger.log_metrics(progress.metrics(), step=progress.step)
            if self._callback is not None and self._callback(progress):
                module.asked_to_stop = True
        last = module.stopping or progress.step >= module.steps
        if last or progress.step % self._every == 0:
            self._write(trainer, module, must=last)
        if module.stopping:
            trainer.should_stop = True

    def _write(self, trainer: pl.Trainer, module: Training, must: bool) -> None:
        """A full disk, say, must not end hours of training: say it once, go on, and try again next time."""
        try:
            if self._checkpoint is not None:
                trainer.save_checkpoint(os.fspath(self._checkpoint))
            if trainer.is_global_zero:
                self._write_network(module)
        except OSError as error:
            if must:
                raise
            if str(error) not in self._failed:
                self._failed.add(str(error))
                logger.warning("checkpoint or network is not up to date, training goes on: %s", error)
