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

# From names in the file to names in the network: as they are; a ResNet's into a pyramid; a ResNet's or VGG's.
_NAMINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: f"backbone.body.{name}",
    lambda name: f"backbone.{name.removeprefix('features.')}",
)


def load_pretrained(network: nn.Module, path: str | os.PathLike[str]) -> int:
    """Give a network all tensors of a file that fit it by name and shape.

    The file may hold a ResNet or VGG of torchvision, a Mask R-CNN of torchvision, or a network of ours. Heads for other
    classes and other masks keep their random weights; of the backbone at least the body must be there.

    Args:
        network: from :func:`~cnnfast.models.instance_segmentation.architectures.build_model`.
        path: .pth, .pt or .safetensors.

    Returns:
        How many tensors were taken.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or of another backbone.

    Example:
        >>> import tempfile, torch
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
        >>> from cnnfast.features.pretrained import load_pretrained
        >>> old, new = (build_model(ModelSettings(kind, "small")) for kind in ("maskrcnn", "rpn-omn"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(old.state_dict(), f"{folder}/a.pt")
        ...     load_pretrained(new, f"{folder}/a.pt") > 20
        True
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
