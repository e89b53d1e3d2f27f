"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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
