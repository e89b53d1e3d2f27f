"""Arithmetic on features that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments import gram as arguments

_EPSILON = 1e-8


def widened(tensor: Tensor) -> Tensor:
    """The tensor in its accumulation dtype: sums in half precision would overflow and lose small terms."""
    return tensor.to(arguments.accumulation_dtype(tensor.dtype))


def difference_to(name: str, features: Tensor, target: Tensor) -> Tensor:
    """Return features - target; a target of batch 1 serves every sample, no other axis is broadcast."""
    if features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(
            f"{name}: expected features of the target's shape {list(target.shape)}, got {list(features.shape)}"
        )
    return widened(features) - widened(target)


def channel_means(name: str, features: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Mean over all positions, [B, C], with regions [B, R, C]; zero where the weights add up to zero."""
    weight, regions = arguments.pixel_weights(name, pixel_weight, features)
    positions = widened(arguments.flatten_features(name, features, "features"))
    if weight is None:
        return positions.sum(2) / max(1, positions.shape[2])
    total = weight.sum(2, keepdim=True)
    means = torch.einsum("bcm,brm->brc", positions, weight.expand(positions.shape[0], -1, -1))
    means = means / torch.where(total > 0, total, 1.0)
    return means if regions else means[:, 0]


def l1_scaled(squares: Tensor, absolutes: Tensor) -> Tensor:
    """Sum of squares over the sum of absolute values; as a loss, its gradient has an L1 norm of about 1."""
    return squares / (absolutes + _EPSILON)
