"""Data sets of instance segmentation, read from their own formats, and synthetic ones.

All give pictures and targets as torchvision's detection models take them, see `InstanceDataset`.
"""

from cnnfast.models.instance_segmentation.data_cityscapes import CITYSCAPES_CATEGORIES, CityscapesInstances
from cnnfast.models.instance_segmentation.data_coco import CocoInstances
from cnnfast.models.instance_segmentation.data_targets import AnnotationError, InstanceDataset, Target
from cnnfast.models.instance_segmentation.data_voc import VOC_CATEGORIES, SBDInstances, VOCInstances
from cnnfast.models.instance_segmentation.synthetic import SyntheticInstances, perturb_boxes, synthetic_instances

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
]
