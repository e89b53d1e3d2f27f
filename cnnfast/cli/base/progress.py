"""Progress in one line."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

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


class WorkConsole(Console):
    """Standard output of a command that works for long: when nobody reads it any more, the work goes on in silence.

    So that ``cnnfast texture ... | head -1`` still writes its files.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=True, quiet=quiet)

    def on_broken_pipe(self) -> None:
        """Instead of ending the program, as rich would."""
        self.quiet = True
        # Also for the interpreter, which flushes the stream at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LiveLine:
    """One line about a piece of work, kept up to date on a terminal, printed every ten percent elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Progress | None = None
        self._shown = 0
        self._time = 0.0

    def __enter__(self) -> Self:
        """Starts the clock and, on a terminal, the line."""
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
        """Leaves the line as it is."""
        if self._live is not None:
            self._live.stop()

    def _skip(self, share: float) -> None:
        """Start from a share that an earlier run has done."""
        self._shown = int(10 * share)

    def _show(self, share: float, line: str) -> None:
        if self._live is not None:
            self._live.update(self._task, completed=share, description=line)
        elif int(10 * share) > self._shown:
            self._shown = int(10 * share)
            self._console.print(f"{100 * share:3.0f}%  {line}", highlight=False, soft_wrap=True)
