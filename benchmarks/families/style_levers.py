"""Style transfer: what each of the levers that make it fast, or small, is worth."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.case import Case
from benchmarks.families.style import COLD, Judge, run_to_losses, run_to_the_end, timed_in_turn
from benchmarks.measure import record
from benchmarks.style.levers import LEVERS, run_evaluations, run_without_preconditioner
from benchmarks.style.processes import Paced, as_result, take_turns
from benchmarks.style.programs import Problem, run_cnnfast, write_problem
from benchmarks.style.vgg import find_vgg19, has_bfloat16

EVALUATION = "an evaluation with and without each lever, on top of those above it"
LOOP = "the whole loop with and without each lever, on top of those above it"
TILES = "an iteration with and without tiles"


def evaluations(problem: Problem, rounds: int, roofline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each lever on top of those before it, in processes that take turns."""
    with ExitStack() as stack:
        programs = (functools.partial(run_evaluations, problem, count) for count in range(len(LEVERS) + 1))
        running = [stack.enter_context(Paced(program)) for program in programs]
        take_turns(running, rounds + COLD - 1)
        results = [as_result(program, program.seconds[COLD:]) for program in running]
    for lever, without, with_it in zip(LEVERS, results, results[1:], strict=False):
        both = {"cnnfast": with_it, "without": without}
        yield record(Case(EVALUATION, f"{lever}, {problem.side}x{problem.side}"), both, roofline)


def loops(problem: Problem, coarse: int, judge: Judge, roofline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The time to the loss of a loop without preconditioner: of that loop, with one, and with coarser levels too."""
    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    before = run_to_the_end(functools.partial(run_without_preconditioner, problem, dtype=dtype), judge)
    wanted = [before["loss"]]
    for lever, iterations in (
        ("a preconditioner for smooth changes", [problem.iterations]),
        ("two coarser levels", [coarse, coarse, problem.iterations]),
    ):
        program = functools.partial(run_cnnfast, problem, dtype=dtype, levels=len(iterations), iterations=iterations)
        (after,) = run_to_losses(program, judge, wanted)
        label = f"{lever}, to the loss of {problem.iterations} iterations at {problem.side}x{problem.side}"
        yield record(Case(LOOP, label), {"cnnfast": after, "without": before}, roofline)
        before = after


def tiles(problem: Problem, tile: int, rounds: int, roofline: Mapping[str, Any]) -> dict[str, Any]:
    """The same evaluation at once and in tiles, which take the memory of one."""
    whole = functools.partial(run_cnnfast, problem)
    programs = {"cnnfast": functools.partial(run_cnnfast, problem, tile=tile), "without": whole}
    label = f"tiles of {tile} px, {problem.side}x{problem.side}"
    return record(Case(TILES, label), timed_in_turn(programs, rounds), roofline)


def runs(roofline: Mapping[str, Any], quick: bool, text: str) -> Iterator[dict[str, Any]]:
    """Measure levers of one evaluation, coarse levels, and tiles."""
    weights, _ = find_vgg19()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if text in EVALUATION:
            yield from evaluations(
                write_problem(folder, 64 if quick else 256, 1000, weights), 2 if quick else 3, roofline
            )
        if text in LOOP:
            problem = write_problem(folder, *((64, 4) if quick else (256, 100)), weights)
            yield from loops(problem, 2 if quick else 100, Judge(weights, problem), roofline)
        if text in TILES:
            problem = write_problem(folder, 64 if quick else 384, 1000, weights)
            yield tiles(problem, 32 if quick else 128, 2 if quick else 1, roofline)
