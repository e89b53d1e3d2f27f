"""Random damage to files and to plain values, for tests that hold readers to their own errors."""

from __future__ import annotations

from typing import Any

import numpy as np

ODD = (None, True, -1, 0, 5, 10**9, 10**30, 0.5, float("nan"), float("inf"), "", "x", [], {}, [[1]], {"a": 1})


def damage(content: bytes, random: np.random.Generator, reach: int = 4096) -> bytes:
    """A file cut off in one of three cases, with one to seven bytes changed near its ends.

    The names, shapes and numbers of a file are near its ends, within `reach` bytes.
    """
    data = bytearray(content)
    if random.integers(3) == 0:
        del data[random.integers(len(data)) :]
    for _ in range(random.integers(1, 8)):
        place = int(random.integers(max(1, min(len(data), reach))))
        place = place if random.integers(2) else max(0, len(data) - 1 - place)
        if place < len(data):
            data[place] = random.integers(256)
    return bytes(data)


def replace(value: Any, random: np.random.Generator) -> Any:
    """A copy of nested dicts and lists in which one part, at any depth, is left out or is an odd value."""
    if isinstance(value, dict | list) and value and random.integers(4):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[random.integers(len(keys))]
        copy = value.copy()
        if random.integers(6):
            copy[key] = replace(value[key], random)
        else:
            del copy[key]
        return copy
    return ODD[random.integers(len(ODD))]
