"""Progress of work that counts in equal steps: one live line on a terminal, a line every ten percent elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cnnfast.cli._progress import format_seconds


class StepReporter:
    """Shows how many steps of a number are done, with the rate and the time that is left.

    Args:
        total: steps.
        unit: name of one step in the rate, as in "12.5 pictures/s".
        console: where to.
    """

    def __init__(self, total: int, unit: str, console: Console) -> None:
        self._total, self._unit, self._console = total, unit, console
        self._live: Progress | None = None
        self._before, self._since, self._shown = 0.0, 0.0, 0

    def __enter__(self) -> StepReporter:
        if self._console.is_terminal:
            columns = TextColumn("{task.percentage:>3.0f}%"), BarColumn(bar_width=20), TextColumn("{task.description}")
            self._live = Progress(*columns, console=self._console)
            self._task = self._live.add_task("starting", total=self._total)
            self._live.start()
        self._since = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, done: float) -> None:
        """Takes note that so many steps were done before."""
        self._before, self._shown = done, int(10 * done / self._total)

    def update(self, done: float, text: str) -> None:
        """Takes note of finished steps, fractions allowed, and of what to say about the last one."""
        rate = (done - self._before) / max(time.monotonic() - self._since, 1e-9)
        left = format_seconds((self._total - done) / rate) if rate > 0 else "?"
        line = f"{int(done)}/{self._total}  {text}  {rate:.3g} {self._unit}/s  ETA {left}"
        if self._live is not None:
            self._live.update(self._task, completed=done, description=line)
        elif int(10 * done / self._total) > self._shown:
            self._shown = int(10 * done / self._total)
            self._console.print(f"{100 * done / self._total:3.0f}%  {line}", highlight=False, soft_wrap=True)
