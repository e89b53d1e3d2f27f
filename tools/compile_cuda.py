"""Compiles every CUDA file without a GPU. Usage: compile_cuda.py check | ptx [ARCHITECTURES, as in 9.0 or 8.0;9.0].

check: all default architectures that the toolkit knows and PTX of the newest; a warning is a failure.
ptx: prints registers, shared memory and spilled bytes of every kernel; a spill is a failure.
Without nvcc, or with a toolkit of another CUDA than torch's, one line says that nothing was compiled.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def load_setup():
    """Returns setup.py as a module: it knows toolkits, architectures and files."""
    specification = importlib.util.spec_from_file_location("cnnfast_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def code_flags(architectures: str) -> list[str]:
    """Returns nvcc's flags for a list as in TORCH_CUDA_ARCH_LIST."""
    flags = []
    for entry in re.split(r"[; ]+", architectures):
        number = entry.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if entry.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def compile_file(setup, toolkit, source: str, architectures: str, *extra: str) -> str:
    """Compiles one file with the flags of the build; returns what nvcc prints, or stops with it."""
    from torch.utils.cpp_extension import COMMON_NVCC_FLAGS, include_paths

    includes = [str(ROOT / "csrc"), *include_paths()]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            os.path.join(toolkit.root, "bin", "nvcc"),
            "-std=c++20",
            *COMMON_NVCC_FLAGS,
            *setup.NVCC_FLAGS,
            *code_flags(architectures),
            "--threads=0",  # an architecture a core
            f"-DTORCH_TARGET_VERSION={setup.TORCH_TARGET_VERSION}",
            "-Xcompiler=-fPIC,-Wall",
            *(f"-isystem={path}" if path != includes[0] else f"-I{path}" for path in includes),
            *extra,
            "-c",
            str(ROOT / source),
            "-o",
            os.path.join(folder, "object.o"),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{source}: nvcc failed\n{done.stdout}")
    return done.stdout


def check(setup, toolkit, architectures: str) -> int:
    """Compiles everything; returns the number of files with a warning."""
    failures = 0
    for source in setup.cuda_kernels():
        told = compile_file(setup, toolkit, source, architectures, "-Werror=all-warnings")
        failures += bool(told.strip())
        print(f"{source}: {'no warning' if not told.strip() else told} for {architectures}", flush=True)
    return failures


def resources(told: str) -> list[tuple[str, str, int, int, int]]:
    """Returns (kernel, architecture, registers, shared bytes, spilled bytes) from the output of ``-Xptxas -v``."""
    found = re.findall(
        r"Compiling entry function '(\w+)' for '(sm_\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers([^\n]*)",
        told,
        re.DOTALL,
    )
    names = subprocess.run(["c++filt"], input="\n".join(row[0] for row in found), capture_output=True, text=True)
    rows = []
    for name, (_, arch, stores, loads, registers, rest) in zip(names.stdout.splitlines(), found, strict=True):
        shared = re.search(r"(\d+) bytes smem", rest)
        kernel = re.sub(r"^void |\(.*|cnnfast::", "", name)
        rows.append((kernel, arch, int(registers), int(shared[1]) if shared else 0, int(stores) + int(loads)))
    return sorted(rows)


def ptx(setup, toolkit, architectures: str) -> int:
    """Prints the resources of every kernel; returns the number of kernels that spill."""
    spilling = 0
    print(f"{'registers':>9} {'shared':>7} {'spilled':>7}  architecture  kernel")
    for source in setup.cuda_kernels():
        for kernel, arch, registers, shared, spilled in resources(
            compile_file(setup, toolkit, source, architectures, "-Xptxas=-v")
        ):
            spilling += spilled > 0
            print(f"{registers:9} {shared:7} {spilled:7}  {arch:12}  {kernel}")
    return spilling


def main() -> int:
    """Returns the exit status."""
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in ("check", "ptx"):
        sys.exit(__doc__)
    setup = load_setup()
    toolkit = setup.find_toolkit(os.environ)
    if toolkit is None:
        print("CUDA files were not compiled: no CUDA toolkit with bin/nvcc and include/cuda_runtime.h was found")
        return 0
    if torch.version.cuda and torch.version.cuda.split(".")[0] != toolkit.version.split(".")[0]:
        print(f"CUDA files were not compiled: the toolkit is CUDA {toolkit.version}, torch's is {torch.version.cuda}")
        return 0
    every = setup.architectures({}, [], setup.offered_architectures(toolkit))
    wanted = sys.argv[2] if len(sys.argv) == 3 else every if sys.argv[1] == "check" else "9.0"
    return int((check if sys.argv[1] == "check" else ptx)(setup, toolkit, wanted) > 0)


if __name__ == "__main__":
    sys.exit(main())
