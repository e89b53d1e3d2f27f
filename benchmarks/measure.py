"""How every case is measured, and the record of it.

Every implementation of a case is built, checked against a float64 result and warmed up; then all of them are called in
turn, round after round with a rotating start, so that a drift of the clock frequency affects all alike. Short calls
are repeated inside a sample. Median and quartiles are reported, and the garbage collector is switched off.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from benchmarks.case import Call, Case, Implementation, matmul_precision
from benchmarks.machine import bound, timer

_SHORTEST_SAMPLE = 2e-3
Item = TypeVar("Item")


@dataclass(frozen=True)
class Effort:
    """How long a case is measured: `rounds` rounds, then more until `seconds` are over or `most` rounds are done."""

    rounds: int = 7
    most: int = 40
    seconds: float = 2.0


QUICK = Effort(rounds=3, most=5, seconds=0.2)
GPU = Effort(seconds=0.3)  # calls are short and steady there, and cases many


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the duration of one call."""

    median_s: float
    q1_s: float
    q3_s: float
    samples: int


@dataclass(frozen=True)
class Checked:
    """An implementation after its check.

    Attributes:
        call: to be timed; None if that is pointless.
        result: its status, why if that is not "ok", and the relative error.
        sizes: bytes of each of its results.
    """

    call: Call | None
    result: dict[str, Any]
    sizes: tuple[int, ...] = ()


def summarise(samples: Sequence[float]) -> Timing:
    """Median and quartiles (linear interpolation between samples, ends included)."""
    if not samples:
        raise ValueError("summarise: expected at least one sample, got none")
    if len(samples) == 1:
        return Timing(samples[0], samples[0], samples[0], 1)
    q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
    return Timing(median, q1, q3, len(samples))


def relative_error(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest error of any result, each relative to the largest absolute value of its own."""
    if len(actual) != len(expected):
        raise ValueError(f"relative_error: expected {len(expected)} results, got {len(actual)}")
    worst = 0.0
    for a, e in ((a.detach(), e.detach()) for a, e in zip(actual, expected, strict=True)):
        if a.shape != e.shape:
            raise ValueError(f"relative_error: expected shape {list(e.shape)}, got {list(a.shape)}")
        scale = float(e.abs().max()) or 1.0
        error = float((a.to(e.dtype) - e).abs().max()) / scale
        worst = max(worst, math.inf if math.isnan(error) else error)
    return worst


def rotated(items: Sequence[Item], turn: int) -> list[Item]:
    """The items in their order, with another one first in every turn."""
    shift = turn % max(1, len(items))
    return [*items[shift:], *items[:shift]]


def interleave(
    calls: Mapping[str, Callable[[], object]], effort: Effort = Effort(), device: str = "cpu"
) -> dict[str, list[float]]:
    """Time calls in turn; returns the seconds of one call for every sample."""
    clock = timer(device)

    def sample(call: Callable[[], object], repeats: int) -> float:
        started = clock()
        for _ in range(repeats):
            call()
        return (clock() - started) / repeats

    repeats = {}
    for name, call in calls.items():
        sample(call, 1)
        repeats[name] = max(1, math.ceil(_SHORTEST_SAMPLE / max(sample(call, 1), 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = clock()
        for turn in range(effort.most):
            if turn >= effort.rounds and clock() - started > effort.seconds:
                break
            for name in rotated(list(calls), turn):
                samples[name].append(sample(calls[name], repeats[name]))
    finally:
        if was_enabled:
            gc.enable()
    return samples


def check(implementation: Implementation) -> Checked:
    """Build an implementation, call it once and hold its results against the expected ones."""
    try:
        call = implementation.build()
    except ImportError as error:
        return Checked(None, {"status": "absent", "reason": first_line(error)})
    try:
        actual = call()
    except Exception as error:
        # An alternative that cannot do a case is a result, not a reason to stop.
        return Checked(None, {"status": "failed", "reason": first_line(error)})
    sizes = tuple(tensor.nbytes for tensor in actual)
    if implementation.expected is None:
        return Checked(call, {"status": "ok"}, sizes)
    error = relative_error(actual, implementation.expected())
    if not error <= implementation.tolerance:
        return Checked(None, {"status": "wrong", "reason": f"relative error {error:.1e}", "error": error})
    return Checked(call, {"status": "ok", "error": error}, sizes)


def first_line(error: BaseException) -> str:
    """Type and first line of an error, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def new_memory_seconds(sizes: tuple[int, ...]) -> float:
    """Time that the machine takes to hand out so many bytes for each result and to have them touched.

    The shortest of several, because nothing may be faster than a bound.
    """
    calls = {"": lambda: [torch.empty(size, dtype=torch.uint8).zero_() for size in sizes]}
    return min(interleave(calls, Effort(seconds=0.2))[""])


def measure(case: Case, roofline: Mapping[str, Any], effort: Effort = Effort()) -> dict[str, Any]:
    """Check, then time all implementations of a case; returns its record. The first one, ours, must be right."""
    with matmul_precision(case.dtype):
        checked = {implementation.name: check(implementation) for implementation in case.implementations()}
        results = {name: one.result for name, one in checked.items()}
        ours = next(iter(checked))
        if results[ours]["status"] in ("failed", "wrong"):
            raise RuntimeError(f"{case.name}: {ours} is {results[ours]['status']}: {results[ours]['reason']}")
        calls = {name: one.call for name, one in checked.items() if one.call is not None}
        effort = replace(effort, rounds=min(effort.rounds, case.rounds))
        for name, samples in interleave(calls, effort, case.device).items():
            results[name] |= asdict(summarise(samples))
    return record(case, results, roofline, checked[ours].sizes)


def facts(case: Case, roofline: Mapping[str, Any], sizes: tuple[int, ...] = ()) -> dict[str, Any]:
    """What a record says about a case: its input, what it needs, and its bound.

    Args:
        case: whose facts these are.
        roofline: limits of the machine.
        sizes: bytes of each result that is new memory in every call. They count on the CPU alone; on a GPU PyTorch
            hands out memory that it has kept.
    """
    made: dict[str, Any] = {"group": case.group, "label": case.label, "dtype": case.dtype, **case.details}
    if case.shape:
        made["shape"] = list(case.shape)
    if case.work is None:
        return made
    new_memory_s = new_memory_seconds(sizes) if sizes and case.device == "cpu" else 0.0
    seconds, limit = bound(case.work, roofline, case.dtype, new_memory_s)
    return made | {
        **asdict(case.work),
        "new_bytes": sum(sizes),
        "new_memory_s": new_memory_s,
        "bound_s": seconds,
        "bound_by": limit,
    }


def record(
    case: Case, results: dict[str, dict[str, Any]], roofline: Mapping[str, Any], sizes: tuple[int, ...] = ()
) -> dict[str, Any]:
    """A case and its results as they are written to a file."""
    return facts(case, roofline, sizes) | {"results": results}
