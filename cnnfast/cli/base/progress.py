"""Progress in one line, and that of a run of several levels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cnnfast.models.style.picture.levels import AnyLevel, RunProgress

if TYPE_CHECKING:
    from typing_extensions import Self


def format_seconds(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> from cnnfast.cli.base.progress import format_seconds
        >>> format_seconds(75.2), format_seconds(7300)
        ('1:15', '2:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class LiveLine:
    """One line about a piece of work, kept up to date on a terminal, printed every ten percent elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Progress | None = None
        self._shown = 0
        self._time = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = TextColumn("{task.percentage:>3.0f}%"), BarColumn(bar_width=20), TextColumn("{task.description}")
            self._live = Progress(*columns, console=self._console)
            self._task = self._live.add_task("starting", total=1.0)
            self._live.start()
        self._time = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _skip(self, share: float) -> None:
        """Takes note of a share that was done before."""
        self._shown = int(10 * share)

    def _show(self, share: float, line: str) -> None:
        if self._live is not None:
            self._live.update(self._task, completed=share, description=line)
        elif int(10 * share) > self._shown:
            self._shown = int(10 * share)
            self._console.print(f"{100 * share:3.0f}%  {line}", highlight=False, soft_wrap=True)


class Reporter(LiveLine):
    """Shows how far a run is. Work counts as pixels times iterations, so that finer levels weigh more."""

    def __init__(self, plan: Sequence[AnyLevel], console: Console) -> None:
        super().__init__(console)
        self._work = [level.iterations * level.picture[0] * level.picture[1] for level in plan]
        self._begin: tuple[float, float] | None = None
        self._level, self._level_begin = 0, (0, 0.0)

    def update(self, progress: RunProgress) -> None:
        """Takes note of one iteration."""
        done = self._share_done(progress)
        if self._begin is None:  # the first iteration of a resumed run is not the first of all
            share = self._share_done(progress, before=1)
            self._begin = (share, self._time)
            self._skip(share)
        if progress.level != self._level:
            self._level, self._level_begin = progress.level, (progress.iteration - 1, self._time)
        self._time = time.monotonic()
        self._show(done, self._describe(progress, done))

    def _share_done(self, progress: RunProgress, before: int = 0) -> float:
        finished = sum(self._work[: progress.level - 1])
        part = (progress.iteration - before) / progress.iterations
        return (finished + part * self._work[progress.level - 1]) / sum(self._work)

    def _describe(self, progress: RunProgress, done: float) -> str:
        assert self._begin is not None
        share, start = self._begin
        left = (self._time - start) * (1 - done) / (done - share)
        iteration, since = self._level_begin
        rate = (progress.iteration - iteration) / max(self._time - since, 1e-9)
        height, width = progress.size
        return (
            f"level {progress.level}/{progress.levels} {width}x{height}  "
            f"iteration {progress.iteration}/{progress.iterations}  loss {progress.loss:.3g}  "
            f"{rate:.3g} it/s  ETA {format_seconds(left)}"
        )
