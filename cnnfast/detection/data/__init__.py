"""Data sets of instance segmentation, read from their own formats, and synthetic ones.

All give pictures and targets as torchvision's detection models take them, see `InstanceDataset`.
"""

from cnnfast.detection.data.base import AnnotationError, InstanceDataset, Target
from cnnfast.detection.data.cityscapes import CITYSCAPES_CATEGORIES, CityscapesInstances
from cnnfast.detection.data.coco import CocoInstances
from cnnfast.detection.data.coco_writing import write_coco
from cnnfast.detection.data.synthetic import SyntheticInstances, perturb_boxes, synthetic_instances
from cnnfast.detection.data.voc import VOC_CATEGORIES, SBDInstances, VOCInstances

__all__ = [
    "CITYSCAPES_CATEGORIES",
    "VOC_CATEGORIES",
    "AnnotationError",
    "CityscapesInstances",
    "CocoInstances",
    "InstanceDataset",
    "SBDInstances",
    "SyntheticInstances",
    "Target",
    "VOCInstances",
    "perturb_boxes",
    "synthetic_instances",
    "write_coco",
]
