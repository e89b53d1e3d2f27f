"""Synthetic scenes to train and test on, the backbone for them, and how good masks in given boxes are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from cnnfast.detection.data import SyntheticInstances

Scene = tuple[Tensor, dict[str, Tensor]]
"""A picture [3,H,W] and its target, as torchvision's detection models take them."""

SIDE = 64
"""Of the pictures, in px."""

BOX_IOUS = ((0.4, 0.55), (0.55, 0.7), (0.7, 0.9))
"""Least and largest IoU of a box with the object's own, for each test."""

# Picture n of seed s is number s 10^6 + n; those of the tests are far from all of them.
_PICTURES_OF_A_SEED = 10**6
_FIRST_TEST = 10**12


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of an experiment.

    Attributes:
        steps: of training.
        batch: pictures in each.
        learning_rate: of Adam, the largest.
        training: pictures to train on.
        testing: pictures to test on.
        objects: shapes in each picture.
        device: of networks and pictures.
    """

    steps: int
    batch: int
    learning_rate: float
    training: int = 640
    testing: int
    objects: int = 1
    device: torch.device | str = "cpu"


def training_scenes(settings: Settings, seed: int) -> list[Scene]:
    """Scenes that differ for each seed.

    Raises:
        ValueError: a seed that is negative or above 999999.
    """
    largest = _FIRST_TEST // _PICTURES_OF_A_SEED - 1
    if not 0 <= seed <= largest:
        raise ValueError(f"training_scenes: expected a seed of 0..{largest}, got {seed}")
    return _scenes(settings, settings.training, seed * _PICTURES_OF_A_SEED)


def evaluation_scenes(settings: Settings) -> list[Scene]:
    """The same for all seeds, and none that is trained on."""
    return _scenes(settings, settings.testing, _FIRST_TEST)


def _scenes(settings: Settings, count: int, first: int) -> list[Scene]:
    data = SyntheticInstances(count, first, SIDE, settings.objects)
    scenes = (data[index] for index in range(count))
    device = settings.device
    return [(image.to(device), {key: part.to(device) for key, part in target.items()}) for image, target in scenes]


def dilated_backbone(width: int) -> nn.Sequential:
    """Five convolutions that halve the resolution once and see 29 px around a pixel."""
    return nn.Sequential(
        Conv2dNormActivation(3, width, stride=2),
        *(Conv2dNormActivation(width, width, dilation=dilation) for dilation in (1, 2, 4, 4)),
    )


def mask_scores(ious: Tensor) -> tuple[float, float]:
    """Mean of the IoUs of masks with their whole objects, and share of those of at least 0.7."""
    return float(ious.mean()), float((ious >= 0.7).double().mean())


def box_columns() -> list[str]:
    """Titles of a table's columns, one for each test."""
    return [f"box {low:g}-{high:g}" for low, high in BOX_IOUS]
