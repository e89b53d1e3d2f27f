"""How everything here is measured, and the form in which results are kept.

Method: every implementation of a case is built, checked against a float64 result and warmed up; then all of them are
called in turn, round after round with a rotating start, so that a drift of the clock frequency meets all alike. Short
calls are repeated inside a sample. Median and quartiles are reported. Threads are fixed, seeds are fixed, the garbage
collector rests.
"""

from __future__ import annotations

import gc
import math
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cnnfast

Call = Callable[[], Sequence[Tensor]]

_SHORTEST_SAMPLE = 2e-3


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
class Work:
    """What a case cannot do without: floating-point operations, and bytes to and from memory."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Implementation:
    """A way to solve a case.

    Attributes:
        name: Column of the tables.
        build: Returns the call to be timed, or raises ImportError if this machine does not have it.
        tolerance: Largest relative error of a result that still counts as right.
        expected: Results in float64, or None where the case has no such thing.
    """

    name: str
    build: Callable[[], Call]
    tolerance: float = 0.0
    expected: Callable[[], Sequence[Tensor]] | None = None


@dataclass
class Case:
    """What is measured, and what it needs at least."""

    group: str
    label: str
    work: Work | None = None
    dtype: str = "float32"
    details: dict[str, Any] = field(default_factory=dict)


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of tensors: float32 for "tf32"."""
    return torch.float32 if name == "tf32" else getattr(torch, name)


@contextmanager
def matmul_precision(dtype: str) -> Iterator[None]:
    """Inside, products of float32 matrices may be rounded to TF32 if the dtype is "tf32"."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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


def _sample(call: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def interleave(calls: Mapping[str, Callable[[], object]], effort: Effort = Effort()) -> dict[str, list[float]]:
    """Time calls in turn; returns the seconds of one call for every sample."""
    repeats = {}
    for name, call in calls.items():
        _sample(call, 1)
        repeats[name] = max(1, math.ceil(_SHORTEST_SAMPLE / max(_sample(call, 1), 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        for turn in range(effort.most):
            if turn >= effort.rounds and time.perf_counter() - started > effort.seconds:
                break
            shift = turn % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                samples[name].append(_sample(calls[name], repeats[name]))
    finally:
        if was_enabled:
            gc.enable()
    return samples


def _prepare(implementation: Implementation) -> tuple[Call | None, dict[str, Any]]:
    """The call if it may be timed, and what is known about it."""
    try:
        call = implementation.build()
    except ImportError as error:
        return None, {"status": "absent", "reason": first_line(error)}
    try:
        actual = call()
    except Exception as error:
        # An alternative that cannot do a case is a result, not a reason to stop.
        return None, {"status": "failed", "reason": first_line(error)}
    if implementation.expected is None:
        return call, {"status": "ok"}
    error = relative_error(actual, implementation.expected())
    if not error <= implementation.tolerance:
        return None, {"status": "wrong", "reason": f"relative error {error:.1e}", "error": error}
    return call, {"status": "ok", "error": error}


def first_line(error: BaseException) -> str:
    """Type and first line of an error, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def measure(
    case: Case, implementations: Sequence[Implementation], roofline: Mapping[str, Any], effort: Effort = Effort()
) -> dict[str, Any]:
    """Check, then time all implementations of a case; returns its record. The first one, ours, must be right."""
    calls: dict[str, Call] = {}
    results: dict[str, dict[str, Any]] = {}
    for implementation in implementations:
        call, results[implementation.name] = _prepare(implementation)
        if call is not None:
            calls[implementation.name] = call
    ours = implementations[0].name
    if results[ours]["status"] in ("failed", "wrong"):
        raise RuntimeError(
            f"{case.group}, {case.label}: {ours} is {results[ours]['status']}: {results[ours]['reason']}"
        )
    for name, samples in interleave(calls, effort).items():
        results[name] |= asdict(summarise(samples))
    return record(case, results, roofline)


def record(case: Case, results: dict[str, dict[str, Any]], roofline: Mapping[str, Any]) -> dict[str, Any]:
    """A case and its results as they are written to a file."""
    made: dict[str, Any] = {"group": case.group, "label": case.label, "dtype": case.dtype, **case.details}
    if case.work is not None:
        made |= asdict(case.work) | {"bound_s": bound(case.work, roofline, case.dtype)}
    return made | {"results": results}


def bound(work: Work, roofline: Mapping[str, Any], dtype: str) -> float:
    """Shortest possible duration, max(FLOPs / peak, bytes / bandwidth), in seconds."""
    return max(work.flops / roofline["flops_per_s"][dtype], work.bytes / roofline["bytes_per_s"])


def cpu_name() -> str:
    """Model of the processor, with its instruction set where the model says nothing else."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def machine_name(threads: int, device: str = "cpu") -> str:
    """Name of the results file: the GPU, or processor, its instruction set and threads, in lower case with hyphens."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"{cpu_name()} {cnnfast.cpu_capability()}"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-")
    return slug if device == "cuda" else f"{slug}-{threads}-threads"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def metadata(device: str = "cpu") -> dict[str, Any]:
    """Everything that a reader needs in order to judge the figures."""
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if device == "cuda" else {}
    return gpu | {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "capability": cnnfast.cpu_capability(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "cnnfast": cnnfast.__version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "date": time.strftime("%Y-%m-%d"),
    }
