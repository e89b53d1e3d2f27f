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

_ENDINGS = {f".{name}" for name in (*FORMATS, "jpeg", "tiff")}
_SLASHES = tuple(slash for slash in (os.sep, os.altsep) if slash)


@dataclass(kw_only=True)
class PicturesOutput:
    """Where the results of pictures go."""

    output: str = option(
        "picture to write, or folder (with a slash behind it, or for several); made if it is missing", "-o", "--output"
    )


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


def is_single(inputs: Sequence[str], output: str) -> bool:
    """Whether one picture goes into one file.

    Example:
        >>> from cnnfast.cli.base.pictures import is_single
        >>> is_single(["a.png"], "b.png"), is_single(["a.png"], "styled/"), is_single(["a.png", "b.png"], "styled")
        (True, False, False)
    """
    folder = output.endswith(_SLASHES) or Path(output).is_dir()
    return len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_pattern(inputs[0]) and not folder


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def find_tasks(inputs: Sequence[str], output: str, ending: str | None) -> list[Task]:
    """All pictures that files, folders and patterns name, each with the place of its result.

    What an earlier call wrote into an output folder inside of an input folder is no input.

    Raises:
        InputError: a pattern or folder without pictures, two pictures with the same place, or a picture's name as the
            output of several.
    """
    place = Path(output)
    if is_single(inputs, output):
        picture_format(place)
        return [Task(Path(inputs[0]), place)]
    if not output.endswith(_SLASHES) and not place.exists() and place.suffix.lower() in _ENDINGS:
        got = f"a picture's name (a folder: {output}/)"
        raise InputError(f"{output}: expected a folder for several pictures, got {got}")
    tasks: list[Task] = []
    for text in inputs:
        found = [pair for pair in _sources(text) if not _is_inside(pair[0], place, text)]
        if not found:
            raise InputError(f"{text}: expected pictures besides those in the output {output}, got none")
        tasks += [Task(source, place / _renamed(relative, ending)) for source, relative in found]
    places: dict[str, Path] = {}
    for task in tasks:
        other = places.setdefault(os.path.realpath(task.target), task.source)
        if other != task.source:
            raise InputError(f"{task.target}: expected one picture for each place, got {other} and {task.source}")
    return list(dict.fromkeys(tasks))


def _is_inside(source: Path, output: Path, text: str) -> bool:
    """Whether a picture of an input folder lies in the output folder, which is another one inside of it."""
    folder, own = os.path.realpath(output), os.path.realpath(text)
    return folder.startswith(own + os.sep) and os.path.realpath(source).startswith(folder + os.sep)


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


def check_targets(tasks: Sequence[Task], output: str, inputs: Iterable[Path], *, single: bool) -> None:
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
    place = Path(output)
    if place.exists() and not single and not place.is_dir():
        raise InputError(f"{output}: expected a folder for several pictures, got a file")
    for folder in sorted({task.target.parent for task in tasks} | ({place.parent} if single else {place})):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: expected a folder that can be made, got: {error.strerror}") from error
    check_output(place if single else place / ".cnnfast")


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


def run_pictures(runner: PictureRunner, tasks: Sequence[Task], output: str, *, single: bool) -> int:
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
