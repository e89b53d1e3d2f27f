"""``cnnfast fast-style apply``: pictures in the style of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnfast._errors import InputError
from cnnfast._extension import fast_dtype
from cnnfast._options import argument, option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import parse_device, parse_size
from cnnfast.cli.base.pictures import (
    PictureFormatOptions,
    PictureRunner,
    PicturesOutput,
    Task,
    check_targets,
    find_tasks,
    is_single,
    run_pictures,
)
from cnnfast.cli.base.steps import StepReporter
from cnnfast.images import save_image
from cnnfast.models.style.feed_forward.apply import apply_style
from cnnfast.models.style.feed_forward.files import StyleModel, load_style_network

_DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(kw_only=True)
class Options(PictureFormatOptions, PicturesOutput):
    """Of the command; see `cnnfast._options`."""

    model: Path = argument("network of the style")
    inputs: list[str] = argument("pictures, folders of pictures, or patterns like 'frames/*.png'")
    size: str | None = option(
        "longest side in px, or WIDTHxHEIGHT; default: each its own", default=None, after="output"
    )
    batch: int = option("pictures of equal size to take at once", default=1, minimum=1)
    tile: str = option(
        "rows to evaluate at a time, with the same result: auto (where memory is short), off, N", default="auto"
    )
    dtype: str = option("of the convolutions: auto, float32 or bfloat16", default="float32", choices=tuple(_DTYPES))
    skip_existing: bool = option("leave pictures alone whose output is there already", default=False, after="ending")


def run(options: Options) -> int:
    """Gives every picture the style; returns the exit status."""
    with user_input():
        tile = parse_tile(options.tile)
        size = None if options.size is None else parse_size(options.size)
        device = parse_device(options.device)
        tasks = find_tasks(options.inputs, options.output, options.ending)
        single = is_single(options.inputs, options.output)
        model = load_style_network(options.model)
        check_targets(tasks, options.output, [options.model], single=single)
    model.network.to(device)
    if options.skip_existing:
        tasks = [task for task in tasks if not task.target.exists()]
    runner = _Runner(options, model, size, tile, _DTYPES[options.dtype] or fast_dtype(device), strict=single)
    return run_pictures(runner, tasks, options.output, single=single)


def parse_tile(text: str) -> int | str | None:
    """What --tile means to `apply_style`.

    Raises:
        InputError: it means nothing.
    """
    if text in ("auto", "off"):
        return "auto" if text == "auto" else None
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise InputError(f"--tile: expected auto, off or a number of rows, got {text!r}")
    return int(text)


class _Runner(PictureRunner):
    """Reads, styles and writes, pictures of equal size together."""

    def __init__(
        self,
        options: Options,
        model: StyleModel,
        size: int | tuple[int, int] | None,
        tile: int | str | None,
        dtype: torch.dtype,
        *,
        strict: bool,
    ) -> None:
        super().__init__(options.alpha, size, strict=strict)
        self._batch, self._model, self._tile, self._dtype = options.batch, model, tile, dtype

    def run(self, tasks: Sequence[Task], reporter: StepReporter) -> None:
        """All of them."""
        waiting: list[tuple[Task, Tensor]] = []
        for task in tasks:
            picture = self.read(task)
            if picture is None:
                continue
            if waiting and waiting[0][1].shape != picture.shape:
                self._style(waiting, reporter)
                waiting = []
            waiting.append((task, picture))
            if len(waiting) == self._batch:
                self._style(waiting, reporter)
                waiting = []
        if waiting:
            self._style(waiting, reporter)

    def _style(self, waiting: Sequence[tuple[Task, Tensor]], reporter: StepReporter) -> None:
        """All at once; one by one where that fails, so that a picture's failure is its own."""
        if len(waiting) > 1:
            try:
                styled = self._apply(waiting, reporter)
            except (RuntimeError, MemoryError):
                for one in waiting:
                    self._style([one], reporter)
                return
            for (task, _), result in zip(waiting, styled, strict=True):
                self._write(task, result)
            return
        task = waiting[0][0]
        with self.guard(task):
            (result,) = self._apply(waiting, reporter)
            self._write(task, result)

    def _write(self, task: Task, result: Tensor) -> None:
        with self.guard(task):
            save_image(result, task.target)
            self.written += 1

    def _apply(self, waiting: Sequence[tuple[Task, Tensor]], reporter: StepReporter) -> Tensor:
        done = self.written + self.skipped
        name = waiting[0][0].source.name

        def show(share: float) -> None:
            reporter.update(done + share * len(waiting), name)

        pictures = torch.stack([picture for _, picture in waiting])
        return apply_style(self._model.network, pictures, tile=self._tile, dtype=self._dtype, progress=show)
