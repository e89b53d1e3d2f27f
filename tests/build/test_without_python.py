"""What the operators do in a C++ program that has libtorch and no Python."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TORCH = Path(torch.__file__).parent
COMPILER = shlex.split(os.environ.get("CXX", "") or "g++")
PROGRAM = r"""
#include <torch/csrc/stable/library.h>

#include <cstdio>

int main() {
  StableIValue answer = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("cnnfast::_allows_tf32", "", &answer, TORCH_ABI_VERSION));
  std::puts(torch::stable::detail::to<bool>(answer) ? "tf32" : "float32");
}
"""


@pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no C++ compiler")
def test_float32_products_are_not_rounded_to_tf32(tmp_path):
    (tmp_path / "program.cpp").write_text(PROGRAM)
    sources = [str(tmp_path / "program.cpp"), str(ROOT / "csrc" / "ops.cpp")]
    flags = ["-std=c++20", "-DTORCH_TARGET_VERSION=0x020b000000000000", f"-I{ROOT / 'csrc'}", f"-I{TORCH / 'include'}"]
    libraries = [f"-L{TORCH / 'lib'}", f"-Wl,-rpath,{TORCH / 'lib'}", "-ltorch_cpu", "-lc10"]
    command = [*COMPILER, *flags, *sources, "-o", str(tmp_path / "program"), *libraries]
    subprocess.run(command, check=True)
    done = subprocess.run([str(tmp_path / "program")], capture_output=True, text=True, check=True)
    assert done.stdout == "float32\n"


def test_python_answers_with_its_own_setting():
    import cnnfast.ops  # noqa: F401  (the operators exist)

    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        assert torch.ops.cnnfast._allows_tf32()
        matmul.fp32_precision = "ieee"
        assert not torch.ops.cnnfast._allows_tf32()
    finally:
        matmul.fp32_precision = before
