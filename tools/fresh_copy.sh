#!/usr/bin/env bash
# Usage: fresh_copy.sh FOLDER. Copies the files under version control, without any build output, into FOLDER.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
git -C "$root" -c safe.directory="*" ls-files -z | tar -C "$root" --null --files-from=- -cf - | tar -C "$1" -xf -
