#!/usr/bin/env bash
# Usage: sanitize.sh PYTHON [PYTEST ARGUMENTS]
# Builds the CPU kernels with the address and undefined-behaviour sanitizers in a temporary copy and runs tests on them,
# once for each instruction set that the processor has. Without arguments: those marked `sanitized` (values at sizes around
# every vector and tile width), and, under the best instruction set alone, `sanitized_once` (layouts, parity arrays).
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
sanitized() { # sanitized PYTHON ARGUMENTS; two threads, so that work is divided, also in the processes of pytest-xdist
  OMP_NUM_THREADS=2 LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 "$python" "$@"
}
if [ "$#" -gt 0 ]; then
  best=("$@") others=("$@")
else
  best=(tests/ops -m "(sanitized or sanitized_once) and not slow") others=(tests/ops -m "sanitized and not slow")
fi
tests=("${best[@]}")
highest=$(sanitized -c "from cnnfast._extension import cpu_capability; print(cpu_capability())")
for capability in avx512 avx2 default; do
  case $highest/$capability in avx2/avx512 | default/avx*) continue ;; esac
  echo "sanitizers, $capability"
  CNNFAST_CPU_CAPABILITY=$capability sanitized -m pytest -p no:cacheprovider --quiet -n logical --maxprocesses 4 "${tests[@]}"
  tests=("${others[@]}")
done
