"""``cnnfast info``: what a bug report needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import cnnfast
from cnnfast import _extension
from cnnfast._memory import available_memory
from cnnfast._rooms import required_packages
from cnnfast.weights import WeightsError, find_weights


@dataclass(kw_only=True)
class Options:
    """There are none."""


def run(_options: Options) -> int:
    """Prints the facts, one a line; returns the exit status."""
    for name, value in _facts():
        print(f"{name + ':':<18} {value}", flush=True)
    return 0


def _facts() -> Iterator[tuple[str, str]]:
    build = cnnfast.build_info()
    yield "cnnfast", f"{cnnfast.__version__} in {Path(cnnfast.__file__).parent}"
    yield "python", f"{platform.python_version()} {platform.python_implementation()}"
    yield "system", platform.platform()
    yield "torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    yield "built with", f"torch {build['torch']}, compiler {build['compiler']}"
    yield "processor", f"{_processor()}, {os.cpu_count()} logical cores"
    chosen = os.environ.get("CNNFAST_CPU_CAPABILITY")
    reason = f" (CNNFAST_CPU_CAPABILITY={chosen})" if chosen else ""
    yield "cpu kernels", f"{cnnfast.cpu_capability()}{reason}; torch uses {torch.backends.cpu.get_cpu_capability()}"
    yield "threads", f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})"
    free = available_memory()
    yield "free memory", "unknown" if free is None else f"{free / 1e9:.1f} GB"
    yield "cuda kernels", _extension.cuda_error or f"CUDA {build['cuda']} for {build['cuda_architectures']}"
    yield from _devices()
    yield "packages", ", ".join(f"{name} {_version(name)}" for name in required_packages() if name != "torch")
    yield from _weights()


def _processor() -> str:
    """The processor's name where the system tells it, else its kind."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _devices() -> Iterator[tuple[str, str]]:
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = f"{device.total_memory / 1e9:.0f} GB"
        yield f"cuda:{index}", f"{device.name}, compute capability {device.major}.{device.minor}, {memory}"
    if not torch.cuda.device_count():
        yield "gpu", "mps" if torch.backends.mps.is_available() else "none"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _weights() -> Iterator[tuple[str, str]]:
    try:
        files = find_weights()
    except WeightsError as error:
        yield "weights", str(error)
        return
    for file in files:
        yield "weights", file.describe()
    if not files:
        yield "weights", "none found: random filters are used"
