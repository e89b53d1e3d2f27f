"""Objects that a trained network finds in a picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cnnfast.images.errors import check_picture

MASK_THRESHOLD = 0.5


def predict_instances(
    network: nn.Module,
    picture: Tensor,
    *,
    score_threshold: float = 0.0,
    mask_threshold: float = MASK_THRESHOLD,
    max_detections: int | None = None,
) -> dict[str, Tensor]:
    """Boxes, labels, scores and masks of the objects of one picture.

    Args:
        network: a detector that is called as those of torchvision, in evaluation mode; masks may be soft or bool.
        picture: [3,H,W] in [0,1].
        score_threshold: objects with a lower score are left out.
        mask_threshold: least value of a soft mask at which a pixel belongs to the object; bool masks do not need it.
        max_detections: the best ones; None for all.

    Returns:
        By falling score, on the CPU: boxes [n,4], labels [n] (ones if the network returns none), scores [n] and
        masks [n,H,W] bool.

    Raises:
        ImageError: no picture.
        ValueError: a threshold outside [0,1], max_detections below 1, or a network in training mode.

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
    device = next(network.parameters()).device
    with torch.no_grad():
        found: dict[str, Any] = network([picture.to(device)])[0]
    order = found["scores"].argsort(descending=True, stable=True)
    order = order[found["scores"][order] >= score_threshold][:max_detections]
    scores, boxes, masks = (found[name][order] for name in ("scores", "boxes", "masks"))
    masks = masks[:, 0] if masks.dim() == 4 else masks
    if masks.is_floating_point():
        masks = masks >= mask_threshold
    labels = found["labels"][order] if "labels" in found else torch.ones_like(order)
    result = {"boxes": boxes, "labels": labels, "scores": scores, "masks": masks.bool()}
    return {name: tensor.cpu() for name, tensor in result.items()}
