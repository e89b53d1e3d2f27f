"""Checks of cameras' arguments, and products and inverses of 3x3 matrices.

The products are sums of elementwise products, which autocast and TF32 leave in the precision of their arguments:
a position in a picture of 4096 px has no digits to spare.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_device, check_tensor

_DTYPES = (torch.float32, torch.float64)


def check_float(function: str, name: str, value: Tensor) -> None:
    """Raise TypeError unless the argument is a dense tensor of float32 or float64."""
    check_tensor(function, value, name)
    if value.dtype not in _DTYPES:
        raise TypeError(f"{function}: expected {name} of dtype float32 or float64, got {value.dtype}")


def check_alike(function: str, arguments: Mapping[str, Tensor]) -> None:
    """Raise unless all are tensors of one dtype, float32 or float64, and on one device.

    Args:
        function: to name in the error.
        arguments: name -> tensor.

    Raises:
        TypeError: no tensor, or of another dtype.
        ValueError: on another device.
    """
    for name, value in arguments.items():
        check_float(function, name, value)
        first_name, first = next(iter(arguments.items()))
        check_device(function, value, first, name, first_name)
        if value.dtype != first.dtype:
            raise TypeError(f"{function}: expected {name} of dtype {first.dtype} like {first_name}, got {value.dtype}")


def check_shapes(function: str, arguments: Mapping[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    """Raise unless the tensors are alike, their last axes are as given and their other axes broadcast.

    Args:
        function: to name in the error.
        arguments: name -> (tensor, its last axes).

    Raises:
        TypeError: no tensor, or of another dtype.
        ValueError: another shape or device.
    """
    check_alike(function, {name: value for name, (value, _) in arguments.items()})
    for name, (value, last) in arguments.items():
        if value.dim() < len(last) or tuple(value.shape[value.dim() - len(last) :]) != last:
            axes = ",".join(map(str, ("...", *last)))
            raise ValueError(f"{function}: expected {name} of shape [{axes}], got {list(value.shape)}")
    try:
        torch.broadcast_shapes(*(value.shape[: value.dim() - len(last)] for value, last in arguments.values()))
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, (value, _) in arguments.items())
        raise ValueError(f"{function}: expected leading axes that broadcast, got {shapes}") from None


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of [...,m,n] and [...,n,k] in full precision: [...,m,k]."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def apply(a: Tensor, x: Tensor) -> Tensor:
    """Matrix [...,m,n] times vector [...,n] in full precision: [...,m]."""
    return (a * x.unsqueeze(-2)).sum(-1)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Scalar products of vectors: [...]."""
    return (x * y).sum(-1)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Outer products of vectors [...,m] and [...,n]: [...,m,n]."""
    return x.unsqueeze(-1) * y.unsqueeze(-2)


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of [...,3,3] by cofactors; a singular matrix gives infinite or NaN entries and raises nothing."""
    first, second, third = matrix.unbind(-2)
    columns = [
        torch.linalg.cross(second, third),
        torch.linalg.cross(third, first),
        torch.linalg.cross(first, second),
    ]
    return torch.stack(columns, -1) / dot(first, columns[0])[..., None, None]


def matrix_from_rows(rows: list[list[Tensor | float]], like: Tensor) -> Tensor:
    """Matrix [...,m,n] of numbers and tensors [...] that broadcast, of the dtype and device of ``like``."""
    entries = [torch.as_tensor(entry, dtype=like.dtype, device=like.device) for row in rows for entry in row]
    return torch.stack(torch.broadcast_tensors(*entries), -1).unflatten(-1, (len(rows), len(rows[0])))
