"""Objects that a trained network finds in a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from cnnfast.detection.sizes import check_resizable
from cnnfast.images.errors import check_picture

MASK_THRESHOLD = 0.5
# Pixels of masks that are made at a time: 0.13 GB as float32, and as much again while they are put together.
_PIECE = 2**25

Paste = Callable[[Tensor], Tensor]
"""Indices [n] of detections to their masks [n,H,W] or [n,1,H,W], soft or bool."""


def predict_instances(
    network: nn.Module,
    picture: Tensor,
    *,
    score_threshold: float = 0.0,
    mask_threshold: float = MASK_THRESHOLD,
    max_detections: int | None = None,
) -> dict[str, Tensor]:
    """Boxes, labels, scores and masks of the objects of one picture.

    Beyond the result it needs less than 1 GB for the masks of a torchvision network or of ours; other networks are
    called, and return all masks at once.

    Args:
        network: a detector that is called as those of torchvision, in evaluation mode; masks may be soft or bool. One
            with a method ``detect_windows`` (see :class:`~cnnfast.models.instance_segmentation.RPNOMN`) makes only the
            masks that are kept; of torchvision's networks the parts are called, so hooks of the whole do not run.
        picture: [3,H,W] in [0,1].
        score_threshold: objects with a lower score are left out.
        mask_threshold: least value of a soft mask at which a pixel belongs to the object; bool masks do not need it.
        max_detections: the best ones; None for all.

    Returns:
        By falling score, on the CPU: boxes [n,4], labels [n] (ones if the network returns none), scores [n] and
        masks [n,H,W] bool.

    Raises:
        ImageError: no picture, or one that vanishes when it is resized.
        ValueError: a threshold outside [0,1], max_detections below 1, a network in training mode or without masks.

    Example:
        >>> import torch
        >>> from torchvision.models.detection import MaskRCNN
        >>> from cnnfast.detection.anchors import small_anchors
        >>> from cnnfast.detection.prediction import predict_instances
        >>> from cnnfast.features.small_backbone import SmallBackbone
        >>> network = MaskRCNN(SmallBackbone(), 2, min_size=64, max_size=64, rpn_anchor_generator=small_anchors())
        >>> found = predict_instances(network.eval(), torch.rand(3, 40, 50), score_threshold=0.99)
        >>> found["masks"].shape[1:], found["masks"].dtype
        (torch.Size([40, 50]), torch.bool)
    """
    check_picture("predict_instances", picture)
    for name, value in (("score_threshold", score_threshold), ("mask_threshold", mask_threshold)):
        if not 0 <= value <= 1:
            raise ValueError(f"predict_instances: expected {name} in [0,1], got {value}")
    if max_detections is not None and max_detections < 1:
        raise ValueError(f"predict_instances: expected max_detections of at least 1, got {max_detections}")
    if network.training:
        raise ValueError("predict_instances: expected a network in evaluation mode, got one in training mode")
    found, paste = _detect(network, picture)
    order = found["scores"].argsort(descending=True, stable=True)
    order = order[found["scores"][order] >= score_threshold][:max_detections]
    labels = found["labels"][order] if "labels" in found else torch.ones_like(order)
    result = {"boxes": found["boxes"][order], "labels": labels, "scores": found["scores"][order]}
    size = (picture.shape[1], picture.shape[2])
    with torch.no_grad():
        masks = _masks(paste, order, size, mask_threshold)
    return {name: tensor.cpu() for name, tensor in result.items()} | {"masks": masks}


def _detect(network: nn.Module, picture: Tensor) -> tuple[dict[str, Tensor], Paste | Tensor]:
    """Boxes, scores and labels (if the network has such), and the masks or how some of them are made."""
    pictures = [picture.to(next(network.parameters()).device)]
    size = (picture.shape[1], picture.shape[2])
    with torch.no_grad():
        transform = getattr(network, "transform", None)
        if isinstance(transform, GeneralizedRCNNTransform):
            check_resizable("predict_instances", size, transform)
        detect: Any = getattr(network, "detect_windows", None)
        if detect is not None:
            return detect(pictures)[0]
        if isinstance(network, GeneralizedRCNN) and hasattr(network.roi_heads, "has_mask"):
            return _detect_rcnn(network, pictures[0])
        found = network(pictures)[0]
    _check_masks(found)
    return found, found["masks"]


def _detect_rcnn(network: GeneralizedRCNN, picture: Tensor) -> tuple[dict[str, Tensor], Paste]:
    """As the network does it when it is called, but for the masks, whose 4 bytes a pixel are made when asked for."""
    size = (picture.shape[1], picture.shape[2])
    batch, _ = network.transform([picture])
    features = network.backbone(batch.tensors)
    if isinstance(features, Tensor):
        features = {"0": features}
    proposals, _ = network.rpn(batch, features)
    (found,), _ = network.roi_heads(features, proposals, batch.image_sizes)

    _check_masks(found)

    def paste(index: Tensor) -> Tensor:
        chosen = {name: found[name][index] for name in ("boxes", "masks")}
        return network.transform.postprocess([chosen], batch.image_sizes, [size])[0]["masks"]

    return found | {"boxes": resize_boxes(found["boxes"], batch.image_sizes[0], size)}, paste


def _check_masks(found: dict[str, Tensor]) -> None:
    if "masks" not in found:
        raise ValueError(f"predict_instances: expected a network that finds masks, got one that finds {sorted(found)}")


def _masks(paste: Paste | Tensor, order: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Masks [n,H,W] bool on the CPU; only some of them are there as floats at a time."""
    if isinstance(paste, Tensor):
        ready = paste.dtype == torch.bool and paste.device.type == "cpu"
        if ready and torch.equal(order, torch.arange(len(paste))):  # a copy of the masks is large
            return paste[:, 0] if paste.dim() == 4 else paste
        paste = paste.__getitem__
    masks = torch.empty(len(order), *size, dtype=torch.bool)
    step = max(1, _PIECE // (size[0] * size[1]))
    for start in range(0, len(order), step):
        part = paste(order[start : start + step])
        part = part[:, 0] if part.dim() == 4 else part
        masks[start : start + step] = part >= threshold if part.is_floating_point() else part.bool()
    return masks
