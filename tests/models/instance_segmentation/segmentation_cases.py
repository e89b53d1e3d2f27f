"""Objects with boxes that miss parts of them, pictures of objects with targets, and small detection networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnfast.detection.boxes import tight_boxes


def shape_mask(size: int, generator: torch.Generator) -> Tensor:
    """An ellipse, rotated rectangle or star, [size,size] bool, its centre near the middle."""
    kind = int(torch.randint(3, (), generator=generator))
    a, ratio, angle, dx, dy = torch.rand(5, generator=generator).tolist()
    a = size * (0.12 + 0.13 * a)
    b = a * (0.55 + 0.45 * ratio)
    angle *= math.pi
    at = torch.arange(size) + 0.5
    x, y = at[None] - size * (0.4 + 0.2 * dx), at[:, None] - size * (0.4 + 0.2 * dy)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    if kind == 0:
        return (u / a) ** 2 + (v / b) ** 2 <= 1
    if kind == 1:
        return (u.abs() <= a) & (v.abs() <= b)
    return torch.hypot(u / a, v / b) <= 0.8 + 0.35 * torch.cos(5 * torch.atan2(v, u))


def overlap(a: Tensor, b: Tensor) -> float:
    """IoU of two boxes [4]."""
    sides = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    shared = float(sides.prod())
    return shared / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared)


def shifted_box(box: Tensor, generator: torch.Generator, size: int, low: float, high: float) -> Tensor:
    """The box moved and scaled by up to 30 % inside the picture, with an IoU from `low` to `high`."""
    while True:
        shift = 0.6 * torch.rand(2, generator=generator) - 0.3
        scale = (0.6 * torch.rand(2, generator=generator) - 0.3).exp()
        centre, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        centre, side = centre + shift * side, side * scale
        moved = torch.cat([centre - side / 2, centre + side / 2]).clamp(0, size)
        if low <= overlap(moved, box) <= high:
            return moved


def shapes_with_boxes(count: int, size: int = 96, low: float = 0.5, high: float = 0.9, seed: int = 0):
    """Masks [n,size,size] bool and boxes [n,4] that cut parts of the objects off."""
    generator = torch.Generator().manual_seed(seed)
    masks = [shape_mask(size, generator) for _ in range(count)]
    stack = torch.stack(masks)
    boxes = [shifted_box(box, generator, size, low, high) for box in tight_boxes(stack)]
    return stack, torch.stack(boxes)


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of masks [n,...] with masks [n,...], [n]."""
    a, b = a.flatten(1), b.flatten(1)
    return (a & b).sum(1) / (a | b).sum(1).clamp(min=1)


def pictures_with_targets(count: int, objects: int = 2, size: int = 64, seed: int = 0):
    """Pictures [3,size,size] of bright shapes and their targets for torchvision's detection models."""
    generator = torch.Generator().manual_seed(seed)
    images, targets = [], []
    for _ in range(count):
        masks = torch.stack([shape_mask(size, generator) for _ in range(objects)])
        image = 0.1 * torch.rand(3, size, size, generator=generator)
        for channel, mask in enumerate(masks):
            image[channel % 3, mask] += 0.8
        boxes = tight_boxes(masks)
        images.append(image)
        targets.append({"boxes": boxes, "labels": torch.arange(objects) % 2 + 1, "masks": masks.to(torch.uint8)})
    return images, targets


def no_objects(size: int = 64) -> dict[str, Tensor]:
    """The target of a picture without objects."""
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, size, size, dtype=torch.uint8),
    }


class TinyBackbone(torch.nn.Sequential):
    """Four strided convolutions: one map of 16 channels and stride 4."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = []
        for inputs, outputs, stride in ((3, 16, 2), (16, 16, 2), (16, 16, 1)):
            layers += [torch.nn.Conv2d(inputs, outputs, 3, stride, 1), torch.nn.ReLU()]
        super().__init__(*layers)
        self.out_channels = 16


def tiny_options(size: int = 64):
    """Options that fit Mask R-CNN to the tiny backbone and pictures of `size` px."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    return {
        "min_size": size,
        "max_size": 2 * size,
        "rpn_anchor_generator": AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),)),
        "box_roi_pool": MultiScaleRoIAlign(["0"], 7, 2),
        "mask_roi_pool": MultiScaleRoIAlign(["0"], 14, 2),
        "box_batch_size_per_image": 16,
        "rpn_batch_size_per_image": 32,
        "rpn_post_nms_top_n_train": 60,
        "rpn_post_nms_top_n_test": 20,
        "box_detections_per_img": 6,
        "box_score_thresh": 0.0,
    }


def narrow_branches(classes: int = 3):
    """Narrow branches of boxes and masks for the tiny backbone; with them, Mask R-CNN takes no number of classes."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    return {
        "box_head": TwoMLPHead(16 * 49, 64),
        "box_predictor": FastRCNNPredictor(64, classes),
        "mask_head": MaskRCNNHeads(16, (16, 16), 1),
        "mask_predictor": MaskRCNNPredictor(16, 16, classes),
    }
