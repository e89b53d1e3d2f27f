"""What every command that trains a network does: checks, progress, a good end whenever it is stopped, and its files."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

import cnnfast
from cnnfast._errors import ActionableError
from cnnfast._options import Option, option, option_name, options_of
from cnnfast.cli.base.history import check_plot, plot_history, write_history
from cnnfast.cli.base.parsing import check_outputs, check_seed, checkpoint_of
from cnnfast.cli.base.progress import WorkConsole, format_seconds
from cnnfast.cli.base.signals import STOPPED, signals_to
from cnnfast.cli.base.steps import StepReporter
from cnnfast.training.options import TrainingOptions

if TYPE_CHECKING:
    from cnnfast.training.step import Progress


@dataclass(kw_only=True)
class TrainingCommand(TrainingOptions):
    """Options of a command that trains, beside those of the training itself."""

    history: Path | None = option("write the loss of every step as JSON", default=None)
    plot: Path | None = option("write a plot of the loss: .png, .pdf or .svg", default=None)

    @property
    def output(self) -> Path:
        """The file of the network; commands have no training without one."""
        assert self.out is not None
        return self.out

    @property
    def checkpoint_path(self) -> Path:
        """The file of checkpoints, named or not."""
        return checkpoint_of(self.output, self.checkpoint)

    @property
    def share(self) -> str:
        """Who takes a batch, for descriptions."""
        return f" on each of {self.processes} processes" if self.processes > 1 else ""

    def training_arguments(self, kind: type[TrainingOptions], device: torch.device) -> dict[str, Any]:
        """The options that a kind of trainings has, as arguments of the function that trains."""
        return {**self.arguments(kind), "device": device, "checkpoint": self.checkpoint_path}


class Watch:
    """Follows a training, and ends it when a signal has asked for that.

    Args:
        reporter: told of every step.
        terms: of the loss, to be shown beside it.
        first: whether it is called after every step, as in the first of several processes alone.
    """

    def __init__(self, reporter: StepReporter, terms: Sequence[str], *, first: bool = True) -> None:
        self.history: list[list[float]] = []
        self.last: Progress | None = None
        self.stop = 0
        self._reporter, self._terms, self._first = reporter, terms, first

    def __call__(self, progress: Progress) -> bool:
        """Record a step; returns whether a signal has asked to stop."""
        if self.last is None:
            self._reporter.begin(progress.step - 1)
        self.last = progress
        self.history.append([1, progress.step, progress.loss])
        parts = [f"loss {progress.loss:.4g}"]
        parts += [f"{_shortened(name)} {progress.terms[name]:.3g}" for name in self._terms if name in progress.terms]
        self._reporter.update(progress.step, "  ".join(parts))
        return self.stop != 0

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Ends the training after a checkpoint, when called again at once. Other processes wait for the first one."""
        again, self.stop = self.stop, number
        if again or (self._first and self.last is None):
            raise KeyboardInterrupt


def _shortened(name: str) -> str:
    return name.removeprefix("loss_").replace("_", " ")


def check_training(options: TrainingCommand, inputs: Sequence[Path]) -> None:
    """What can be wrong with these options without opening a file.

    Args:
        options: of the command.
        inputs: files that are read.

    Raises:
        InputError: names the option, what it wants and what it got.
        MissingPackageError: the plot needs matplotlib.
    """
    check_seed(options.seed)
    if options.plot is not None:
        check_plot(options.plot)
    others = (options.history, options.plot)
    check_outputs(options.output, others, options.checkpoint, inputs=inputs, resume=options.resume)


def run_training(
    options: TrainingCommand,
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
    console = WorkConsole(quiet=not first)
    console.print(description, markup=False)
    started, began = time.monotonic(), time.time()
    with StepReporter(steps, "steps", console) as reporter:
        watch = Watch(reporter, terms, first=first)
        try:
            with signals_to(watch.on_signal):
                train(watch)
        except ActionableError:  # the losses say what went wrong
            if first:
                _write_records(options, watch, False, time.monotonic() - started)
            raise
        except KeyboardInterrupt:
            print(f"cnnfast: {_describe_interrupt(options, watch, began)}", file=sys.stderr)
            return STOPPED + (watch.stop or signal.SIGINT)
    if not first:
        return 0
    seconds = time.monotonic() - started
    finished = watch.last is None or watch.last.step >= steps
    _write_records(options, watch, finished, seconds)
    console.print(_conclude(options, watch, finished, seconds), markup=False)
    return 0 if finished else STOPPED + (watch.stop or signal.SIGINT)


def _describe_interrupt(options: TrainingCommand, watch: Watch, began: float) -> str:
    """How far it came, and which files of this run there are."""
    step = f"after step {watch.last.step}" if watch.last is not None else "before the first step was over"
    files = (options.output, options.checkpoint_path)
    written = [str(path) for path in files if path.exists() and path.stat().st_mtime >= began - 1]
    if not written:
        return f"stopped at once {step}, nothing was written"
    return f"stopped at once {step}; written before, every {options.checkpoint_every} steps: {' and '.join(written)}"


def _write_records(options: TrainingCommand, watch: Watch, finished: bool, seconds: float) -> None:
    if options.history is not None:
        values = {_word(item.name, facts): getattr(options, item.name) for item, facts in options_of(type(options))}
        words = {word: str(value) for word, value in values.items() if value is not None}
        facts = {"cnnfast": cnnfast.__version__, "torch": torch.__version__, "options": words}
        write_history(options.history, facts | {"finished": finished, "seconds": round(seconds, 3)}, watch.history)
    if options.plot is not None and watch.history:
        plot_history(options.plot, watch.history, "loss")


def _word(field: str, facts: Option) -> str:
    """The name of an option as an identifier."""
    return option_name(field, facts).removeprefix("--").replace("-", "_")


def _conclude(options: TrainingCommand, watch: Watch, finished: bool, seconds: float) -> str:
    loss = f", loss {watch.last.loss:.4g}" if watch.last is not None else ""
    if finished:
        return f"{options.output}: {format_seconds(seconds)}{loss}"
    step = 0 if watch.last is None else watch.last.step
    return (
        f"stopped at step {step}{loss}: {options.output} is the network so far; "
        f"continue with --resume {options.checkpoint_path}"
    )
