"""Builds the CUDA kernels for the CPU, loads them, and puts them in the place of the CPU's own kernels.

The library is kept under build/ and named after a hash of everything that goes into it. CNNFAST_EMULATION_SANITIZE=1
builds it with the address and undefined-behaviour sanitizers; tools/sanitize_cuda.sh runs the tests on that.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNELS = sorted((ROOT / "csrc").glob("*/*_cuda.cu"))
ORDERS = ("forward", "reverse", "random")

_FLAGS = ["-std=c++20", "-fPIC", "-shared", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-DCUDA_EMULATION"]
_TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"
_RELEASE = ["-O2"]
_SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def compiler() -> list[str] | None:
    """The words of the C++ compiler, None where there is none."""
    words = shlex.split(os.environ.get("CXX", "") or "g++")
    return words if shutil.which(words[0]) else None


def build_library(kernels: list[Path] = KERNELS, folder: Path = ROOT / "build" / "cuda_emulation") -> Path:
    """Compiles the kernels for the CPU unless the same sources were compiled before."""
    words = compiler()
    assert words, "no C++ compiler"
    torch_folder = Path(torch.__file__).parent
    sanitize = os.environ.get("CNNFAST_EMULATION_SANITIZE") == "1"
    flags = [*_FLAGS, _TARGET, *(_SANITIZE if sanitize else _RELEASE)]
    includes = [f"-I{path}" for path in (ROOT / "csrc", HERE, torch_folder / "include")]
    sources = [*kernels, *sorted(HERE.glob("*.cpp"))]
    read = [*sources, *HERE.glob("*.h"), *(ROOT / "csrc").rglob("*.h")]
    digest = hashlib.sha256(repr([words, flags, includes]).encode())
    for path in sorted(read):
        digest.update(path.read_bytes())
    library = folder / f"cnnfast_emulated_{digest.hexdigest()[:16]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if not library.exists():
            _compile(words, [*flags, *includes], sources, library)
    return library


def _compile(words: list[str], flags: list[str], sources: list[Path], library: Path) -> None:
    """Builds the library under another name and renames it, so that nobody loads half a file."""
    fresh = library.with_suffix(f".{os.getpid()}")
    libraries = [f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu", "-lc10"]
    objects = [fresh.with_suffix(f".{os.getpid()}.{source.stem}.o") for source in sources]
    compile_ = [*words, *flags, "-x", "c++", "-c"]
    _run([[*compile_, str(source), "-o", str(made)] for source, made in zip(sources, objects, strict=True)])
    _run([[*words, *flags, *map(str, objects), *libraries, "-o", str(fresh)]])
    for made in objects:
        made.unlink()
    os.replace(fresh, library)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks a file: of several processes that want the library, one builds it and the others wait."""
    import fcntl

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(commands: list[list[str]]) -> None:
    """Runs commands side by side; what a failed one prints is the error."""
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate()[1] for process in running]
    assert not any(process.returncode for process in running), "\n".join(errors)


@functools.cache
def load() -> None:
    """Defines torch.ops.cnnfast_emulated, once a process."""
    torch.ops.load_library(build_library())


def set_order(order: str, seed: int = 0) -> None:
    """Chooses in which order the threads of a block, and the blocks, run."""
    torch.ops.cnnfast_emulated.set_order(ORDERS.index(order), seed)


@contextmanager
def architecture(compute_capability: int) -> Iterator[None]:
    """Within the context, kernels count as compiled for another compute capability than 80 (8.0)."""
    torch.ops.cnnfast_emulated.set_architecture(compute_capability)
    try:
        yield
    finally:
        torch.ops.cnnfast_emulated.set_architecture(80)


def operators() -> list[str]:
    """The names of the operators that have a CUDA kernel."""
    import cnnfast.ops  # noqa: F401  (the operators exist)

    load()
    known = set(torch._C._dispatch_get_all_op_names())
    names = [name.removeprefix("cnnfast_emulated::") for name in known if name.startswith("cnnfast_emulated::")]
    found = sorted(
        name
        for name in names
        if f"cnnfast::{name}" in known
        and torch._C._dispatch_has_kernel_for_dispatch_key(f"cnnfast_emulated::{name}", "CPU")
    )
    assert found, "no emulated kernel"
    return found


@contextmanager
def emulated_kernels() -> Iterator[None]:
    """Within the context, CPU tensors go to the CUDA kernels; all other registrations stay as they are."""
    library = torch.library.Library("cnnfast", "IMPL")
    for name in operators():
        kernel = getattr(torch.ops.cnnfast_emulated, name).default
        library.impl(name, kernel, "CPU", allow_override=True)
    try:
        yield
    finally:
        library._destroy()
