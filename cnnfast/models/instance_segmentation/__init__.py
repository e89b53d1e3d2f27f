"""Instance segmentation with masks that may leave their box, as bins of truncated distances to the object's boundary.

``heads`` holds the object mask networks, ``targets`` and ``losses`` their training, ``windows`` the way between a box
and the picture. ``mask_rcnn`` is torchvision's Mask R-CNN with such a head, ``rpn_omn`` class-agnostic segment
proposals, ``mnc`` multi-task network cascades. ``data`` reads data sets, ``training`` trains any of these networks on
them, ``prediction``, ``drawing`` and ``coco_files`` find and show objects, ``metrics`` and ``evaluation`` measure them.
All are imported on first use, as are the functions and classes in them.

Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.

Example:
    >>> import torch
    >>> from cnnfast.models import instance_segmentation
    >>> instance_segmentation.window_boxes(torch.tensor([[0.0, 0.0, 28.0, 14.0]]), 28, 7)
    tensor([[-7.0000, -3.5000, 35.0000, 17.5000]])
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from cnnfast._rooms import import_room

_NAMES = {
    "ModelSettings": "architectures",
    "build_model": "architectures",
    "CocoPredictions": "coco_files",
    "decode_bins": "decoding",
    "draw_instances": "drawing",
    "evaluate": "evaluation",
    "OMNHead": "heads",
    "OMNHeadFC": "heads",
    "mask_loss_weight": "losses",
    "omn_loss": "losses",
    "convert_maskrcnn_to_omn": "mask_rcnn",
    "maskrcnn_omn": "mask_rcnn",
    "mask_iou": "metrics",
    "to_coco_results": "metrics",
    "voc_ap_r": "metrics",
    "MNCCascade": "mnc",
    "load_model": "model_files",
    "save_model": "model_files",
    "predict_instances": "prediction",
    "RPNOMN": "rpn_omn",
    "perturb_boxes": "synthetic",
    "synthetic_instances": "synthetic",
    "OMNTargets": "targets",
    "omn_targets": "targets",
    "Recipe": "training",
    "train_segmentation": "training",
    "mask_voting": "voting",
    "paste_windows": "windows",
    "sample_windows": "windows",
    "window_boxes": "windows",
    "window_patches": "windows",
}
_ROOMS = ("data", *dict.fromkeys(_NAMES.values()))


def _room(name: str) -> ModuleType:
    return import_room(f"cnnfast.models.instance_segmentation.{name}")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(_room(_NAMES[name]), name)
    if name in _ROOMS:
        return _room(name)
    raise AttributeError(f"module 'cnnfast.models.instance_segmentation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_NAMES])
