"""One run over a picture from the command line: previews, checkpoints, and a good end whenever it is stopped."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from cnnfast._atomic import atomic_write
from cnnfast._checkpoint import save_checkpoint
from cnnfast.images import ImageError, save_image
from cnnfast.models.style.picture.levels import RunProgress

_PLOTS = (".png", ".pdf", ".svg")


@contextmanager
def signals_to(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call a function instead of what they did before."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


class Stopped(Exception):
    """The run was stopped by Ctrl-C or SIGTERM; everything worth keeping has been written."""


@dataclass
class Session:
    """Files that a run writes while it goes on.

    Attributes:
        output: the picture, overwritten with the present one every `preview_every` iterations, 0 for never.
        checkpoint: file to continue from, written every `checkpoint_every` iterations, 0 for only when stopped.
        show: told of every iteration.
        history: [level, iteration, loss] of all iterations, those of a resumed run included.
    """

    output: Path
    preview_every: int
    checkpoint: Path
    checkpoint_every: int
    show: Callable[[RunProgress], None]
    history: list[list[float]] = field(default_factory=list)
    last: RunProgress | None = None
    _stop: bool = False
    _count: int = 0
    _failed: set[Path] = field(default_factory=set)

    def __call__(self, progress: RunProgress) -> None:
        """Takes note of an iteration; raises KeyboardInterrupt when a signal has asked to stop."""
        self.last = progress
        self._count += 1
        self.history.append([progress.level, progress.iteration, progress.loss])
        self.show(progress)
        if self._stop:
            raise KeyboardInterrupt
        if self.preview_every and self._count % self.preview_every == 0:
            self._attempt(self.output, lambda: save_image(progress.image(), self.output))
        if self.checkpoint_every and self._count % self.checkpoint_every == 0:
            self._attempt(self.checkpoint, lambda: save_checkpoint(progress.checkpoint(), self.checkpoint))

    def _attempt(self, path: Path, write: Callable[[], None]) -> None:
        """A full disk, say, must not end hours of work: say it once, go on, and try again next time."""
        try:
            write()
        except (ImageError, OSError) as error:
            if path not in self._failed:
                self._failed.add(path)
                print(f"cnnfast: {path} is not up to date, the run goes on: {error}", file=sys.stderr)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the present iteration, a second one at once; both save it.

        Raises:
            Stopped: it was stopped and saved.
            KeyboardInterrupt: it was stopped before there was anything to save.
        """
        with signals_to(self._on_signal):
            try:
                yield
            except KeyboardInterrupt:
                if self.last is None:
                    raise
                save_image(self.last.image(), self.output)
                save_checkpoint(self.last.checkpoint(), self.checkpoint)
                raise Stopped from None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.last is None or self._stop:
            raise KeyboardInterrupt
        self._stop = True


def write_history(path: Path, facts: Mapping[str, Any], history: list[list[float]]) -> None:
    """A JSON object: the facts, and one entry an iteration under "history"."""
    entries = [{"level": int(level), "iteration": int(i), "loss": loss} for level, i, loss in history]
    text = json.dumps({**facts, "history": entries}, indent=1)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def check_plot(path: Path) -> None:
    """Refuses, before the work, what matplotlib would refuse after it.

    Raises:
        ValueError: an ending that is none of ours.
        ImportError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _PLOTS:
        raise ValueError(f"--plot: expected a path ending in {', '.join(_PLOTS)}, got {path}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "--plot: expected the package matplotlib, got none; install it with: pip install 'cnnfast[cli]'"
        ) from error


def plot_history(path: Path, history: list[list[float]], label: str = "relative loss") -> None:
    """The loss over all iterations, on a logarithmic axis, with a line where a new level begins."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogy(range(1, len(history) + 1), [loss for _, _, loss in history])
    for index in range(1, len(history)):
        if history[index][0] != history[index - 1][0]:
            axes.axvline(index + 0.5, color="0.7", linewidth=0.8)
    axes.set(xlabel="iteration", ylabel=label)
    axes.grid(True, alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
