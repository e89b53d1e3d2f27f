"""Prints how much memory decoding of bins takes, its result included; run as a script."""

from __future__ import annotations

import itertools

import torch

from cnnfast import ops
from tests.ops.peak_memory import peak_bytes, print_peaks

SHAPE, RADII = (4, 9, 512, 512), range(9)
RESULT = (4, 1, 528, 528)
CALLS = list(itertools.product(["sum", "noisy_or"], [False, True]))


def decoding(union: str, backward: bool) -> int:
    torch.set_num_threads(2)
    bins, upstream = torch.rand(SHAPE).requires_grad_(backward), torch.ones(RESULT)

    def run(bins: torch.Tensor) -> torch.Tensor:
        mask = ops.inverse_distance_transform(bins, RADII, union=union)
        if backward:
            mask.backward(upstream[: mask.shape[0], :, : mask.shape[2], : mask.shape[3]])
        return mask

    run(bins.detach()[:1, :, :40, :40].clone().requires_grad_(backward))
    return peak_bytes(lambda: run(bins))


if __name__ == "__main__":
    print_peaks(decoding, CALLS)
