"""What ``cnnfast fast-style apply`` does: finds the pictures, gives them the style, writes them."""

from __future__ import annotations

import glob
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from cnnfast.cli._parsing import check_output, parse_choice, parse_device, parse_size
from cnnfast.cli._progress import format_seconds
from cnnfast.cli._steps import StepReporter
from cnnfast.images import ImageError, load_image, save_image
from cnnfast.images.writing import picture_format
from cnnfast.models.style.data import find_pictures
from cnnfast.models.style.fast_style import apply_style
from cnnfast.models.style.settings import fast_dtype
from cnnfast.models.style.style_files import StyleModel, load_style_network

_DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
_FORMATS = ("png", "jpg", "webp", "tif", "bmp")


@dataclass(kw_only=True)
class Options:
    """The words of the command line, as typed."""

    model: Path
    inputs: list[str]
    output: Path
    size: str | None
    batch: int
    tile: str
    dtype: str
    device: str
    alpha: str
    ending: str | None
    skip_existing: bool


class Task(NamedTuple):
    """A picture and the place of its result."""

    source: Path
    target: Path


def run(options: Options) -> int:
    """Gives every picture the style; returns the exit status."""
    tile = check_options(options)
    device = parse_device(options.device)
    tasks = find_tasks(options.inputs, options.output, options.ending)
    single = _is_single(options.inputs, options.output)
    model = load_style_network(options.model)
    _check_targets(options, tasks, single)
    model.network.to(device)
    if options.skip_existing:
        tasks = [task for task in tasks if not task.target.exists()]
    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    runner = _Runner(options, model, tile, _DTYPES[options.dtype] or fast_dtype(device), strict=single)
    with StepReporter(max(1, len(tasks)), "pictures", console) as reporter:
        try:
            runner.run(tasks, reporter)
        except KeyboardInterrupt:
            print(f"cnnfast: stopped, {runner.written} of {len(tasks)} pictures are written", file=sys.stderr)
            return 130
    seconds = format_seconds(time.monotonic() - started)
    skipped = f", {runner.skipped} skipped" if runner.skipped else ""
    size = f", {runner.size[1]}x{runner.size[0]} px" if single and runner.size else ""
    console.print(
        f"{options.output}: {runner.written} of {len(tasks)} pictures in {seconds}{size}{skipped}", markup=False
    )
    return 2 if runner.skipped else 0


def check_options(options: Options) -> int | str | None:
    """Everything that can be wrong without opening a file; returns what --tile means.

    Raises:
        ValueError: names the option, what it wants and what it got.
    """
    parse_choice("--alpha", options.alpha, ("white", "drop"))
    parse_choice("--dtype", options.dtype, tuple(_DTYPES))
    if options.ending is not None:
        parse_choice("--format", options.ending, _FORMATS)
    if options.batch < 1:
        raise ValueError(f"--batch: expected at least 1, got {options.batch}")
    if options.size is not None:
        parse_size(options.size)
    if options.tile in ("auto", "off"):
        return "auto" if options.tile == "auto" else None
    if not options.tile.isascii() or not options.tile.isdecimal() or int(options.tile) < 1:
        raise ValueError(f"--tile: expected auto, off or a number of rows, got {options.tile!r}")
    return int(options.tile)


def _is_single(inputs: Sequence[str], output: Path) -> bool:
    """Whether one picture goes into one file."""
    return len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_pattern(inputs[0]) and not output.is_dir()


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def find_tasks(inputs: Sequence[str], output: Path, ending: str | None) -> list[Task]:
    """All pictures that the words of the command line mean, each with its place.

    Raises:
        ValueError: a pattern or folder without pictures, or two pictures with the same place.
    """
    if _is_single(inputs, output):
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
            raise ValueError(f"{task.target}: expected one picture for each place, got {other} and {task.source}")
    return list(dict.fromkeys(tasks))


def _sources(text: str) -> Iterator[tuple[Path, Path]]:
    """Pictures that a word means, and their names in the output's folder."""
    path = Path(text)
    if path.is_dir():
        yield from ((found, found.relative_to(path)) for found in find_pictures(path))
    elif _is_pattern(text):
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if not Path(name).is_dir()]
        if not matches:
            raise ValueError(f"{text}: expected a pattern that matches pictures, got none")
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


def _check_targets(options: Options, tasks: Sequence[Task], single: bool) -> None:
    """Before the work: no result may replace an input, and the place must be writable."""
    sources = {os.path.realpath(task.source) for task in tasks} | {os.path.realpath(options.model)}
    for task in tasks:
        if os.path.realpath(task.target) in sources:
            raise ValueError(f"{task.target}: expected an output that is not also an input, got the same")
    if single:
        check_output(options.output)
        return
    if options.output.exists() and not options.output.is_dir():
        raise ValueError(f"{options.output}: expected a folder for several pictures, got a file")
    for folder in sorted({task.target.parent for task in tasks} | {options.output}):
        folder.mkdir(parents=True, exist_ok=True)
    check_output(options.output / ".cnnfast")


class _Runner:
    """Reads, styles and writes, pictures of equal size together."""

    def __init__(
        self, options: Options, model: StyleModel, tile: int | str | None, dtype: torch.dtype, *, strict: bool
    ) -> None:
        self._options, self._model, self._tile, self._dtype, self._strict = options, model, tile, dtype, strict
        self._size = None if options.size is None else parse_size(options.size)
        self.written = self.skipped = 0
        self.size: tuple[int, int] | None = None

    def run(self, tasks: Sequence[Task], reporter: StepReporter) -> None:
        """All of them."""
        waiting: list[tuple[Task, Tensor]] = []
        for task in tasks:
            picture = self._read(task)
            if picture is None:
                continue
            if waiting and waiting[0][1].shape != picture.shape:
                self._style(waiting, reporter)
                waiting = []
            waiting.append((task, picture))
            if len(waiting) == self._options.batch:
                self._style(waiting, reporter)
                waiting = []
        if waiting:
            self._style(waiting, reporter)

    def _read(self, task: Task) -> Tensor | None:
        try:
            return load_image(task.source, alpha=self._options.alpha, size=self._size)
        except ImageError as error:
            if self._strict:
                raise
            self.skipped += 1
            print(f"cnnfast: skipped: {error}", file=sys.stderr)
            return None

    def _style(self, waiting: Sequence[tuple[Task, Tensor]], reporter: StepReporter) -> None:
        done = self.written + self.skipped
        name = waiting[0][0].source.name

        def show(share: float) -> None:
            reporter.update(done + share * len(waiting), name)

        pictures = torch.stack([picture for _, picture in waiting])
        styled = apply_style(self._model.network, pictures, tile=self._tile, dtype=self._dtype, progress=show)
        for (task, picture), result in zip(waiting, styled, strict=True):
            save_image(result, task.target)
            self.written += 1
            self.size = (picture.shape[1], picture.shape[2])
