"""Tensors that the tests of all operators use, and how far results are from what is expected."""

from __future__ import annotations

import torch
from torch import Tensor


def random_tensor(*shape: int, dtype=torch.float64, device="cpu", seed=0) -> Tensor:
    """Standard normal values, the same ones for every dtype and device up to rounding."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(device=device, dtype=dtype)


def relu_features(*shape: int, dtype=torch.float32, device="cpu", seed=0, size=50.0) -> Tensor:
    """Half of the values zero, the others of magnitude `size`, as behind a ReLU."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return values.clamp_min_(0).mul_(size).to(device=device, dtype=dtype)


def relative_error(actual: Tensor, expected: Tensor, terms: float = 0.0) -> float:
    """Largest absolute error over the largest absolute expected value, or over `terms`, if that is larger.

    `terms` is the magnitude of what was added up, where the terms may cancel each other.
    """
    assert actual.shape == expected.shape
    if not expected.numel():
        return 0.0
    error = (actual.detach().double() - expected.detach().double()).abs().max()
    return (error / expected.detach().double().abs().max().clamp_min(max(terms, 1e-300))).item()
