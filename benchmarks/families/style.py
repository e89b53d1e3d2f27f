"""Style transfer against the packages pastiche and neural-style: an iteration, peak memory, the time to a loss."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.measure import record, summarise
from benchmarks.style.processes import Paced, Program, as_result, take_turns
from benchmarks.style.programs import (
    Problem,
    our_network,
    our_objective,
    run_cnnfast,
    run_neural_style,
    run_pastiche,
    write_problem,
)
from benchmarks.style.vgg import find_vgg19, style_work
from cnnfast.images import load_image
from cnnfast.weights import VGGWeights

ITERATION = "style transfer, an iteration, VGG-19"
TIME_TO_LOSS = "style transfer, time to the loss of another package, VGG-19"
RIVALS: dict[str, Callable[..., None]] = {"pastiche": run_pastiche, "neural-style": run_neural_style}
BFLOAT16 = functools.partial(run_cnnfast, dtype=torch.bfloat16)
# The first iteration loads everything, the second still warms up.
COLD = 2


def timed_in_turn(programs: Mapping[str, Program], rounds: int) -> dict[str, dict[str, Any]]:
    """Results of programs that make iterations in turn, each in a fresh process."""
    with ExitStack() as stack:
        running = {name: stack.enter_context(Paced(program)) for name, program in programs.items()}
        take_turns(list(running.values()), rounds + COLD - 1)
        results = {name: as_result(program, program.seconds[COLD:]) for name, program in running.items()}
    _check(results)
    return results


def _check(results: Mapping[str, Mapping[str, Any]]) -> None:
    ours = results["cnnfast"]
    if ours["status"] != "ok":
        raise RuntimeError(f"style: cnnfast is {ours['status']}: {ours['reason']}")


def iterations(problem: Problem, rounds: int, roofline: Mapping[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """Ours with a single level against the other packages."""
    programs = {"cnnfast": run_cnnfast, "cnnfast bfloat16": BFLOAT16, **RIVALS}
    results = timed_in_turn({name: functools.partial(p, problem) for name, p in programs.items()}, rounds)
    side = problem.side
    case = Case(ITERATION, f"{side}x{side}", (3, side, side), style_work(side, side), details=details)
    return record(case, results, roofline)


class Judge:
    """Relative loss, in float32, of the picture that a program would write."""

    def __init__(self, weights: VGGWeights, problem: Problem) -> None:
        network = our_network(weights)
        self._objective = our_objective(network, load_image(problem.content), load_image(problem.style))

    def __call__(self, picture: Tensor) -> float:
        """Of a picture [3,H,W]; what is written lies in [0,1]."""
        return self._objective.relative(float(self._objective(picture.clamp(0, 1))[0]))


def run_to_the_end(program: Program, judge: Judge) -> dict[str, Any]:
    """Seconds of all iterations, with all that comes before them, and the loss they arrive at."""
    with Paced(program) as running:
        picture = None
        while running.outcome is None:
            picture = running.picture()
            running.step()
        result = as_result(running, [sum(running.seconds)])
        return result if picture is None else result | {"loss": judge(picture)}


def run_to_losses(program: Program, judge: Judge, wanted: Sequence[float]) -> list[dict[str, Any]]:
    """Seconds until a program's picture of full size has each of the losses."""
    results: list[dict[str, Any]] = [{} for _ in wanted]
    with Paced(program) as running:
        while running.outcome is None and not all(results):
            open_ones = [index for index, result in enumerate(results) if not result]
            loss = running.loss
            # Judging takes time. It begins when the program's own loss, which bfloat16 rounds, is close.
            if loss <= 1.05 * max(wanted[index] for index in open_ones):
                loss = judge(running.picture())
                for index in open_ones:
                    if loss <= wanted[index]:
                        results[index] = {"seconds": sum(running.seconds), "loss": loss}
            if not all(results):
                running.step()
        ended = as_result(running, [sum(running.seconds)])
    if ended["status"] != "ok":
        return [ended] * len(wanted)
    return [
        ended | asdict(summarise([result["seconds"]])) | {"loss": result["loss"]}
        if result
        else {"status": "failed", "reason": f"ended at a relative loss of {loss:.3g}"}
        for result in results
    ]


def times_to_losses(
    problem: Problem, judge: Judge, roofline: Mapping[str, Any], details: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The other packages from start to end, then ours until it has the losses that they arrived at.

    Ours has a single level, too: at this size coarse levels cost more than they save (suite style_levers).
    """
    rivals = {name: run_to_the_end(functools.partial(p, problem), judge) for name, p in RIVALS.items()}
    wanted = {name: result["loss"] for name, result in rivals.items() if result["status"] == "ok"}
    as_long_as_it_takes = {"iterations": 3 * problem.iterations}
    ours = {
        "cnnfast": functools.partial(run_cnnfast, problem, **as_long_as_it_takes),
        "cnnfast bfloat16": functools.partial(BFLOAT16, problem, **as_long_as_it_takes),
    }
    reached = {name: run_to_losses(program, judge, list(wanted.values())) for name, program in ours.items()}
    for index, rival in enumerate(wanted):
        results = {name: each[index] for name, each in reached.items()} | {rival: rivals[rival]}
        label = f"{rival}, {problem.iterations} iterations at {problem.side}x{problem.side}"
        yield record(Case(TIME_TO_LOSS, label, details=details), results, roofline)


def runs(roofline: Mapping[str, Any], quick: bool, text: str) -> Iterator[dict[str, Any]]:
    """Measure iterations at two sizes and the time to the losses of the other packages."""
    weights, source = find_vgg19()
    details = {"weights": source}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, rounds in [(64, 2)] if quick else [(256, 12), (384, 6)]:
            if text in f"{ITERATION} {side}x{side}":
                yield iterations(write_problem(folder, side, 1000, weights), rounds, roofline, details)
        if text in TIME_TO_LOSS:
            # More iterations than the 100 steps that torch's L-BFGS remembers.
            long = write_problem(folder, *((64, 4) if quick else (256, 105)), weights)
            yield from times_to_losses(long, Judge(weights, long), roofline, details)
