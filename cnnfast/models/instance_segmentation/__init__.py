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

from typing import Any

from cnnfast._rooms import import_room

_FAMILY = "cnnfast.models.instance_segmentation"
_NAMES = {
    "ModelSettings": f"{_FAMILY}.architectures",
    "build_model": f"{_FAMILY}.architectures",
    "CocoPredictions": "cnnfast.detection.coco_files",
    "decode_bins": f"{_FAMILY}.object_masks.decoding",
    "draw_instances": "cnnfast.detection.drawing",
    "evaluate": "cnnfast.detection.evaluation",
    "OMNHead": f"{_FAMILY}.object_masks.heads",
    "OMNHeadFC": f"{_FAMILY}.object_masks.heads",
    "mask_loss_weight": f"{_FAMILY}.object_masks.losses",
    "omn_loss": f"{_FAMILY}.object_masks.losses",
    "convert_maskrcnn_to_omn": f"{_FAMILY}.omn.mask_rcnn",
    "maskrcnn_omn": f"{_FAMILY}.omn.mask_rcnn",
    "mask_iou": "cnnfast.detection.metrics",
    "to_coco_results": "cnnfast.detection.metrics",
    "voc_ap_r": "cnnfast.detection.metrics",
    "MNCCascade": f"{_FAMILY}.mnc.network",
    "load_model": f"{_FAMILY}.model_files",
    "save_model": f"{_FAMILY}.model_files",
    "predict_instances": "cnnfast.detection.prediction",
    "RPNOMN": f"{_FAMILY}.omn.proposals",
    "perturb_boxes": "cnnfast.detection.data.synthetic",
    "synthetic_instances": "cnnfast.detection.data.synthetic",
    "OMNTargets": f"{_FAMILY}.object_masks.targets",
    "omn_targets": f"{_FAMILY}.object_masks.targets",
    "Recipe": f"{_FAMILY}.training",
    "train_segmentation": f"{_FAMILY}.training",
    "mask_voting": f"{_FAMILY}.mnc.voting",
    "paste_windows": f"{_FAMILY}.object_masks.windows",
    "sample_windows": f"{_FAMILY}.object_masks.windows",
    "window_boxes": f"{_FAMILY}.object_masks.windows",
    "window_patches": f"{_FAMILY}.object_masks.windows",
}
# Names that users know: rooms of this family, and data sets and metrics, which all detectors share.
_ROOMS = {
    **{
        name: f"{_FAMILY}.{name}" for name in ("architectures", "mnc", "model_files", "object_masks", "omn", "training")
    },
    "data": "cnnfast.detection.data",
    "evaluation": "cnnfast.detection.evaluation",
    "metrics": "cnnfast.detection.metrics",
    "prediction": "cnnfast.detection.prediction",
}


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_room(_NAMES[name]), name)
    if name in _ROOMS:
        return import_room(_ROOMS[name])
    raise AttributeError(f"module {_FAMILY!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_NAMES])
