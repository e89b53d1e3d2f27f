"""Measures of instance segmentation: AP^r of PASCAL VOC, AP and AR of COCO, AP of Cityscapes, AR of proposals.

All take predictions and ground truth as torchvision's detection models return and take them, a dict a picture, with
masks of bool or integers: threshold soft masks first. The functions take whole data sets, the classes a picture at a
time.
"""

from cnnfast.detection.metrics.cityscapes import CityscapesAP, cityscapes_ap
from cnnfast.detection.metrics.coco import CocoMetrics, average_recall, coco_metrics, encode_masks, to_coco_results
from cnnfast.detection.metrics.masks import boundary_f, mask_intersections, mask_iou
from cnnfast.detection.metrics.voc import RegionAP, voc_ap_r

__all__ = [
    "CityscapesAP",
    "CocoMetrics",
    "RegionAP",
    "average_recall",
    "boundary_f",
    "cityscapes_ap",
    "coco_metrics",
    "encode_masks",
    "mask_intersections",
    "mask_iou",
    "to_coco_results",
    "voc_ap_r",
]
