"""Writes the capability in use, and values and gradients of the disc functions, to the file named; run as a script."""

from __future__ import annotations

import sys

import torch

from cnnfast import _C, ops
from tests.ops.discs.cases import CASES, probabilities, random_labels
from tests.ops.tensors import random_tensor

SHAPES = [(1, 3, 1, 1), (5, 3, 28, 28), (2, 3, 70, 37), (1, 3, 9, 1025), (3, 3, 300, 65)]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def values_and_gradients(function, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradient of its random projection with respect to each tensor."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    upstream = random_tensor(*output.shape, dtype=output.dtype, seed=7)
    return [output.detach(), *torch.autograd.grad(output, leaves, upstream)]


def results() -> dict[str, list[torch.Tensor]]:
    """Values and gradients of every shape, dtype and case, by name."""
    found = {}
    for shape in SHAPES:
        labels = random_labels(shape[0], *shape[2:], kinds=3)
        for radii in ((0, 2, 7), (3, 17, 0), (0, 300, 1)):
            found[f"union {shape} {radii}"] = [ops.disc_union(labels, radii, pad=3)]
        for dtype in DTYPES:
            B = probabilities(*shape, dtype=dtype, most=0.1)
            weight = random_tensor(3, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
            found[f"sum {shape} {dtype}"] = values_and_gradients(lambda B, w: ops.disc_sum(B, (0, 2, 7), w), B, weight)
            for union in ("noisy_or", "max"):
                function = lambda B, u=union: ops.inverse_distance_transform(B, (0, 1, 4), union=u)  # noqa: E731
                found[f"{union} {shape} {dtype}"] = values_and_gradients(function, B)
    for dtype in DTYPES:
        for case in CASES:
            names = list(case.shapes)
            function = lambda *t, case=case, names=names: case(ops, dict(zip(names, t, strict=True)))  # noqa: E731
            found[f"{case} {dtype}"] = values_and_gradients(function, *case.tensors(dtype).values())
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save({"capability": _C.cpu_capability(), "results": results()}, sys.argv[1])
