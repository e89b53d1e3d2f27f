#!/usr/bin/env bash
# Usage: sanitize_cuda.sh PYTHON [PYTEST ARGUMENTS]
# Builds the CUDA kernels for the CPU with the address and undefined-behaviour sanitizers and runs their tests on them.
# PYTHON has cnnfast built. Without arguments: of the Gram family every layout, weight and size in float32, one layout of
# the other types, and the instructions of tensor cores; the distance transforms; discs in float32; what is empty.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
cd "$(dirname "$0")/.."
if [ "$#" -eq 0 ]; then
  set -- -k "TestEmpty or TestChecks or float32 or float64-rows or float16-channels_last or bfloat16-slice or \
    tf32-rows or TestChoice or test_tensor_cores or test_empty or \
    TestTransform and (background or long or strides)" tests/cuda_emulation
fi
# libstdc++ too: the sanitizer looks up its exception functions before Python loads it.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 CNNFAST_EMULATION_SANITIZE=1 \
  "$python" -m pytest -p no:cacheprovider --quiet "$@"
