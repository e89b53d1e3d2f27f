"""Pictures that the tests of this folder make."""

from __future__ import annotations

import numpy as np
import torch

HEIGHT, WIDTH = 6, 9


def noise(*shape: int, dtype=np.uint8, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def bytes_of(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
