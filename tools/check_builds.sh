#!/usr/bin/env bash
# Usage: check_builds.sh PYTHON [FOLDER]
# Runs the builds that the tests cannot run in one process: sdist, a wheel from it, no compiler, no ninja, no toolkit, a
# toolkit of another CUDA. PYTHON has torch with CUDA, setuptools, wheel, ninja and pybind11; nothing is installed in it.
# With nvcc and a fitting torch a small kernel is compiled for the default architectures too. The wheel, for those of
# TORCH_CUDA_ARCH_LIST, stays in FOLDER.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
tools=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheels=$(realpath "${2:-$work/wheels}")
unset CNNFAST_CUDA FORCE_CUDA CNNFAST_DEBUG CUDA_HOME CUDA_PATH

expect() { # expect TEXT FILE: the file contains the text
  grep -qF -- "$1" "$2" || { echo "expected: $1"; cat "$2"; exit 1; }
  grep -m 1 -F -- "$1" "$2"
}
stops() { # stops FILE COMMAND...: the command fails without a traceback of ours
  local log=$1
  shift
  if "$@" > "$log" 2>&1; then echo "expected a failure: $*"; exit 1; fi
  if grep -q 'Traceback' "$log"; then echo "expected no traceback"; cat "$log"; exit 1; fi
}

echo "== sdist, and a wheel built from it"
"$tools/fresh_copy.sh" "$work/source"
cd "$work/source"
"$python" setup.py --quiet sdist --dist-dir "$work/sdist" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mkdir "$work/unpacked"
tar -xf "$work"/sdist/cnnfast-*.tar.gz -C "$work/unpacked" --strip-components 1
cd "$work/unpacked"
"$python" -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir "$wheels" .
"$python" -m zipfile -l "$wheels"/cnnfast-*.whl > "$work/log"
expect "cnnfast/_C." "$work/log"
if grep -E ' csrc/| tests/' "$work/log"; then echo "expected no sources in the wheel"; exit 1; fi

echo "== the wheel, imported outside the source tree"
"$python" -m pip install --quiet --no-deps --target "$work/site" "$wheels"/cnnfast-*.whl
cd "$work/site"
PYTHONPATH=$work/site "$python" -c "import cnnfast; print(cnnfast.__file__, cnnfast.build_info())" | tee "$work/log"
expect "$work/site" "$work/log" > /dev/null

# From here on one small C++ file and one small kernel stand for all: the decisions are looked at, not the operators.
cd "$work/source"
unset TORCH_CUDA_ARCH_LIST
rm -rf csrc && mkdir -p csrc/probe
cat > csrc/module.cpp << 'EOF'
#include <Python.h>
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", CNNFAST_BUILD_CUDA " " CNNFAST_BUILD_ARCHS, -1};
PyMODINIT_FUNC PyInit__C() { return PyModule_Create(&definition); }
EOF
cat > csrc/probe/probe_cuda.cu << 'EOF'
#include <Python.h>
#include <cuda_runtime.h>
__global__ void scale(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= 2;
}
void launch(float* x, int n) { scale<<<(n + 255) / 256, 256>>>(x, n); }
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C_cuda", "", -1};
PyMODINIT_FUNC PyInit__C_cuda() { return PyModule_Create(&definition); }
EOF
build=("$python" setup.py build_ext --inplace)

echo "== no compiler"
mkdir "$work/empty"
stops "$work/log" env PATH="$work/empty" "${build[@]}"
expect "cnnfast: no C++ compiler found" "$work/log"

echo "== no ninja"
mkdir "$work/no_ninja" && ln -s "$python" "$work/no_ninja/python"
for name in c++ g++ gcc cc as ld env sh; do ln -s "$(command -v $name)" "$work/no_ninja/$name"; done
PATH=$work/no_ninja "$work/no_ninja/python" -c "import sys; print(sys.prefix)" > /dev/null
CNNFAST_CUDA=0 PYTHONPATH=$("$python" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])") \
  PATH=$work/no_ninja python setup.py build_ext --inplace > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
expect "could not find ninja" "$work/log"
expect "cnnfast: built CPU" "$work/log"

if [ "$("$python" -c "import torch; print(torch.version.cuda is not None)")" = False ]; then
  echo "== torch without CUDA: insisting stops"
  stops "$work/log" env CNNFAST_CUDA=1 "${build[@]}"
  expect "torch is a build without CUDA" "$work/log"
  exit 0
fi

echo "== toolkit of another CUDA: automatic builds the CPU part and says so, insisting stops"
mkdir -p "$work/cuda/bin" "$work/cuda/include" && touch "$work/cuda/include/cuda_runtime.h"
printf '#!/bin/sh\necho "Cuda compilation tools, release 11.8, V11.8.89"\n' > "$work/cuda/bin/nvcc"
chmod +x "$work/cuda/bin/nvcc"
CUDA_HOME=$work/cuda "${build[@]}" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
expect "is CUDA 11.8 but torch is built for CUDA" "$work/log"
expect "WARNING: only the CPU part is built" "$work/log"
expect "cnnfast: built CPU" "$work/log"
stops "$work/log" env CUDA_HOME="$work/cuda" CNNFAST_CUDA=1 "${build[@]}"
expect "point CUDA_HOME at a CUDA" "$work/log"

echo "== no toolkit: insisting stops, FORCE_CUDA is the same"
stops "$work/log" env CUDA_HOME="$work/none" FORCE_CUDA=1 "${build[@]}"
expect "no CUDA toolkit with bin/nvcc and include/cuda_runtime.h" "$work/log"

if command -v nvcc > /dev/null; then
  echo "== a kernel, no architecture list"
  rm -rf build cnnfast/_C*
  "${build[@]}" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  expect "cnnfast: built CPU + CUDA (" "$work/log"
  tail -n 1 "$work/log"
  ls cnnfast/_C_cuda*
fi
