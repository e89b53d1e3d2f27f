"""What ``cnnfast segment toy`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import cnnfast
from cnnfast.cli.base.parsing import check_output, check_seed, describe_device, parse_device
from cnnfast.cli.base.progress import format_seconds
from cnnfast.cli.base.steps import StepReporter
from cnnfast.detection.coco_files import write_json
from cnnfast.images import save_image
from cnnfast.images.writing import picture_format
from cnnfast.models.instance_segmentation.toy import (
    ToyResult,
    ToyRun,
    ToyScore,
    ToySettings,
    best_results,
    run_toy,
    toy_methods,
)
from cnnfast.models.instance_segmentation.toy_examples import example_sheet

_BINARY, _OMN = 0, 1


@dataclass(kw_only=True)
class Options:
    """The words of the command line, as typed."""

    output: Path
    seed: int
    runs: int
    steps: int
    examples: int
    results: Path | None
    device: str


def run(options: Options) -> int:
    """Trains and compares, prints the table, writes the files; returns the exit status."""
    check_options(options)
    device = parse_device(options.device)
    settings = ToySettings(steps=options.steps)
    console = Console(highlight=False, soft_wrap=True)
    console.print(_describe(options, settings, device), markup=False)
    started = time.monotonic()
    runs = _run_all(options, settings, device, console)
    best = best_results(settings=settings)
    save_image(example_sheet(toy_methods(), runs[0], options.examples, settings), options.output)
    if options.results is not None:
        write_json(options.results, _facts(options, settings, runs, best))
    Console(highlight=False).print(_table(settings, runs, best))
    console.print(_margin(settings, runs), markup=False)
    console.print(
        f"{options.output}: {options.examples} examples, {format_seconds(time.monotonic() - started)}", markup=False
    )
    return 0


def check_options(options: Options) -> None:
    """Everything that can be wrong, before any work.

    Raises:
        ValueError: names the option, what it wants and what it got.
    """
    for name, value, most in (
        ("--runs", options.runs, 1000),
        ("--steps", options.steps, 10**6),
        ("--examples", options.examples, ToySettings().testing),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected a number of 1..{most}, got {value}")
    check_seed(options.seed)
    if options.seed + options.runs > 10**6:
        raise ValueError(f"--seed: expected seeds below 1000000, got {options.seed}")
    picture_format(options.output)
    check_output(options.output)
    if options.results is not None:
        check_output(options.results, others=[options.output])


def _run_all(options: Options, settings: ToySettings, device: torch.device, console: Console) -> list[ToyRun]:
    runs = []
    done = 0
    with StepReporter(options.runs * len(toy_methods()) * settings.steps, "steps", console) as reporter:
        for seed in range(options.seed, options.seed + options.runs):

            def show(method: str, _: int, loss: float, seed: int = seed) -> None:
                nonlocal done
                done += 1
                reporter.update(done, f"seed {seed}  {method}  loss {loss:.3f}")

            runs.append(run_toy(seed, settings=settings, device=device, callback=show))
    return runs


def _describe(options: Options, settings: ToySettings, device: torch.device) -> str:
    low, high = settings.training_iou
    where = describe_device(device) if device.type == "cuda" else "cpu (1 thread)"
    return (
        f"{where}; {settings.training} pictures to train on in boxes of IoU {low:g} to {high:g}, "
        f"{settings.testing} to test; {options.runs} x {len(toy_methods())} networks, {settings.steps} steps each"
    )


def _table(settings: ToySettings, runs: Sequence[ToyRun], best: Sequence[ToyResult]) -> Table:
    """Mean IoU and share of objects with IoU >= 0.7, for each method and seed."""
    table = Table(title="mean IoU with the whole object / share of IoU >= 0.7, by IoU of the box")
    table.add_column("mask")
    table.add_column("seed", justify="right")
    for low, high in settings.test_ious:
        table.add_column(f"box {low:g}-{high:g}", justify="right")
    for index in range(len(best)):
        for run_ in runs:
            result = run_.results[index]
            table.add_row(result.method, str(result.seed), *map(_cell, result.scores))
        if len(runs) > 1:
            means = [
                _mean([run_.results[index].scores[part] for run_ in runs]) for part in range(len(settings.test_ious))
            ]
            table.add_row("", "mean", *map(_cell, means))
        table.add_row("", "ideal", *map(_cell, best[index].scores), end_section=True)
    return table


def _cell(score: ToyScore) -> str:
    return f"{score.iou:.3f} / {score.share:.3f}"


def _mean(scores: Sequence[ToyScore]) -> ToyScore:
    return ToyScore(sum(s.iou for s in scores) / len(scores), sum(s.share for s in scores) / len(scores))


def _margin(settings: ToySettings, runs: Sequence[ToyRun]) -> str:
    """How far the object mask network is ahead where boxes are worst."""
    low, high = settings.test_ious[0]
    parts = []
    for run_ in runs:
        binary, omn = (run_.results[index].scores[0] for index in (_BINARY, _OMN))
        parts.append(f"{omn.iou - binary.iou:+.3f} / {omn.share - binary.share:+.3f}")
    return (
        f"object mask network less binary mask in box, at box IoU {low:g}-{high:g}: {', '.join(parts)}\n"
        '"ideal" has no fault but those of its form. The control sees more of the picture than the other two.'
    )


def _facts(
    options: Options, settings: ToySettings, runs: Sequence[ToyRun], best: Sequence[ToyResult]
) -> dict[str, Any]:
    results = [result for run_ in runs for result in run_.results] + list(best)
    return {
        "cnnfast": cnnfast.__version__,
        "torch": torch.__version__,
        "steps": settings.steps,
        "test_ious": [list(iou) for iou in settings.test_ious],
        "results": [
            {
                "method": result.method,
                "seed": result.seed,
                "mean_iou": [score.iou for score in result.scores],
                "share": [score.share for score in result.scores],
            }
            for result in results
        ],
    }
