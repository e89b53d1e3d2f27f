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

from cnnfast._rooms import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        # Names that users know: rooms of this family, and data sets and metrics, which all detectors share.
        **{room: f".{room}" for room in ("architectures", "mnc", "model_files", "object_masks", "omn", "training")},
        "data": "cnnfast.detection.data",
        "evaluation": "cnnfast.detection.evaluation",
        "metrics": "cnnfast.detection.metrics",
        "prediction": "cnnfast.detection.prediction",
    },
    {
        "ModelSettings": ".architectures",
        "build_model": ".architectures",
        "CocoPredictions": "cnnfast.detection.coco_files",
        "decode_bins": ".object_masks.decoding",
        "draw_instances": "cnnfast.detection.drawing",
        "evaluate": "cnnfast.detection.evaluation",
        "OMNHead": ".object_masks.heads",
        "OMNHeadFC": ".object_masks.heads",
        "mask_loss_weight": ".object_masks.losses",
        "omn_loss": ".object_masks.losses",
        "convert_maskrcnn_to_omn": ".omn.mask_rcnn",
        "maskrcnn_omn": ".omn.mask_rcnn",
        "mask_iou": "cnnfast.detection.metrics",
        "to_coco_results": "cnnfast.detection.metrics",
        "voc_ap_r": "cnnfast.detection.metrics",
        "MNCCascade": ".mnc.network",
        "load_model": ".model_files",
        "save_model": ".model_files",
        "predict_instances": "cnnfast.detection.prediction",
        "RPNOMN": ".omn.proposals",
        "perturb_boxes": "cnnfast.detection.data.synthetic",
        "synthetic_instances": "cnnfast.detection.data.synthetic",
        "OMNTargets": ".object_masks.targets",
        "omn_targets": ".object_masks.targets",
        "Recipe": ".training",
        "train_segmentation": ".training",
        "mask_voting": ".mnc.voting",
        "paste_windows": ".object_masks.windows",
        "sample_windows": ".object_masks.windows",
        "window_boxes": ".object_masks.windows",
        "window_patches": ".object_masks.windows",
    },
)
