"""Builds, tests and measures the CUDA kernels on the GPU of this machine, in one command.

Usage: gpu.py. Needs this Python's torch >= 2.11 with CUDA, setuptools, ninja, pybind11, numpy, pytest, a CUDA toolkit;
no network. Prints one line a step. The steps after a failed one run too, and the exit status is not zero if any failed.
The status is 3 where there is no GPU. All steps together stop after nine minutes. Their outputs are kept in build/gpu/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "gpu"
TOTAL_SECONDS = 530.0
NO_GPU = 3
SANITIZER_TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# A sanitizer slows a kernel down a hundred times and more.
SANITIZED = ("tests/ops", "-m", "compute_sanitizer and not slow", "-k", "cuda")


@dataclass
class Step:
    """A command, how long it may take, and why it cannot run here, if so."""

    name: str
    command: list[str]
    limit: float
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""

    def run(self, left: float) -> str:
        """Returns "ok", "skipped" or "failed", after the step's line; `left` is the time for all steps that is left."""
        if self.missing:
            print(f"{self.name:24} skipped: {self.missing}", flush=True)
            return "skipped"
        limit = max(1.0, min(self.limit, left))
        log = LOGS / f"{self.name.replace(' ', '_')}.log"
        started = time.monotonic()
        with log.open("w") as file:
            try:
                status = subprocess.run(
                    self.command,
                    cwd=ROOT,
                    env={**os.environ, **self.environment},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=limit,
                ).returncode
                verdict = "ok" if status == 0 else f"failed with status {status}"
            except subprocess.TimeoutExpired:
                verdict = f"failed: not finished after {limit:.0f} s"
        lines = log.read_text(errors="replace").strip().splitlines()
        last = lines[-1].strip("= ")[:100] if lines else ""
        print(f"{self.name:24} {verdict} ({time.monotonic() - started:.0f} s): {last}", flush=True)
        return verdict.split()[0].rstrip(":")


def visible_gpu() -> str:
    """Returns the reason why there is nothing to do, or an empty text."""
    try:
        import torch
    except ImportError:
        return "torch is not installed in this Python"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    if not torch.cuda.is_available():
        return "torch finds none"
    return ""


def steps(capability: tuple[int, int]) -> list[Step]:
    """Everything that is done on a machine with a GPU of this compute capability."""
    architecture = "{}.{}".format(*capability)
    python = sys.executable
    build = {"CNNFAST_CUDA": "1", "TORCH_CUDA_ARCH_LIST": architecture}
    pytest = [python, "-m", "pytest", "-p", "no:cacheprovider", "--quiet", "--disable-warnings"]
    sanitizer = shutil.which("compute-sanitizer") or ""
    absent = "" if sanitizer else "compute-sanitizer is not on PATH"
    checks = [
        Step(
            tool,
            [sanitizer, "--tool", tool, "--error-exitcode", "9", *pytest, *SANITIZED],
            80,
            # Freed memory that is handed out again would hide errors.
            {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
            absent,
        )
        for tool in SANITIZER_TOOLS
    ]
    return [
        Step("build", [python, "setup.py", "build_ext", "--inplace"], 180, build),
        Step("registers and spills", [python, "tools/compile_cuda.py", "ptx", architecture], 60),
        Step("operators on the GPU", [*pytest, "tests/ops", "-k", "cuda"], 120),
        *checks,
        Step("benchmarks", [python, "-m", "benchmarks", "--device", "cuda"], 240),
        Step("whole test suite", pytest, 300),
    ]


def main() -> int:
    """Returns the exit status."""
    reason = visible_gpu()
    if reason:
        print(f"No GPU was found ({reason}), so nothing was built, tested or measured.")
        return NO_GPU
    import torch

    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; outputs in {LOGS.relative_to(ROOT)}", flush=True)
    end = time.monotonic() + TOTAL_SECONDS
    verdicts = [step.run(end - time.monotonic()) for step in steps(torch.cuda.get_device_capability())]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("ok", "skipped", "failed"))
    print(f"summary: {counts}")
    return int("failed" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
