#!/usr/bin/env bash
# Usage: working_copy.sh FOLDER. Copies the files as they are now, changed and new ones too, but none that git ignores,
# into FOLDER, and makes that a repository of its own.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
git -C "$root" -c safe.directory="*" ls-files -z --cached --others --exclude-standard |
  (cd "$root" && xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\\0" "$file"; done' sh) |
  tar -C "$root" --null --files-from=- -cf - | tar -C "$1" -xf -
git -C "$1" init --quiet
git -C "$1" add --all
