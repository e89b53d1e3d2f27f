"""What every command that trains a network does: checks, progress, a good end whenever it is stopped, and its files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

import cnnfast
from cnnfast.cli.base.history import check_plot, plot_history, write_history
from cnnfast.cli.base.parsing import check_outputs, check_seed, checkpoint_of, parse_choice
from cnnfast.cli.base.progress import format_seconds
from cnnfast.cli.base.signals import signals_to
from cnnfast.cli.base.steps import StepReporter

if TYPE_CHECKING:
    from cnnfast.training.step import Progress

_AMP = {"auto": "auto", "float32": "none", "bfloat16": "bf16"}
_NUMBERS = ("steps", "epochs", "batch", "devices", "nodes", "checkpoint_every")


@dataclass(kw_only=True)
class TrainingOptions:
    """The words of the command line that every training takes, as typed."""

    output: Path
    steps: int | None
    epochs: int
    batch: int
    seed: int
    device: str
    devices: int
    nodes: int
    dtype: str
    workers: int
    checkpoint: Path | None
    checkpoint_every: int
    resume: Path | None
    log: Path | None
    log_format: str
    history: Path | None
    plot: Path | None

    @property
    def checkpoint_path(self) -> Path:
        """The file of checkpoints, named or not."""
        return checkpoint_of(self.output, self.checkpoint)

    @property
    def processes(self) -> int:
        """On all machines."""
        return self.devices * self.nodes

    def steps_for(self, examples: int) -> int:
        """Steps of the whole training."""
        return self.steps or -(-self.epochs * examples // (self.batch * self.processes))

    def common(self) -> dict[str, Any]:
        """Arguments of the functions that train."""
        return {
            "batch_size": self.batch,
            "seed": self.seed,
            "out": self.output,
            "checkpoint": self.checkpoint_path,
            "checkpoint_every": self.checkpoint_every,
            "resume": self.resume,
            "log_dir": self.log,
            "log_format": self.log_format,
            "amp": _AMP[self.dtype],
            "workers": self.workers,
            "devices": self.devices,
            "nodes": self.nodes,
        }


class Watch:
    """Follows a training, and ends it when a signal has asked for that.

    Args:
        reporter: told of every step.
        terms: of the loss, to be shown beside it.
    """

    def __init__(self, reporter: StepReporter, terms: Sequence[str]) -> None:
        self.history: list[list[float]] = []
        self.last: Progress | None = None
        self.stop = False
        self._reporter, self._terms = reporter, terms

    def __call__(self, progress: Progress) -> bool:
        """Takes note of a step; returns whether a signal has asked to stop."""
        if self.last is None:
            self._reporter.begin(progress.step - 1)
        self.last = progress
        self.history.append([1, progress.step, progress.loss])
        parts = [f"loss {progress.loss:.4g}"]
        parts += [f"{_shortened(name)} {progress.terms[name]:.3g}" for name in self._terms if name in progress.terms]
        self._reporter.update(progress.step, "  ".join(parts))
        return self.stop

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Ends the training after a checkpoint, when called again at once."""
        if self.stop or self.last is None:
            raise KeyboardInterrupt
        self.stop = True


def _shortened(name: str) -> str:
    return name.removeprefix("loss_").replace("_", " ")


def check_training(options: TrainingOptions, inputs: Sequence[Path]) -> None:
    """What can be wrong with these options without opening a file.

    Args:
        options: as typed.
        inputs: files that are read.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    parse_choice("--dtype", options.dtype, tuple(_AMP))
    parse_choice("--log-format", options.log_format, ("csv", "tensorboard"))
    check_least(options, _NUMBERS)
    check_seed(options.seed)
    if options.plot is not None:
        check_plot(options.plot)
    others = (options.history, options.plot)
    check_outputs(options.output, others, options.checkpoint, inputs=inputs, resume=options.resume)


def check_least(options: TrainingOptions, names: Sequence[str]) -> None:
    """Raises ValueError unless the options of these names are None or at least 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')}: expected at least 1, got {value}")


def run_training(
    options: TrainingOptions,
    description: str,
    steps: int,
    train: Callable[[Watch], object],
    *,
    terms: Sequence[str] = (),
) -> int:
    """Trains, writes the files; returns the exit status.

    Args:
        options: checked.
        description: the first line of the output.
        steps: of the whole training.
        train: does it, telling the watch of every step.
        terms: of the loss, to be shown beside it.
    """
    # Fabric starts further processes with the same command; one of them talks.
    first = os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
    console = Console(highlight=False, soft_wrap=True, quiet=not first)
    console.print(description, markup=False)
    started = time.monotonic()
    with StepReporter(steps, "steps", console) as reporter:
        watch = Watch(reporter, terms)
        try:
            with signals_to(watch.on_signal):
                train(watch)
        except KeyboardInterrupt:
            print(f"cnnfast: {_describe_interrupt(options, watch)}", file=sys.stderr)
            return 130
    if not first:
        return 0
    seconds = time.monotonic() - started
    finished = watch.last is None or watch.last.step >= steps
    _write_records(options, watch, finished, seconds)
    console.print(_conclude(options, watch, finished, seconds), markup=False)
    return 0 if finished else 130


def _describe_interrupt(options: TrainingOptions, watch: Watch) -> str:
    if watch.last is None:
        return "stopped before the first step was over, nothing was written"
    return (
        f"stopped at once after step {watch.last.step}; what {options.output} and {options.checkpoint_path} hold is of "
        f"every {options.checkpoint_every} steps"
    )


def _write_records(options: TrainingOptions, watch: Watch, finished: bool, seconds: float) -> None:
    if options.history is not None:
        words = {name: str(value) for name, value in asdict(options).items() if value is not None}
        facts = {"cnnfast": cnnfast.__version__, "torch": torch.__version__, "options": words}
        write_history(options.history, facts | {"finished": finished, "seconds": round(seconds, 3)}, watch.history)
    if options.plot is not None and watch.history:
        plot_history(options.plot, watch.history, "loss")


def _conclude(options: TrainingOptions, watch: Watch, finished: bool, seconds: float) -> str:
    loss = f", loss {watch.last.loss:.4g}" if watch.last is not None else ""
    if finished:
        return f"{options.output}: {format_seconds(seconds)}{loss}"
    step = 0 if watch.last is None else watch.last.step
    return (
        f"stopped at step {step}{loss}: {options.output} is the network so far; "
        f"continue with --resume {options.checkpoint_path}"
    )
