"""JSON files that every reader takes, written whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from cnnfast._atomic import atomic_write


def write_json(path: str | os.PathLike[str], content: Any, *, indent: int | None = None) -> None:
    r"""Write JSON atomically: a reader sees all of the old file or all of the new one.

    Infinity and NaN, which JSON does not have, become null.

    Args:
        path: of the file.
        content: dicts, lists, strings, numbers, bool and None.
        indent: spaces for each level, None for one line.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from cnnfast._json import write_json
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(f"{folder}/a.json", [1, float("inf")])
        ...     Path(folder, "a.json").read_text()
        '[1, null]\n'
    """
    text = json.dumps(_finite(content), indent=indent, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
