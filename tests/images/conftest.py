"""Fixtures of the tests of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.images.image_cases import HEIGHT, WIDTH, noise


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def rgb() -> np.ndarray:
    return noise(HEIGHT, WIDTH, 3)
