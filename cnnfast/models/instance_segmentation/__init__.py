"""Instance segmentation with masks that may leave their box, as bins of truncated distances to the object's boundary.

``object_masks`` holds the object mask networks: heads, targets, losses, and windows that lead from a box to the picture
and back. ``omn`` has torchvision's Mask R-CNN with such a head and class-agnostic segment proposals, ``mnc`` multi-task
network cascades. ``architectures`` builds these networks by name, ``training`` trains them and ``model_files`` stores
them. ``data``, ``prediction``, ``evaluation`` and ``metrics`` are those of ``cnnfast.detection``. All are imported on
first use, as are their main functions and classes.

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
        # Modules of this family, and those of cnnfast.detection that its users need.
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
