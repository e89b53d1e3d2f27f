"""The machine: its name, its versions, and its limits, which are measured in the run whose results they bound."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

import cnnfast
from benchmarks.case import Work, matmul_precision, torch_dtype

_SIZES = {"cpu": (768, 1536, 2304), "cuda": (4096, 8192)}
_STREAM_BYTES = 1 << 28


def timer(device: str) -> Callable[[], float]:
    """A clock in seconds that, on a GPU, first waits until everything that was started there has ended."""
    if device != "cuda":
        return time.perf_counter

    def synchronized() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronized


def _best(work: Callable[[], object], seconds: float, device: str) -> float:
    clock = timer(device)
    work()
    shortest = float("inf")
    started = clock()
    while (now := clock()) - started < seconds or shortest == float("inf"):
        work()
        shortest = min(shortest, clock() - now)
    return shortest


def peak_flops(dtype: str, seconds: float = 0.6, device: str = "cpu") -> float:
    """FLOP/s of the fastest of several large square matrix products."""
    kind = torch_dtype(dtype)
    rates = []
    for n in _SIZES[device]:
        a, b = (torch.rand(n, n, generator=torch.Generator().manual_seed(n)).to(device, kind) for _ in range(2))
        out = torch.empty(n, n, dtype=kind, device=device)
        with matmul_precision(dtype):
            shortest = _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds / len(_SIZES[device]), device)
        rates.append(2 * n**3 / shortest)
    return max(rates)


def copy_bandwidth(seconds: float = 0.4, device: str = "cpu") -> float:
    """Bytes read plus bytes written a second by a copy that fits in no cache."""
    source, target = (torch.ones(_STREAM_BYTES // 4, device=device) for _ in range(2))
    return 2 * _STREAM_BYTES / _best(lambda: target.copy_(source), seconds, device)


def read_bandwidth(seconds: float = 0.4, device: str = "cpu") -> float:
    """Bytes read a second by a sum over an array that fits in no cache."""
    source = torch.ones(_STREAM_BYTES // 4, device=device)
    return _STREAM_BYTES / _best(source.sum, seconds, device)


def measure_roofline(dtypes: Iterable[str] = ("float32",), device: str = "cpu") -> dict[str, Any]:
    """Peak FLOP/s of every dtype, each once, and the larger of two bandwidths.

    The larger one of copying and reading, because no kernel may be faster than a bound.
    """
    copied, read = copy_bandwidth(device=device), read_bandwidth(device=device)
    return {
        "flops_per_s": {name: peak_flops(name, device=device) for name in dict.fromkeys(dtypes)},
        "bytes_per_s": max(copied, read),
        "copy_bytes_per_s": copied,
        "read_bytes_per_s": read,
    }


def bound(work: Work, roofline: Mapping[str, Any], dtype: str, new_memory_s: float = 0.0) -> tuple[float, str]:
    """Shortest possible duration in seconds, and which limit it comes from.

    max(FLOPs / peak, bytes / bandwidth, time to hand out and touch the memory of the results)
    """
    limits = {
        "FLOPs": work.flops / roofline["flops_per_s"][dtype],
        "bytes": work.bytes / roofline["bytes_per_s"],
        "new memory": new_memory_s,
    }
    largest = max(limits, key=lambda name: limits[name])
    return limits[largest], largest


def cpu_name() -> str:
    """Model of the processor."""
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
