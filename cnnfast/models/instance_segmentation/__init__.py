"""Instance segmentation with masks that may leave their box, as bins of truncated distances to the object's boundary.

``heads`` holds the object mask networks, ``targets`` and ``losses`` their training, ``windows`` the way between a box
and the picture, ``mask_rcnn`` torchvision's Mask R-CNN with such a head, ``rpn_omn`` class-agnostic segment proposals.
They are imported on first use, as are the functions and classes in them.

Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.

Example:
    >>> import torch
    >>> from cnnfast.models import instance_segmentation
    >>> instance_segmentation.window_boxes(torch.tensor([[0.0, 0.0, 28.0, 14.0]]), 28, 7)
    tensor([[-7.0000, -3.5000, 35.0000, 17.5000]])
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

_ROOMS = (
    "decoding",
    "heads",
    "losses",
    "mask_rcnn",
    "rpn_omn",
    "targets",
    "windows",
)
_NAMES = {
    "OMNHead": "heads",
    "OMNHeadFC": "heads",
    "OMNTargets": "targets",
    "RPNOMN": "rpn_omn",
    "convert_maskrcnn_to_omn": "mask_rcnn",
    "decode_bins": "decoding",
    "mask_loss_weight": "losses",
    "maskrcnn_omn": "mask_rcnn",
    "omn_loss": "losses",
    "omn_targets": "targets",
    "paste_windows": "windows",
    "sample_windows": "windows",
    "window_boxes": "windows",
    "window_patches": "windows",
}
# Packages that rooms need, and the extra that installs each.
_EXTRAS = {
    "torchvision": "models",
    "pycocotools": "train",
    "pytorch_lightning": "train",
}


def _room(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"cnnfast.models.instance_segmentation.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        raise ImportError(
            f"cnnfast.models.instance_segmentation.{name}: expected the package {package}, got none; "
            f"install it with: pip install 'cnnfast[{_EXTRAS[package]}]'",
            name=package,
        ) from error


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(_room(_NAMES[name]), name)
    if name in _ROOMS:
        return _room(name)
    raise AttributeError(f"module 'cnnfast.models.instance_segmentation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_NAMES])
