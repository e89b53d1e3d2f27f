"""The machine's limits, measured in the run whose results they bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.common import matmul_precision, torch_dtype

_SIZES = {"cpu": (768, 1536, 2304), "cuda": (4096, 8192)}
_STREAM_BYTES = 1 << 28


def _best(work: Callable[[], object], seconds: float) -> float:
    def call() -> None:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    call()
    shortest = float("inf")
    started = time.perf_counter()
    while (now := time.perf_counter()) - started < seconds or shortest == float("inf"):
        call()
        shortest = min(shortest, time.perf_counter() - now)
    return shortest


def peak_flops(dtype: str, seconds: float = 0.6, device: str = "cpu") -> float:
    """FLOP/s of the fastest of several large square matrix products."""
    kind = torch_dtype(dtype)
    rates = []
    for n in _SIZES[device]:
        a, b = (torch.rand(n, n, generator=torch.Generator().manual_seed(n)).to(device, kind) for _ in range(2))
        out = torch.empty(n, n, dtype=kind, device=device)
        with matmul_precision(dtype):
            shortest = _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds / len(_SIZES[device]))
        rates.append(2 * n**3 / shortest)
    return max(rates)


def copy_bandwidth(seconds: float = 0.4, device: str = "cpu") -> float:
    """Bytes read plus bytes written a second by a copy that fits in no cache."""
    source, target = (torch.ones(_STREAM_BYTES // 4, device=device) for _ in range(2))
    return 2 * _STREAM_BYTES / _best(lambda: target.copy_(source), seconds)


def read_bandwidth(seconds: float = 0.4, device: str = "cpu") -> float:
    """Bytes read a second by a sum over an array that fits in no cache."""
    source = torch.ones(_STREAM_BYTES // 4, device=device)
    return _STREAM_BYTES / _best(source.sum, seconds)


_DTYPES = {
    "cpu": ("float32", "float64", "bfloat16"),
    "cuda": ("float32", "float64", "bfloat16", "float16", "tf32"),
}


def measure_roofline(dtypes: tuple[str, ...] | None = None, device: str = "cpu") -> dict[str, Any]:
    """Peak FLOP/s of every dtype (default: those that the device's suites use), and the larger of two bandwidths.

    The larger one of copying and reading, because a bound that a kernel could beat would be none.
    """
    copied, read = copy_bandwidth(device=device), read_bandwidth(device=device)
    return {
        "flops_per_s": {name: peak_flops(name, device=device) for name in dtypes or _DTYPES[device]},
        "bytes_per_s": max(copied, read),
        "copy_bytes_per_s": copied,
        "read_bytes_per_s": read,
    }
