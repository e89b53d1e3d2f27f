"""Checks of arguments that several functions of detection share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_device, check_tensor

_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_boxes(function: str, boxes: Tensor, name: str = "boxes", *, like: Tensor | None = None) -> None:
    """Raise unless boxes are a floating [n,4] of coordinates that are finite in float32, on the device of `like`."""
    check_tensor(function, boxes, name)
    if not boxes.is_floating_point():
        raise TypeError(f"{function}: expected {name} of a floating dtype, got {boxes.dtype}")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{function}: expected {name} of shape [n,4], got {list(boxes.shape)}")
    if like is not None:
        check_device(function, boxes, like, name, "the masks")
    finite = boxes.detach().float().isfinite()
    if not finite.all():
        row = boxes[int(torch.where(~finite.all(1))[0][0])].tolist()
        raise ValueError(f"{function}: expected finite {name}, got {row}")


def check_masks(function: str, masks: Tensor, name: str = "masks") -> None:
    """Raise unless masks are a bool or integer [n,H,W]."""
    check_tensor(function, masks, name)
    if masks.is_floating_point():
        raise TypeError(
            f"{function}: expected {name} of bool or an integer dtype, got {masks.dtype}; pass {name} > 0.5"
        )
    if masks.dtype not in _INTEGERS:
        raise TypeError(f"{function}: expected {name} of bool or an integer dtype, got {masks.dtype}")
    if masks.dim() != 3:
        raise ValueError(f"{function}: expected {name} of shape [n,H,W], got {list(masks.shape)}")


def check_pictures(
    function: str,
    images: Any,
    targets: Any = None,
    *,
    training: bool = False,
    labels: bool = True,
    classes: int | None = None,
) -> None:
    """Raise unless images and targets are what torchvision's detection models take.

    Args:
        function: the name in the messages.
        images: pictures [3,H,W] of a floating dtype, on one device.
        targets: None, or a dict a picture: boxes [n,4] of positive size, masks [n,H,W] of the picture's size and
            bool or integers, and labels [n] int64 from 1 on.
        training: targets must not be None.
        labels: targets need labels.
        classes: largest label, None for any.
    """
    if not isinstance(images, Sequence) and not (isinstance(images, Tensor) and images.dim() == 4):
        raise TypeError(f"{function}: expected images a list of tensors [3,H,W], got {type(images).__name__}")
    if len(images) == 0:
        raise ValueError(f"{function}: expected at least one picture, got none")
    for image in images:
        check_tensor(function, image, "every picture")
        if not image.is_floating_point():
            raise TypeError(f"{function}: expected pictures of a floating dtype in [0,1], got {image.dtype}")
        if image.dim() != 3 or image.shape[0] != 3 or 0 in image.shape:
            raise ValueError(f"{function}: expected pictures of shape [3,H,W], got {list(image.shape)}")
        check_device(function, image, images[0], "all pictures", "the first")
    if targets is None:
        if training:
            raise ValueError(f"{function}: expected targets in training mode, got None")
        return
    if not isinstance(targets, Sequence) or len(targets) != len(images):
        got = len(targets) if isinstance(targets, Sequence) else type(targets).__name__
        raise ValueError(f"{function}: expected a list of {len(images)} targets, one a picture, got {got}")
    for image, target in zip(images, targets, strict=True):
        _check_target(function, image, target, labels, classes)


def check_detector_call(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """A forward pre-hook of torchvision's detectors: `check_pictures` with the number of their classes.

    Register it by ``model.register_forward_pre_hook(check_detector_call, with_kwargs=True)``.
    """
    names = dict(zip(("images", "targets"), args, strict=False)) | dict(kwargs)
    scores = getattr(model.roi_heads.box_predictor, "cls_score", None)
    classes = None if scores is None else scores.out_features - 1
    check_pictures("Mask R-CNN", names.get("images"), names.get("targets"), training=model.training, classes=classes)
    check_device("Mask R-CNN", names["images"][0], next(model.parameters()), "pictures", "the model")


def _check_target(function: str, image: Tensor, target: Any, labels: bool, classes: int | None) -> None:
    if not isinstance(target, Mapping):
        raise TypeError(f"{function}: expected every target a dict, got {type(target).__name__}")
    for key in ("boxes", "masks", *(["labels"] if labels else [])):
        if key not in target:
            raise ValueError(f"{function}: expected targets with the key {key!r}, got {sorted(target)}")
        check_tensor(function, target[key], f"target {key}")
        check_device(function, target[key], image, f"target {key}", "its picture")
    boxes, masks = target["boxes"], target["masks"]
    check_boxes(function, boxes, "target boxes")
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if empty.any():
        row = boxes[int(torch.where(empty)[0][0])].tolist()
        raise ValueError(f"{function}: expected target boxes of positive width and height, got {row}")
    check_masks(function, masks, "target masks")
    if masks.shape != (len(boxes), *image.shape[1:]):
        expected = [len(boxes), *image.shape[1:]]
        raise ValueError(f"{function}: expected target masks of shape {expected}, got {list(masks.shape)}")
    if labels:
        _check_labels(function, target["labels"], len(boxes), classes)


def _check_labels(function: str, labels: Tensor, count: int, classes: int | None) -> None:
    if labels.dtype != torch.int64:
        raise TypeError(f"{function}: expected target labels of dtype torch.int64, got {labels.dtype}")
    if labels.shape != (count,):
        raise ValueError(f"{function}: expected target labels of shape [{count}], got {list(labels.shape)}")
    if count and int(labels.min()) < 1:
        raise ValueError(f"{function}: expected target labels of at least 1, got {int(labels.min())}")
    if count and classes is not None and int(labels.max()) > classes:
        raise ValueError(f"{function}: expected target labels of 1 to {classes}, got {int(labels.max())}")
