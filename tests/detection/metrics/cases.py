"""Random pictures of objects and what a model might have found in them."""

from __future__ import annotations

import torch
from torch import Tensor


def blob(generator: torch.Generator, size: int) -> Tensor:
    """A rectangle somewhere in [size,size]."""
    y, x = torch.randint(0, size - 6, (2,), generator=generator).tolist()
    height, width = torch.randint(3, size // 2, (2,), generator=generator).tolist()
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y : y + height, x : x + width] = True
    return mask


def random_scene(seed: int, *, size: int = 24, classes: int = 3, crowds: bool = False):
    """A prediction and the truth of a picture; scores have ties, objects do not overlap."""
    generator = torch.Generator().manual_seed(seed)
    taken = torch.zeros(size, size, dtype=torch.bool)
    masks = []
    for _ in range(int(torch.randint(0, 5, (), generator=generator))):
        mask = blob(generator, size) & ~taken
        if mask.any():
            taken |= mask
            masks.append(mask)
    found = []
    for _ in range(int(torch.randint(0, 7, (), generator=generator))):
        near = masks and torch.rand((), generator=generator) < 0.7
        base = masks[int(torch.randint(len(masks), (), generator=generator))] if near else blob(generator, size)
        shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
        found.append(base.roll(shift, (0, 1)))
    empty = torch.zeros(0, size, size, dtype=torch.bool)
    truth = {
        "masks": torch.stack(masks) if masks else empty,
        "labels": torch.randint(1, classes + 1, (len(masks),), generator=generator),
    }
    if crowds:
        truth["iscrowd"] = torch.randint(0, 4, (len(masks),), generator=generator) // 3
        truth["ignore"] = (torch.rand(size, size, generator=generator) < 0.2) & ~taken
    prediction = {
        "masks": torch.stack(found) if found else empty,
        "labels": torch.randint(1, classes + 1, (len(found),), generator=generator),
        "scores": torch.randint(1, 8, (len(found),), generator=generator) / 8,
    }
    return prediction, truth


def random_scenes(count: int, seed: int = 0, **options):
    """Lists of predictions and of truths."""
    scenes = [random_scene(1000 * seed + index, **options) for index in range(count)]
    return [prediction for prediction, _ in scenes], [truth for _, truth in scenes]
