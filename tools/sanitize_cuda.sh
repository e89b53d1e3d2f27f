#!/usr/bin/env bash
# Usage: sanitize_cuda.sh PYTHON [PYTEST ARGUMENTS]
# Builds the CUDA kernels for the CPU with the address and undefined-behaviour sanitizers and runs their tests on them.
# PYTHON has cnnfast built. Without arguments: the tests of tests/cuda_emulation that are marked `sanitized`, and those
# whose names `sanitized_where` chooses.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
cd "$(dirname "$0")/.."
if [ "$#" -eq 0 ]; then
  set -- -m "sanitized and not slow" tests/cuda_emulation
fi
# libstdc++ too: the sanitizer looks up its exception functions before Python loads it.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 CNNFAST_EMULATION_SANITIZE=1 \
  "$python" -m pytest -p no:cacheprovider --quiet -n logical --maxprocesses 4 "$@"
