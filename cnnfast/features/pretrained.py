"""Weights to start from: a backbone trained on ImageNet, torchvision's Mask R-CNN, or a network of ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnfast.weights.files import WeightsError, read_tensors

logger = logging.getLogger(__name__)

# Names in a file to names in the network: unchanged; a ResNet in a feature pyramid; a plain ResNet or VGG.
_NAMINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: f"backbone.body.{name}",
    lambda name: f"backbone.{name.removeprefix('features.')}",
)


def load_pretrained(network: nn.Module, path: str | os.PathLike[str]) -> int:
    """Load all tensors of a file that fit a network by name and shape.

    The file may hold a ResNet or VGG of torchvision, a Mask R-CNN of torchvision, or a network of ours. Heads for other
    classes and other masks keep their random weights; of the backbone at least the body must be there.

    Args:
        network: a detector whose backbone is its attribute ``backbone``.
        path: .pth, .pt or .safetensors.

    Returns:
        Number of tensors that were loaded.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or of another backbone.

    Example:
        >>> import tempfile, torch
        >>> from torch import nn
        >>> from cnnfast.features.pretrained import load_pretrained
        >>> def detector(classes):
        ...     return nn.ModuleDict({"backbone": nn.Conv2d(3, 8, 3), "head": nn.Linear(8, classes)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(detector(90).state_dict(), f"{folder}/a.pt")
        ...     load_pretrained(detector(3), f"{folder}/a.pt")  # weight and bias of the backbone
        2
    """
    path = Path(path)
    tensors = read_tensors(path, "load_pretrained").tensors
    own = network.state_dict()
    fitting = max((_fitting(naming, tensors, own) for naming in _NAMINGS), key=len)
    missing = [name for name in own if _of_body(name) and name not in fitting]
    if missing:
        raise WeightsError(
            f"load_pretrained: expected weights of the network's backbone in {path}, got none for {missing[0]}"
        )
    for name, tensor in fitting.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"load_pretrained: expected finite values in {path}, got others in {name}")
    network.load_state_dict(fitting, strict=False)
    logger.info("%s: %d of %d tensors taken", path, len(fitting), len(own))
    return len(fitting)


def _fitting(
    naming: Callable[[str], str], tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    renamed = {naming(name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in renamed.items() if name in own and tensor.shape == own[name].shape}


def _of_body(name: str) -> bool:
    return name.startswith("backbone.") and not name.startswith("backbone.fpn.") and "num_batches" not in name
