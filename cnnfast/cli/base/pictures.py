"""What every command that goes over pictures does: finds them and their places, reads them, counts them."""

from __future__ import annotations

import glob
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from cnnfast._atomic import DISK_ERRORS
from cnnfast._errors import InputError
from cnnfast._options import option
from cnnfast.cli.base.options import DeviceOptions
from cnnfast.cli.base.parsing import check_output
from cnnfast.cli.base.progress import WorkConsole, format_seconds
from cnnfast.cli.base.steps import StepReporter
from cnnfast.images import ImageError, find_pictures, load_image
from cnnfast.images.writing import picture_format

FORMATS = ("png", "jpg", "webp", "tif", "bmp")
"""What pictures in a folder can be made."""


@dataclass(kw_only=True)
class PicturesOutput:
    """Where the results of pictures go."""

    output: Path = option("picture to write, or folder for several; made if it is missing", "-o", "--output")


@dataclass(kw_only=True)
class PictureFormatOptions(DeviceOptions):
    """How pictures are read and written."""

    alpha: str = option("transparency: white (compose on white) or drop", default="white", choices=("white", "drop"))
    ending: str | None = option(
        "png, jpg, webp, tif or bmp in a folder; default: each its own", "--format", default=None, choices=FORMATS
    )


class Task(NamedTuple):
    """A picture and the place of its result."""

    source: Path
    target: Path


def is_single(inputs: Sequence[str], output: Path) -> bool:
    """Whether one picture goes into one file."""
    return len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_pattern(inputs[0]) and not output.is_dir()


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def find_tasks(inputs: Sequence[str], output: Path, ending: str | None) -> list[Task]:
    """All pictures that files, folders and patterns name, each with the place of its result.

    Raises:
        InputError: a pattern or folder without pictures, or two pictures with the same place.
    """
    if is_single(inputs, output):
        picture_format(output)
        return [Task(Path(inputs[0]), output)]
    tasks: list[Task] = []
    for text in inputs:
        for source, relative in _sources(text):
            tasks.append(Task(source, output / _renamed(relative, ending)))
    places: dict[str, Path] = {}
    for task in tasks:
        other = places.setdefault(os.path.realpath(task.target), task.source)
        if other != task.source:
            raise InputError(f"{task.target}: expected one picture for each place, got {other} and {task.source}")
    return list(dict.fromkeys(tasks))


def _sources(text: str) -> Iterator[tuple[Path, Path]]:
    """Pictures that a word means, and their names in the output's folder."""
    path = Path(text)
    if path.is_dir():
        yield from ((found, found.relative_to(path)) for found in find_pictures(path))
    elif _is_pattern(text):
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if not Path(name).is_dir()]
        if not matches:
            raise InputError(f"{text}: expected a pattern that matches pictures, got none")
        yield from ((found, Path(found.name)) for found in matches)
    else:
        yield path, Path(path.name)


def _renamed(relative: Path, ending: str | None) -> Path:
    """With the wanted ending, or PNG's where we do not write the picture's own."""
    if ending is not None:
        return relative.with_suffix(f".{ending}")
    try:
        picture_format(relative)
    except ImageError:
        return relative.with_suffix(".png")
    return relative


def check_targets(tasks: Sequence[Task], output: Path, inputs: Iterable[Path], *, single: bool) -> None:
    """Before the work: no result may replace an input, and the place must be writable; makes the folders.

    Args:
        tasks: from `find_tasks`.
        output: of the command.
        inputs: other files that are read.
        single: whether one picture goes into one file.

    Raises:
        InputError: it is not so; the message says why.
    """
    sources = {os.path.realpath(task.source) for task in tasks} | {os.path.realpath(path) for path in inputs}
    for task in tasks:
        if os.path.realpath(task.target) in sources:
            raise InputError(f"{task.target}: expected an output that is not also an input, got the same")
    if single:
        check_output(output)
        return
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: expected a folder for several pictures, got a file")
    for folder in sorted({task.target.parent for task in tasks} | {output}):
        folder.mkdir(parents=True, exist_ok=True)
    check_output(output / ".cnnfast")


class PictureRunner(ABC):
    """Works on pictures, and counts them.

    Attributes:
        written: results that are in their places.
        skipped: pictures that could not be read, worked on or written.
        size: (height, width) of the last picture.

    Args:
        alpha: what to do with transparency.
        size: of pictures, as `load_image` takes it.
        strict: whether a picture that fails is an error; else it is named and skipped.
    """

    def __init__(self, alpha: str, size: int | tuple[int, int] | None = None, *, strict: bool) -> None:
        self._alpha, self._size, self._strict = alpha, size, strict
        self.written = self.skipped = 0
        self.size: tuple[int, int] | None = None

    @abstractmethod
    def run(self, tasks: Sequence[Task], reporter: StepReporter) -> None:
        """All of them."""

    def read(self, task: Task) -> Tensor | None:
        """The picture [3,H,W], or None where it is skipped."""
        with self.guard(task):
            picture = load_image(task.source, alpha=self._alpha, size=self._size)
            self.size = (picture.shape[1], picture.shape[2])
            return picture
        return None

    @contextmanager
    def guard(self, task: Task) -> Iterator[None]:
        """Names and skips a picture whose block fails, whatever the reason, but for a disk that takes no more."""
        try:
            yield
        except (ImageError, RuntimeError, MemoryError) as error:
            cause = error.__cause__
            if self._strict or (isinstance(cause, OSError) and cause.errno in DISK_ERRORS):
                raise
            self.skipped += 1
            name, what = str(task.source), " ".join(str(error).split()) or type(error).__name__
            print(f"cnnfast: skipped: {what if name in what else f'{name}: {what}'}", file=sys.stderr)


def run_pictures(runner: PictureRunner, tasks: Sequence[Task], output: Path, *, single: bool) -> int:
    """Works on all of them, and says how it went; returns the exit status."""
    console = WorkConsole()
    started = time.monotonic()
    with StepReporter(max(1, len(tasks)), "pictures", console) as reporter:
        try:
            runner.run(tasks, reporter)
        except KeyboardInterrupt:
            print(f"cnnfast: stopped, {runner.written} of {len(tasks)} pictures are written", file=sys.stderr)
            return 130
    seconds = format_seconds(time.monotonic() - started)
    skipped = f", {runner.skipped} skipped" if runner.skipped else ""
    size = f", {runner.size[1]}x{runner.size[0]} px" if single and runner.size else ""
    console.print(f"{output}: {runner.written} of {len(tasks)} pictures in {seconds}{size}{skipped}", markup=False)
    return 2 if runner.skipped else 0
