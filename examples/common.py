"""What the commands of all examples share: their options, the training loop, the table, and the file of results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cnnfast

Progress = Callable[[str, int, float], None]
"""Called after every step of a training with its name, the number of steps done, and the loss."""


def experiment_parser(module: str, description: str | None, steps: int) -> argparse.ArgumentParser:
    """Options of an experiment that trains small networks, draws a picture and prints a table.

    Args:
        module: as in ``python -m examples.<module>``; its last part names the picture.
        description: for --help.
        steps: of a training, unless asked for others.
    """
    parser = argparse.ArgumentParser(prog=f"python -m examples.{module}", description=description)
    picture = f"{module.rpartition('.')[2]}.png"
    parser.add_argument("-o", "--output", type=output_file(".png"), default=picture, help="picture (%(default)s)")
    parser.add_argument("--results", type=output_file(".json"), help="write the table as JSON, too")
    parser.add_argument("--seeds", type=natural(0), nargs="+", default=[0], help="a training for each (0)")
    parser.add_argument("--steps", type=natural(1), default=steps, help="of a training (%(default)s)")
    parser.add_argument("--rows", type=natural(1), default=6, help="of the picture (%(default)s)")
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda (%(default)s)")
    return parser


def output_file(ending: str) -> Callable[[str], Path]:
    """A type of argparse: a file with this ending that can be written, refused before hours of work and not after."""

    def file(text: str) -> Path:
        path = Path(text)
        if path.suffix != ending or path.is_dir() or not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"expected a path ending in {ending} in an existing folder, got {text}")
        return path

    return file


def natural(least: int) -> Callable[[str], int]:
    """A type of argparse: a whole number of at least `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text}")
        return int(text)

    return number


def device(text: str) -> torch.device:
    """A type of argparse: a device of torch."""
    try:
        return torch.device(text)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:1 ..., got {text}") from error


def fit(
    name: str,
    loss: Callable[[int], Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    steps: int,
    progress: Progress | None = None,
) -> list[float]:
    """Minimise `loss`, a function of the step's index; returns its values."""
    losses = []
    for step in range(steps):
        value = loss(step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
        if progress is not None:
            progress(name, step + 1, losses[-1])
    return losses


def print_progress(steps: int) -> Progress:
    """Prints every 50th step of a training to stderr."""

    def show(name: str, step: int, loss: float) -> None:
        if step % 50 == 0 or step == steps:
            print(f"{name}: step {step} of {steps}, loss {loss:.3f}", file=sys.stderr, flush=True)

    return show


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that is readable as it is and in Markdown: columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in (header, rule, *rows)
    )


def cell(scores: Iterable[float]) -> str:
    """Scores as a cell of a table: "0.500 / 1.000"."""
    return " / ".join(f"{score:.3f}" for score in scores)


def write_results(path: Path, settings: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Settings, results and the versions they were made with, as JSON."""
    content = {"cnnfast": cnnfast.__version__, "torch": torch.__version__, **settings, "results": results}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
