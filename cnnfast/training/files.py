"""What a training writes: checkpoints, the network, entries of a log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cnnfast._checkpoint import check_settings, read_plain, save_checkpoint
from cnnfast._errors import InputError, NotSavedError
from cnnfast._rooms import missing_package
from cnnfast.training.options import TrainingOptions
from cnnfast.training.step import Progress, Training
from cnnfast.training.task import Task

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
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(_settings_key(function)), Mapping):
        raise InputError(f"{wanted}, got {os.fspath(path)}")
    check_settings(function, checkpoint[_settings_key(function)], settings)
    return checkpoint


class TrainingFiles:
    """Writes files as training goes on, and passes on its progress.

    Args:
        task: what is trained.
        options: which files, and how often.
        callback: told of every step; True ends the training.

    Raises:
        ImportError: TensorBoard, for its log, is not installed.
    """

    def __init__(self, task: Task, options: TrainingOptions, callback: Callable[[Any], bool | None] | None) -> None:
        self._task, self._options, self._callback = task, options, callback
        self._log = _open_log(task.function, options)
        self._failed: set[str] = set()
        self._saved: dict[Path, int] = {}  # the step that a file holds
        self._last_error = ""

    def after_step(self, training: Training, optimizer: torch.optim.Optimizer, progress: Progress, last: bool) -> bool:
        """Writes what is due after a step, in the first process alone; returns whether the callback asks to stop."""
        logged = progress.step % self._options.log_every == 0 or progress.step == progress.steps
        if self._log is not None and logged:
            with self._going_on():
                self._log.log_metrics(progress.metrics(), step=progress.step)
        stop = self._callback is not None and bool(self._callback(progress))
        if last or progress.step % self._options.checkpoint_every == 0:
            self._write(training, optimizer, must=last)
        return stop

    def close(self) -> None:
        """Writes the rest of the log."""
        if self._log is not None:
            with self._going_on():
                self._log.finalize("success")

    def write_network(self, training: Training) -> None:
        """Writes the network's file, if one is asked for."""
        if self._options.out is not None:
            settings = {**self._task.settings, "steps": training.step}
            self._task.save(training.network, self._options.out, settings)

    def _write(self, training: Training, optimizer: torch.optim.Optimizer, must: bool) -> None:
        """Writes checkpoint and network; an error such as a full disk is logged once and tried again next time.

        Raises:
            NotSavedError: they must be written, since they are the last ones; it says what is lost.
        """

        def write_checkpoint() -> None:
            state = {"state_dict": training.state_dict(), "optimizer_states": [optimizer.state_dict()]}
            settings = {_settings_key(self._task.function): dict(self._task.settings)}
            save_checkpoint({**state, **settings}, self._options.checkpoint or "")

        files = (self._options.checkpoint, write_checkpoint), (self._options.out, lambda: self.write_network(training))
        for path, write in files:
            if path is not None and self._fails(write):
                continue
            if path is not None:
                self._saved[Path(path)] = training.step
        lost = [Path(path) for path, _ in files if path is not None and self._saved.get(Path(path)) != training.step]
        if must and lost:
            name, step = self._task.function, training.step
            got = "; ".join(f"{path} {self._state_of(path)}" for path in lost)
            raise NotSavedError(f"{name}: expected to write all files of step {step}, got {self._last_error}; {got}")

    def _state_of(self, path: Path) -> str:
        return f"still holds step {self._saved[path]}" if path in self._saved else "has nothing of this run"

    def _fails(self, write: Callable[[], None]) -> bool:
        with self._going_on():
            write()
            return False
        return True

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """A file that cannot be written does not end hours of work: it is said once."""
        try:
            yield
        except OSError as error:
            self._last_error = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            if self._last_error not in self._failed:
                self._failed.add(self._last_error)
                logger.warning("training goes on, though a file cannot be written: %s", self._last_error)


def _open_log(function: str, options: TrainingOptions) -> Any:
    """A logger of Fabric; every training gets a folder of its own, ``version_0`` and so on. None without a folder."""
    if options.log_dir is None:
        return None
    from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

    if options.log_format == "csv":
        return CSVLogger(options.log_dir, name="")
    try:
        return TensorBoardLogger(options.log_dir, name="")
    except ModuleNotFoundError as error:
        raise missing_package(function, "tensorboard", "for its log") from error
