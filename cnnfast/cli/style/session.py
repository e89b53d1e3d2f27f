"""One run over a picture from the command line: previews, checkpoints, and a good end whenever it is stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from torch import Tensor

from cnnfast._checkpoint import save_checkpoint
from cnnfast.cli.base.errors import describe
from cnnfast.cli.base.signals import signals_to
from cnnfast.images import ImageError, save_image
from cnnfast.models.style.picture.levels import RunProgress


class Stopped(Exception):
    """The run was stopped by Ctrl-C or SIGTERM, its argument; everything worth keeping has been written."""


@dataclass
class Session:
    """Files that a run writes while it goes on.

    Attributes:
        output: the picture, overwritten with the present one every `preview_every` iterations, 0 for never.
        checkpoint: file to continue from, written every `checkpoint_every` iterations, 0 for only when stopped.
        show: told of every iteration.
        history: [level, iteration, loss] of all iterations, those of a resumed run included.
        bits: a channel of the picture.
        save_every: iterations between pictures that are kept under numbers of their own, 0 for none.
    """

    output: Path
    preview_every: int
    checkpoint: Path
    checkpoint_every: int
    show: Callable[[RunProgress], None]
    history: list[list[float]] = field(default_factory=list)
    bits: int = 8
    save_every: int = 0
    last: RunProgress | None = None
    _stop: int = 0
    _count: int = 0
    _failed: set[Path] = field(default_factory=set)

    def __call__(self, progress: RunProgress) -> None:
        """Record an iteration; raises KeyboardInterrupt when a signal has asked to stop."""
        self.last = progress
        self._count += 1
        self.history.append([progress.level, progress.iteration, progress.loss])
        self.show(progress)
        if self._stop:
            raise KeyboardInterrupt
        if self.preview_every and self._count % self.preview_every == 0:
            self._attempt(self.output, lambda: self.save(progress.image(), self.output))
        if self.save_every and len(self.history) % self.save_every == 0:
            numbered = self.output.with_stem(f"{self.output.stem}_{len(self.history):06}")
            self._attempt(numbered, lambda: self.save(progress.image(), numbered))
        if self.checkpoint_every and self._count % self.checkpoint_every == 0:
            self._attempt(self.checkpoint, lambda: save_checkpoint(progress.checkpoint(), self.checkpoint))

    def save(self, image: Tensor, path: Path) -> None:
        """Writes a picture in the depth that is wanted."""
        save_image(image, path, bits=self.bits)

    def _attempt(self, path: Path, write: Callable[[], None]) -> None:
        """A full disk, say, must not end hours of work: say it once, go on, and try again next time."""
        try:
            write()
        except (ImageError, OSError) as error:
            if path not in self._failed:
                self._failed.add(path)
                print(f"cnnfast: {path} is not up to date, the run goes on: {describe(error)}", file=sys.stderr)

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
                self._save_last(self.last)
                raise Stopped(self._stop or signal.SIGINT) from None

    def _save_last(self, last: RunProgress) -> None:
        """Both files, even if one of them cannot be written."""
        try:
            self.save(last.image(), self.output)
        finally:
            save_checkpoint(last.checkpoint(), self.checkpoint)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        again, self._stop = self._stop, number
        if self.last is None or again:
            raise KeyboardInterrupt
