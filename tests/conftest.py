"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnfast.weights import vgg_convolution_names

PARITY = Path(__file__).parent / "parity" / "style"


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device the operators have a kernel for."""
    return request.param


@pytest.fixture
def parity() -> Callable[[str], dict[str, np.ndarray]]:
    """Loader of the arrays in tests/parity/style/<name>.npz."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(PARITY / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load


@pytest.fixture
def tiny_vgg() -> Callable[..., dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Maker of a narrow VGG in float64: convolution name to (weight, bias), scaled to keep activations alive."""

    def make(arch: str = "vgg19", widths: tuple[int, ...] = (4, 6, 8, 10, 10), seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        state, channels = {}, 3
        for name in vgg_convolution_names(arch):
            width = widths[int(name[4]) - 1]
            weight = torch.randn(width, channels, 3, 3, generator=generator, dtype=torch.float64)
            bias = torch.randn(width, generator=generator, dtype=torch.float64)
            state[name] = (weight * (2 / (9 * channels)) ** 0.5, 0.1 * bias)
            channels = width
        return state

    return make
