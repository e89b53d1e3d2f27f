#!/usr/bin/env bash
# Usage: sanitize.sh PYTHON [PYTEST ARGUMENTS]
# Builds the CPU kernels with the address and undefined-behaviour sanitizers in a temporary copy and runs tests on them,
# once for each instruction set (above what the processor has, its best is run again). Without arguments: values at sizes
# around every vector and tile width, and, under the best instruction set alone, all layouts, dtypes and parity arrays.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
tools=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

"$tools/fresh_copy.sh" "$copy"
cd "$copy"
CNNFAST_DEBUG=sanitize CNNFAST_CUDA=0 "$python" setup.py --quiet build_ext --inplace > build.log 2>&1 || { cat build.log; exit 1; }
tail -n 1 build.log

# libstdc++ too: the sanitizer looks up its exception functions before Python loads it.
preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
check() { # check CAPABILITY PYTEST ARGUMENTS
  echo "sanitizers, $1"
  CNNFAST_CPU_CAPABILITY=$1 LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    "$python" -m pytest -p no:cacheprovider --quiet "${@:2}"
}
if [ "$#" -gt 0 ]; then
  best=("$@") others=("$@")
else
  values=(tests/ops/test_distance_values.py tests/ops/test_discs_values.py tests/ops/test_convolution.py tests/ops/test_pooling.py)
  best=(tests/ops/test_gram_values.py tests/ops/test_gram_parity.py "${values[@]}")
  others=(tests/ops/test_gram_values.py::TestAgainstTwin "${values[@]}")
fi
check avx512 "${best[@]}"
check avx2 "${others[@]}"
check default "${others[@]}"
