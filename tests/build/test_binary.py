"""Facts about the compiled extension that make one file run under many torch releases and processors."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cnnfast import _C

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = sorted(ROOT.glob("build/temp-*/csrc/**/*.o"))
WIDE_REGISTER = re.compile(r"%[yz]mm\d")


def tool(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} (binutils) is not installed")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def test_no_symbol_of_the_unstable_torch_interface():
    undefined = tool("nm", "-DCu", _C.__file__)
    assert "aoti_torch" in undefined or "torch_" in undefined  # the stable C interface, or this looks at nothing
    assert re.findall(r"\b(?:at|c10|torch::autograd|torch::jit)::\S+", undefined) == []


def test_no_openmp_runtime_of_our_own():
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", tool("readelf", "-d", _C.__file__))
    assert "libtorch_cpu.so" in needed
    assert [name for name in needed if "omp" in name] == []


@pytest.mark.skipif(not OBJECTS, reason="built elsewhere: no object files beside the sources")
@pytest.mark.skipif("x86_64" not in str(_C.__file__), reason="wide registers are looked for in x86-64 code")
def test_wide_registers_only_in_the_files_chosen_at_run_time():
    wide = {path.stem for path in OBJECTS if WIDE_REGISTER.search(tool("objdump", "-d", str(path)))}
    assert wide == {"avx2", "avx512"}


@pytest.mark.skipif(not OBJECTS, reason="built elsewhere: no object files beside the sources")
@pytest.mark.parametrize("stem", ["avx2", "avx512"])
def test_nothing_compiled_for_newer_processors_can_replace_common_code(stem):
    objects = [path for path in OBJECTS if path.stem == stem]
    assert objects
    for path in objects:
        weak = [line for line in tool("nm", "-C", str(path)).splitlines() if re.search(r"^\S+ [WVu] ", line)]
        assert weak == []


@pytest.mark.parametrize("pattern", ["_C.*", "_C_cuda.*"])
def test_no_path_of_the_building_machine_in_the_file(pattern):
    files = [path for path in Path(_C.__file__).parent.glob(pattern) if path.suffix in (".so", ".pyd")]
    assert files or pattern == "_C_cuda.*"  # a build may have no CUDA kernels
    assert [path.name for path in files if str(ROOT).encode() in path.read_bytes()] == []
