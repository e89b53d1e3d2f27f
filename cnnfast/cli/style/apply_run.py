"""What ``cnnfast fast-style apply`` does: finds the pictures, gives them the style, writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnfast._extension import fast_dtype
from cnnfast.cli.base.parsing import parse_choice, parse_device, parse_size
from cnnfast.cli.base.pictures import FORMATS, PictureRunner, Task, check_targets, find_tasks, is_single, run_pictures
from cnnfast.cli.base.steps import StepReporter
from cnnfast.images import save_image
from cnnfast.models.style.feed_forward.apply import apply_style
from cnnfast.models.style.feed_forward.files import StyleModel, load_style_network

_DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


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


def run(options: Options) -> int:
    """Gives every picture the style; returns the exit status."""
    tile = check_options(options)
    device = parse_device(options.device)
    tasks = find_tasks(options.inputs, options.output, options.ending)
    single = is_single(options.inputs, options.output)
    model = load_style_network(options.model)
    check_targets(tasks, options.output, [options.model], single=single)
    model.network.to(device)
    if options.skip_existing:
        tasks = [task for task in tasks if not task.target.exists()]
    runner = _Runner(options, model, tile, _DTYPES[options.dtype] or fast_dtype(device), strict=single)
    return run_pictures(runner, tasks, options.output, single=single)


def check_options(options: Options) -> int | str | None:
    """Everything that can be wrong without opening a file; returns what --tile means.

    Raises:
        ValueError: names the option, what it wants and what it got.
    """
    parse_choice("--alpha", options.alpha, ("white", "drop"))
    parse_choice("--dtype", options.dtype, tuple(_DTYPES))
    if options.ending is not None:
        parse_choice("--format", options.ending, FORMATS)
    if options.batch < 1:
        raise ValueError(f"--batch: expected at least 1, got {options.batch}")
    if options.size is not None:
        parse_size(options.size)
    if options.tile in ("auto", "off"):
        return "auto" if options.tile == "auto" else None
    if not options.tile.isascii() or not options.tile.isdecimal() or int(options.tile) < 1:
        raise ValueError(f"--tile: expected auto, off or a number of rows, got {options.tile!r}")
    return int(options.tile)


class _Runner(PictureRunner):
    """Reads, styles and writes, pictures of equal size together."""

    def __init__(
        self, options: Options, model: StyleModel, tile: int | str | None, dtype: torch.dtype, *, strict: bool
    ) -> None:
        super().__init__(options.alpha, None if options.size is None else parse_size(options.size), strict=strict)
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
        done = self.written + self.skipped
        name = waiting[0][0].source.name

        def show(share: float) -> None:
            reporter.update(done + share * len(waiting), name)

        pictures = torch.stack([picture for _, picture in waiting])
        styled = apply_style(self._model.network, pictures, tile=self._tile, dtype=self._dtype, progress=show)
        for (task, _), result in zip(waiting, styled, strict=True):
            save_image(result, task.target)
            self.written += 1
