"""Prints how much memory distance transforms take beside their masks and results; run as a script."""

from __future__ import annotations

import itertools

import torch

from cnnfast import ops
from tests.ops.distance.cases import random_mask
from tests.ops.peak_memory import peak_bytes, print_peaks

CALLS = list(itertools.product([(1, 4096, 4096), (16, 1024, 1024), (20_000, 28, 28)], [10, 40, 100]))


def beyond_mask_and_result(shape: tuple[int, ...], R: int) -> int:
    torch.set_num_threads(2)
    mask = random_mask(*shape, dtype=torch.bool)
    ops.truncated_distance_transform(mask[:, :300, :300].contiguous(), R)
    return peak_bytes(lambda: ops.truncated_distance_transform(mask, R)) - mask.numel()


if __name__ == "__main__":
    print_peaks(beyond_mask_and_result, CALLS)
