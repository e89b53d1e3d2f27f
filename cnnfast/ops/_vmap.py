"""Helpers of vmap rules, which fold the mapped dimension into the batch."""

from __future__ import annotations

from torch import Tensor


def mapped_first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The tensor with the mapped dimension, of that size, in front; expanded where all calls share the tensor."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
