"""Builds the extension modules ``cnnfast._C`` (CPU) and ``cnnfast._C_cuda`` (CUDA kernels).

Environment variables: ``CNNFAST_CUDA`` (1: insist, 0: never, unset: when torch and toolkit fit), ``FORCE_CUDA=1`` (the
same as ``CNNFAST_CUDA=1``), ``CNNFAST_DEBUG`` (1: ``-O0 -g``; sanitize: address and undefined-behaviour sanitizers),
``TORCH_CUDA_ARCH_LIST``, ``MAX_JOBS``, ``CUDA_HOME``, ``CC``/``CXX``.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TORCH_TARGET_VERSION = "0x020b000000000000"  # 2.11, the oldest torch that the binaries run under
DEFAULT_ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
BYTES_PER_JOB = 2 * 1024**3
USUAL_TOOLKIT = "/usr/local/cuda"
OLDEST_TORCH, OLDEST_SETUPTOOLS = (2, 11), 77
NVCC_FLAGS = ("-O3", "-DUSE_CUDA", "-Xfatbin=-compress-all")


class BuildError(SystemExit):
    """Stops the build with one message instead of a traceback."""

    def __init__(self, message: str) -> None:
        """Takes the sentence to print after the package's name."""
        super().__init__(f"cnnfast: {message}")


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit whose compiler and headers were both found."""

    root: str
    version: str


@dataclass(frozen=True)
class CudaPlan:
    """Whether CUDA kernels are built, and the reason when they are not."""

    build: bool
    reason: str = ""
    loud: bool = False


def version() -> str:
    """Returns the package version, which is written once, in ``cnnfast/_version.py``."""
    text = (ROOT / "cnnfast" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise BuildError('expected a line __version__ = "..." in cnnfast/_version.py, got none')
    return found.group(1)


def sources(*patterns: str) -> list[str]:
    """Returns the files that match, sorted and relative to the repository, so that builds are reproducible."""
    return sorted({Path(name).as_posix() for pattern in patterns for name in glob.glob(pattern, root_dir=ROOT)})


def cpu_sources() -> list[str]:
    """Returns the C++ files of ``cnnfast._C``."""
    return sources("csrc/*.cpp", "csrc/core/*.cpp", "csrc/*/*_cpu.cpp")


def cuda_kernels() -> list[str]:
    """Returns the files that nvcc compiles."""
    return sources("csrc/*/*_cuda.cu")


def cuda_sources() -> list[str]:
    """Returns the files of ``cnnfast._C_cuda``."""
    return sorted([*cuda_kernels(), *sources("csrc/cuda/*.cpp")])


def headers() -> list[str]:
    """Returns every file that the sources include."""
    return sources("csrc/*.h", "csrc/*/*.h", "csrc/*/*.inl")


def flag(environment: Mapping[str, str], name: str) -> bool | None:
    """Returns the value of a 0/1 variable, or None where it is unset or empty."""
    value = environment.get(name, "")
    if value not in ("", "0", "1"):
        raise BuildError(f"expected {name} to be 0 or 1, got {value!r}")
    return None if value == "" else value == "1"


def cuda_request(environment: Mapping[str, str]) -> bool | None:
    """Returns True (insist), False (never) or None (automatic)."""
    request = flag(environment, "CNNFAST_CUDA")
    if request is None and flag(environment, "FORCE_CUDA"):
        return True
    return request


def output(*command: str) -> str:
    """Returns what a command prints on both streams, or an empty text where it cannot run or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout


def toolkit_at(root: str) -> Toolkit | None:
    """Returns the toolkit in a folder, or None where compiler or runtime header is missing."""
    nvcc = os.path.join(root, "bin", "nvcc")
    if not (os.path.isfile(os.path.join(root, "include", "cuda_runtime.h")) and shutil.which(nvcc)):
        return None
    found = re.search(r"release (\d+\.\d+)", output(nvcc, "--version"))
    return Toolkit(root, found.group(1)) if found else None


def find_toolkit(environment: Mapping[str, str], usual: str = USUAL_TOOLKIT) -> Toolkit | None:
    """Finds the CUDA toolkit: ``CUDA_HOME`` if set, else nvcc on PATH, else the usual folder.

    The nvcc on PATH is often a link or a wrapper script far from the headers, so nvcc itself is asked for its root.
    """
    chosen = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    if chosen:
        return toolkit_at(chosen)
    candidates = []
    nvcc = shutil.which("nvcc", path=environment.get("PATH", ""))
    if nvcc:
        candidates.append(str(Path(nvcc).resolve().parent.parent))
        told = re.search(r"^#\$ TOP=(.+)$", output(nvcc, "--dryrun", "-x", "cu", "-c", os.devnull), re.MULTILINE)
        if told:
            candidates.append(os.path.realpath(told.group(1).strip()))
    return next(filter(None, map(toolkit_at, [*candidates, usual])), None)


def decide_cuda(
    request: bool | None, has_kernels: bool, torch_cuda: str | None, toolkit: Toolkit | None, chosen: str = ""
) -> CudaPlan:
    """Decides whether to build the CUDA kernels. A visible GPU is not asked for.

    Args:
        request: True to insist, False to refuse, None to decide.
        has_kernels: whether the sources contain CUDA kernels.
        torch_cuda: the CUDA version of torch, None for a build without CUDA.
        toolkit: the toolkit found, if any.
        chosen: ``CUDA_HOME``, where it is set.

    Returns:
        The plan with the recorded reason; ``loud`` where the user probably expects CUDA.

    Raises:
        BuildError: CUDA is insisted on and impossible, or ``CUDA_HOME`` has no toolkit, which pip would not show
            otherwise; the message gives the cures.
    """
    if request is False:
        return CudaPlan(False, "switched off by CNNFAST_CUDA=0")
    if not has_kernels:
        plan, cures = CudaPlan(False, "no kernels in this release"), "unset CNNFAST_CUDA and FORCE_CUDA"
    elif torch_cuda is None:
        plan = CudaPlan(False, "torch is a build without CUDA")
        cures = "install a CUDA build of torch, or build with CNNFAST_CUDA=0"
    elif toolkit is None:
        where = f" in CUDA_HOME={chosen}" if chosen else ""
        missing = (
            f"no CUDA toolkit with bin/nvcc and include/cuda_runtime.h was found{where} for torch's CUDA {torch_cuda}"
        )
        plan = CudaPlan(False, missing, True)
        cures = "install the toolkit or point CUDA_HOME at it, or build with CNNFAST_CUDA=0"
    elif toolkit.version.split(".")[0] != torch_cuda.split(".")[0]:
        versions = f"toolkit {toolkit.root} is CUDA {toolkit.version} but torch is built for CUDA {torch_cuda}"
        plan = CudaPlan(False, versions, True)
        cures = (
            f"point CUDA_HOME at a CUDA {torch_cuda.split('.')[0]} toolkit, "
            f"or install a torch built for CUDA {toolkit.version.split('.')[0]}"
        )
    else:
        return CudaPlan(True)
    if request:
        raise BuildError(f"CNNFAST_CUDA=1 asks for CUDA kernels, which cannot be built: {plan.reason}. Cure: {cures}")
    if chosen and toolkit is None and torch_cuda is not None and has_kernels:
        raise BuildError(f"{plan.reason}. Cure: correct or unset CUDA_HOME, or build with CNNFAST_CUDA=0")
    return plan


def architectures(
    environment: Mapping[str, str], visible: Sequence[tuple[int, int]], offered: Sequence[str] = DEFAULT_ARCHITECTURES
) -> str:
    """Returns the value for ``TORCH_CUDA_ARCH_LIST``: the user's, else that of the visible GPUs, else a default.

    Args:
        environment: where the user's value is looked up; it is never changed.
        visible: compute capabilities of the visible GPUs.
        offered: architectures that nvcc offers, as in "8.6"; the default list is cut to them.
    """
    if wanted := environment.get("TORCH_CUDA_ARCH_LIST"):
        check_architectures(wanted)
        return wanted
    if visible:
        names = [f"{major}.{minor}" for major, minor in sorted(set(visible))]
    else:
        names = [name for name in DEFAULT_ARCHITECTURES if name in offered]
    if not names:
        raise BuildError(f"nvcc offers none of {', '.join(DEFAULT_ARCHITECTURES)}; set TORCH_CUDA_ARCH_LIST")
    return ";".join(names) + "+PTX"


def check_architectures(wanted: str) -> None:
    """Raises BuildError for what torch would refuse after the C++ files are compiled; names as "Hopper" are its own."""
    for entry in filter(None, re.split(r"[; ]+", wanted)):
        if not re.fullmatch(r"(\d+\.\d[af]?|[A-Z][A-Za-z+]*)(\+PTX)?", entry):
            raise BuildError(f"expected TORCH_CUDA_ARCH_LIST of entries like 8.6 or 9.0+PTX, got {entry!r}: {wanted}")


def offered_architectures(toolkit: Toolkit) -> list[str]:
    """Returns what nvcc compiles for, as in "8.6"."""
    listed = output(os.path.join(toolkit.root, "bin", "nvcc"), "--list-gpu-arch")
    return [f"{major}.{minor}" for major, minor in re.findall(r"^compute_(\d+)(\d)$", listed, re.MULTILINE)]


def available_memory(meminfo: str = "/proc/meminfo", cgroup: str = "/sys/fs/cgroup") -> int | None:
    """Returns the bytes that this process may still use, or None where the system does not tell."""
    known = []
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path(meminfo).read_text(), re.MULTILINE)
        known += [int(found.group(1)) * 1024] if found else []
        limit, used = (Path(cgroup, name).read_text().strip() for name in ("memory.max", "memory.current"))
        known += [int(limit) - int(used)] if limit != "max" else []
    except OSError:
        pass  # not Linux, or no control group
    return min(known, default=None)


def job_count(environment: Mapping[str, str], cores: int, memory: int | None) -> int:
    """Returns the number of parallel compilers: ``MAX_JOBS``, else one a core as far as 2 GB for each are free."""
    value = environment.get("MAX_JOBS", "")
    if value:
        if not value.isdigit() or int(value) < 1:
            raise BuildError(f"expected MAX_JOBS to be a positive integer, got {value!r}")
        return int(value)
    return max(1, cores if memory is None else min(cores, memory // BYTES_PER_JOB))


def usable_cores() -> int:
    """Returns the cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_compiler(environment: Mapping[str, str]) -> str:
    """Returns the C++ compiler: ``CXX``, else the first of c++, g++, clang++ on PATH."""
    wanted = environment.get("CXX", "")
    names = [wanted] if wanted else ["c++", "g++", "clang++"]
    for name in names:
        words = shlex.split(name)
        if words and shutil.which(words[0], path=environment.get("PATH", "")):
            return name
    where = f"CXX={wanted}" if wanted else "none of c++, g++, clang++ is on PATH"
    raise BuildError(f"no C++ compiler found ({where}); install one (Debian, Ubuntu: apt install g++) or set CXX")


def check_python_headers(folder: str | None = None) -> None:
    """Raises BuildError where Python's C headers are missing, as in Debian without python3-dev."""
    folder = folder or sysconfig.get_paths()["include"]
    if not os.path.isfile(os.path.join(folder, "Python.h")):
        raise BuildError(f"no Python.h in {folder}; install Python's headers (Debian, Ubuntu: apt install python3-dev)")


def compile_flags(debug: str) -> tuple[list[str], list[str]]:
    """Returns compiler and linker flags for ``CNNFAST_DEBUG`` = "" or "0" (release), "1" or "sanitize"."""
    if debug not in ("", "0", "1", "sanitize"):
        raise BuildError(f"expected CNNFAST_DEBUG to be 0, 1 or sanitize, got {debug!r}")
    if sys.platform == "win32":
        return ["/O2" if debug in ("", "0") else "/Od"], []
    common = ["-fvisibility=hidden", f"-ffile-prefix-map={ROOT}/=", "-Wall"]
    if debug == "1":
        return ["-O0", "-g", *common], []
    if debug == "sanitize":
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
        return ["-O1", "-g", *sanitize, *common], sanitize[:1]
    return ["-O3", "-g0", *common], ["-Wl,-s"] if sys.platform == "linux" else []


def macros(torch_version: str, cuda: str, archs: str) -> list[tuple[str, str | None]]:
    """Returns the definitions for every source: the stable ABI's target and what ``build_info`` reports."""
    texts = {"VERSION": version(), "BUILD_TORCH": torch_version, "BUILD_CUDA": cuda, "BUILD_ARCHS": archs}
    quoted = {name: text.replace("\\", "\\\\").replace('"', '\\"') for name, text in texts.items()}
    return [
        ("TORCH_TARGET_VERSION", TORCH_TARGET_VERSION),
        *((f"CNNFAST_{name}", f'"{text}"') for name, text in quoted.items()),
    ]


def build_command(base: type, summary: Sequence[str], result: str, jobs: int) -> type:
    """Returns the build_ext command: checks the machine, tells the plan, builds, tells the result."""

    class Build(base):  # type: ignore[misc, valid-type]
        def finalize_options(self) -> None:
            super().finalize_options()
            # An editable install compiles in a folder that is removed afterwards; here ninja finds its objects again.
            self.build_temp = os.path.join("build", f"temp-{sysconfig.get_platform()}-{sys.implementation.cache_tag}")

        def run(self) -> None:
            check_python_headers()
            os.environ["CXX"] = compiler = find_compiler(os.environ)
            os.environ["MAX_JOBS"] = str(jobs)
            told = output(*shlex.split(compiler), "--version").partition("\n")[0]
            print("cnnfast build", *summary, f"compiler      {compiler}: {told}", f"jobs          {jobs}", sep="\n  ")
            with one_at_a_time(f"{self.build_temp}.lock"):
                super().run()
            print(f"cnnfast: built {result}", flush=True)

    return Build


def fresh_build_command(base: type) -> type:
    """Returns the build command with a folder of its own, which is removed in the end.

    So a wheel has nothing that an earlier build left behind, and two builds at once do not mix their files.
    """

    class Fresh(base):  # type: ignore[misc, valid-type]
        def initialize_options(self) -> None:
            super().initialize_options()
            self.build_base = os.path.join("build", f"run-{os.getpid()}")
            atexit.register(shutil.rmtree, os.path.abspath(self.build_base), ignore_errors=True)

    return Fresh


@contextlib.contextmanager
def one_at_a_time(path: str) -> Iterator[None]:
    """Waits until no other build compiles into the same folder."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_build_tools() -> None:
    """Raises BuildError where a package that the build needs is missing or too old."""
    found = int(importlib.metadata.version("setuptools").partition(".")[0])
    if found < OLDEST_SETUPTOOLS:
        least = OLDEST_SETUPTOOLS
        raise BuildError(f"expected setuptools {least} or newer, got {found}; pip install 'setuptools>={least}'")
    if importlib.util.find_spec("pybind11") is None:
        raise BuildError("pybind11 is not installed in this environment; pip install pybind11 ninja")


def load_torch():
    """Imports torch, or stops with the order of the commands."""
    if importlib.util.find_spec("torch") is None:
        raise BuildError(
            "PyTorch is not installed in this environment; first pip install 'torch>=2.11' 'setuptools>=77' ninja "
            "pybind11, then pip install --no-build-isolation ."
        )
    import torch

    release = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if release < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        raise BuildError(f"expected torch {wanted} or newer, got {torch.__version__}; pip install 'torch>={wanted}'")
    return torch


def visible_capabilities(torch) -> list[tuple[int, int]]:
    """Returns the compute capabilities of the GPUs that torch sees."""
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]


def extensions(plan: CudaPlan, torch_version: str, cuda: str, archs: str) -> list:
    """Returns the setuptools extensions of a plan; ``cuda`` and ``archs`` are recorded in the binaries."""
    import pybind11
    from torch.utils.cpp_extension import CppExtension, CUDAExtension

    cxx, link = compile_flags(os.environ.get("CNNFAST_DEBUG", ""))
    include = [str(ROOT / "csrc")]
    common = {
        "define_macros": macros(torch_version, cuda, archs),
        "depends": headers(),
        "extra_link_args": link,
    }
    cpu = CppExtension(
        "cnnfast._C",
        cpu_sources(),
        include_dirs=[*include, pybind11.get_include()],
        extra_compile_args={"cxx": cxx},
        **common,
    )
    if not plan.build:
        return [cpu]
    return [
        cpu,
        CUDAExtension(
            "cnnfast._C_cuda",
            cuda_sources(),
            include_dirs=include,
            extra_compile_args={
                "cxx": cxx,
                "nvcc": [*NVCC_FLAGS, f"-Xcompiler=-fvisibility=hidden,-ffile-prefix-map={ROOT}/="],
            },
            py_limited_api=True,
            **common,
        ),
    ]


def main() -> None:
    """Plans the build from environment, torch and toolkit, and hands it to setuptools."""
    # Without an activated environment its ninja is not on PATH, and torch would compile serially and always everything.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    toolkit = find_toolkit(os.environ)
    chosen = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or ""
    if toolkit:
        os.environ["CUDA_HOME"] = toolkit.root  # before torch is imported: it guesses the root from a wrapper's place
    torch = load_torch()
    check_build_tools()
    from setuptools import setup
    from setuptools.command.build import build
    from torch.utils.cpp_extension import BuildExtension

    plan = decide_cuda(cuda_request(os.environ), bool(cuda_kernels()), torch.version.cuda, toolkit, chosen)
    archs, cuda = "", f"none: {plan.reason}"
    if plan.build and toolkit:
        archs = architectures(os.environ, visible_capabilities(torch), offered_architectures(toolkit))
        cuda = toolkit.version
        os.environ["TORCH_CUDA_ARCH_LIST"] = archs
    found = f"{toolkit.root}: CUDA {toolkit.version}" if toolkit else "none found"
    summary = [
        f"version       {version()}",
        f"torch         {torch.__version__}, CUDA {torch.version.cuda}",
        f"toolkit       {found}",
        f"CUDA kernels  {'for ' + archs if plan.build else 'NOT BUILT: ' + plan.reason}",
    ]
    if shutil.which("ninja") is None:
        summary.append("ninja         not found: one file after the other, and all of them; pip install ninja")
    if plan.loud:
        summary.append("WARNING: only the CPU part is built; CNNFAST_CUDA=1 tells the cure, CNNFAST_CUDA=0 accepts it")
    result = f"CPU + CUDA ({archs})" if plan.build else "CPU"
    jobs = job_count(os.environ, usable_cores(), available_memory())
    setup(
        ext_modules=extensions(plan, torch.__version__, cuda, archs),
        cmdclass={
            "build": fresh_build_command(build),
            "build_ext": build_command(BuildExtension, summary, result, jobs),
        },
    )


if __name__ == "__main__":
    main()
