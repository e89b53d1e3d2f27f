"""Shapes and vmap rules of the distance transforms. Their arguments are whole numbers: there is no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cnnfast import _extension  # noqa: F401  (loads the operators)
from cnnfast.arguments.distance import ONE_HOT_DTYPES, result_dtype

truncated_distance_transform = torch.ops.cnnfast.truncated_distance_transform.default
mask_to_bins = torch.ops.cnnfast.mask_to_bins.default


@torch.library.register_fake("cnnfast::truncated_distance_transform")
def _(
    mask: Tensor,
    radius: float,
    labels: bool,
    spacing_y: float,
    spacing_x: float,
    border: bool,
    output: int,
    zero: int,
) -> Tensor:
    return mask.new_empty(mask.shape, dtype=result_dtype(radius, spacing_y, spacing_x, output))


@torch.library.register_fake("cnnfast::mask_to_bins")
def _(mask: Tensor, radius: int, bins: int, labels: bool, border: bool, one_hot: int) -> Tensor:
    if one_hot == 0:
        return mask.new_empty(mask.shape, dtype=torch.uint8)
    planes, height, width = mask.shape
    return mask.new_empty((planes, bins, height, width), dtype=ONE_HOT_DTYPES[one_hot - 1])


def _vmap_rule(operator: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """Folds the mapped dimension into the planes."""

    def rule(info: Any, in_dims: tuple[int, ...], mask: Tensor, *options: Any) -> tuple[Tensor, int]:
        stacked = mask.movedim(in_dims[0], 0)
        result = operator(stacked.flatten(0, 1), *options)
        return result.unflatten(0, stacked.shape[:2]), 0

    return rule


for _operator in (truncated_distance_transform, mask_to_bins):
    torch.library.register_vmap(_operator, _vmap_rule(_operator))
