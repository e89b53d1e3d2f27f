#!/usr/bin/env bash
# Usage: other_torch.sh PYTHON WHEEL TORCH
# Installs a wheel that was built under another torch into a new environment with TORCH (as in torch==2.13.0+cpu) and
# runs those tests of the operators there that may depend on torch, outside the source folder: contracts, gradients,
# transforms, errors and the parity arrays, not the grids of sizes. Nothing is compiled.
set -euo pipefail
wheel=$(realpath "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$1" -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet "$3" numpy pytest pytest-xdist
"$python" -m pip install --quiet --no-deps "$wheel"
cp -r "$root/tests" "$root/pyproject.toml" "$folder"
cd "$folder"
"$python" -c "import cnnfast, torch; print('torch', torch.__version__, 'runs', cnnfast.build_info())"
"$python" -m pytest -p no:cacheprovider --quiet -n logical --maxprocesses 4 tests/reference \
  tests/ops/*/test_{contracts,errors,gradients,parity,transforms}.py tests/ops/test_{convolution,pooling}.py
