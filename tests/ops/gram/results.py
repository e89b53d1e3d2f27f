"""Writes the capability in use, and values and gradients of the Gram functions, to the file named; run as a script."""

from __future__ import annotations

import sys

import torch

from cnnfast import _C, ops
from tests.ops.gram.cases import CASES
from tests.ops.tensors import random_tensor

SHAPES = [(1, 1, 1), (2, 5, 37), (1, 17, 1025), (3, 33, 100), (1, 64, 700), (1, 130, 300), (2, 16, 4100)]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def values_and_gradients(function, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradient of its random projection with respect to each tensor."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    upstream = random_tensor(*output.shape, dtype=output.dtype, seed=7)
    return [output.detach(), *torch.autograd.grad(output, leaves, upstream * 1000)]


def results() -> dict[str, list[torch.Tensor]]:
    """Values and gradients of every shape, layout, dtype and case, by name."""
    found = {}
    for dtype in DTYPES:
        for shape in SHAPES:
            rows = random_tensor(*shape, dtype=dtype)
            for layout, x in (("rows", rows), ("columns", rows.mT.contiguous().mT)):
                target = random_tensor(shape[1], shape[1], dtype=dtype, seed=1)
                name = f"{dtype} {shape} {layout}"
                found[f"gram {name}"] = values_and_gradients(ops.gram_matrix, x)
                found[f"loss {name}"] = values_and_gradients(ops.gram_mse_loss, x, target)
                found[f"cross {name}"] = values_and_gradients(ops.cross_gram, x, x[:, :3])
        for case in CASES:
            names = list(case.shapes)
            function = lambda *t, case=case, names=names: case(ops, dict(zip(names, t, strict=True)))  # noqa: E731
            found[f"{case} {dtype}"] = values_and_gradients(function, *case.tensors(dtype).values())
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save({"capability": _C.cpu_capability(), "results": results()}, sys.argv[1])
