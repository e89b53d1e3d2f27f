"""Writes the capability in use, and results of the distance transforms, to the file named; run as a script."""

from __future__ import annotations

import sys

import torch

from cnnfast import _C, ops
from tests.ops.distance.cases import BINARY_DTYPES, CASES, blobs, random_labels

SHAPES = [(1, 1, 1), (3, 5, 37), (40, 28, 28), (2, 161, 65), (1, 20, 1100)]


def results() -> dict[str, torch.Tensor]:
    """The results of every case at every shape, and of every dtype, by name."""
    found = {}
    for shape in SHAPES:
        for case in CASES:
            found[f"{case} {shape}"] = case(ops, case.mask(*shape))
        for dtype in BINARY_DTYPES:
            found[f"{dtype} {shape}"] = ops.truncated_distance_transform(blobs(*shape, dtype=dtype), 10)
            if dtype != torch.bool:
                labels = random_labels(*shape, dtype=dtype)
                found[f"labels {dtype} {shape}"] = ops.truncated_distance_transform(labels, 10, labels=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save({"capability": _C.cpu_capability(), "results": results()}, sys.argv[1])
