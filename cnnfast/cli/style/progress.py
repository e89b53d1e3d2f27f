"""How far the optimisation of a picture is, over all its levels."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from cnnfast.cli.base.progress import LiveLine, format_seconds
from cnnfast.models.style.picture.levels import AnyLevel, RunProgress


class Reporter(LiveLine):
    """Shows how far a run is. Work counts as pixels times iterations, so that finer levels weigh more."""

    def __init__(self, plan: Sequence[AnyLevel], console: Console) -> None:
        super().__init__(console)
        self._work = [level.iterations * level.picture[0] * level.picture[1] for level in plan]
        self._begin: tuple[float, float] | None = None
        self._level, self._level_begin = 0, (0, 0.0)

    def update(self, progress: RunProgress) -> None:
        """Show one more iteration."""
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
