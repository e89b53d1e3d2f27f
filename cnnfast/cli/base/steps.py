"""Progress of work that counts in equal steps."""

from __future__ import annotations

import time

from rich.console import Console

from cnnfast.cli.base.progress import LiveLine, format_seconds


class StepReporter(LiveLine):
    """Shows how many steps of a number are done, with the rate and the time that is left.

    Args:
        total: steps.
        unit: name of one step in the rate, as in "12.5 pictures/s".
        console: where to.
    """

    def __init__(self, total: int, unit: str, console: Console) -> None:
        super().__init__(console)
        self._total, self._unit = total, unit
        self._before = 0.0

    def begin(self, done: float) -> None:
        """Takes note that so many steps were done before."""
        self._before = done
        self._skip(done / self._total)

    def update(self, done: float, text: str) -> None:
        """Show the number of finished steps, fractions allowed, and a text about the last one."""
        rate = (done - self._before) / max(time.monotonic() - self._time, 1e-9)
        left = format_seconds((self._total - done) / rate) if rate > 0 else "?"
        line = f"{int(done)}/{self._total}  {text}  {rate:.3g} {self._unit}/s  ETA {left}"
        self._show(done / self._total, line)
