"""The loop of a training, by Lightning."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from cnnfast._extension import fast_dtype
from cnnfast.training.files import TrainingFiles
from cnnfast.training.lightning import pl
from cnnfast.training.step import Stop, Training

LOGGERS = ("csv", "tensorboard")
"""Formats of a log."""

AMP = ("auto", "bf16", "none")
"""Mixed precision: where the hardware is fast at it, always, never."""


def fit(
    module: Training,
    loader: Callable[[int], DataLoader[Any]],
    files: TrainingFiles,
    device: torch.device,
    *,
    function: str,
    devices: int = 1,
    nodes: int = 1,
    precision: torch.dtype = torch.float32,
    log_dir: str | os.PathLike[str] | None = None,
    log_format: str = "csv",
    find_unused: bool = False,
) -> None:
    """Train a module from its present step to its last.

    Args:
        module: to train.
        loader: makes the batches of the process of a rank.
        files: written on the way.
        device: kind of device, and which one where there is but one.
        function: name for messages.
        devices: GPUs (or processes on the CPU) of each machine.
        nodes: machines.
        precision: torch.bfloat16 for mixed precision, else torch.float32.
        log_dir: folder for a log; None writes none.
        log_format: one of `LOGGERS`.
        find_unused: whether some steps leave parameters without a gradient.

    Raises:
        RuntimeError: the loss was NaN or infinite too often in a row.
        KeyboardInterrupt: as it came.
        ImportError: TensorBoard, for its log, is not installed.
    """
    gpu = device.type == "cuda"
    chosen: int | list[int] = [device.index] if gpu and devices == 1 and device.index is not None else devices
    several = "ddp_find_unused_parameters_true" if find_unused else "ddp"
    with _quiet():
        trainer = pl.Trainer(
            accelerator="gpu" if gpu else device.type,
            devices=chosen,
            num_nodes=nodes,
            strategy=several if devices * nodes > 1 else "auto",
            precision="bf16-mixed" if precision == torch.bfloat16 else "32-true",
            max_epochs=1,
            logger=_logger(function, log_dir, log_format),
            callbacks=[files],
            plugins=[files.checkpoint_io],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, loader(trainer.global_rank))
        except Stop as stop:
            raise RuntimeError(str(stop)) from None
        except SystemExit as leaving:
            if not isinstance(leaving.__context__, KeyboardInterrupt):
                raise
            # Lightning ends the program when it is interrupted, deaf to further interrupts.
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from None


def check_numbers(function: str, options: dict[str, Any]) -> None:
    """Refuse what no training takes.

    Raises:
        ValueError: names the option, what it wants and what it got.
    """
    for name in ("epochs", "batch_size", "checkpoint_every", "log_every", "devices", "nodes"):
        if options[name] < 1:
            raise ValueError(f"{function}: expected {name} of at least 1, got {options[name]}")
    if options["max_steps"] is not None and options["max_steps"] < 1:
        raise ValueError(f"{function}: expected max_steps of at least 1, got {options['max_steps']}")
    if options["workers"] < 0:
        raise ValueError(f"{function}: expected workers of at least 0, got {options['workers']}")
    if not 0 < options["lr"] < float("inf"):
        raise ValueError(f"{function}: expected a positive lr, got {options['lr']}")
    for name, allowed in (("amp", AMP), ("log_format", LOGGERS)):
        if options[name] not in allowed:
            raise ValueError(f"{function}: expected {name} among {', '.join(allowed)}, got {options[name]!r}")


def precision_for(amp: str, device: torch.device) -> torch.dtype:
    """The dtype of mixed precision that one of `AMP` means, or torch.float32.

    Example:
        >>> import torch
        >>> from cnnfast.training.fit import precision_for
        >>> precision_for("bf16", torch.device("cpu"))
        torch.bfloat16
    """
    if amp == "auto":
        return fast_dtype(device)
    return torch.bfloat16 if amp == "bf16" else torch.float32


def _logger(function: str, folder: str | os.PathLike[str] | None, kind: str) -> Any:
    if folder is None:
        return False
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    if kind == "csv":
        return CSVLogger(str(folder), name="")
    try:
        return TensorBoardLogger(str(folder), name="")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{function}: expected the package tensorboard for its log, got none; "
            "install it with: pip install 'cnnfast[train]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's announcements and advice."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
