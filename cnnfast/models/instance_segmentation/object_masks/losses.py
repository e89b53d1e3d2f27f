"""Losses of object mask networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnfast.arguments.checks import check_device, check_floating, check_word, number_from_zero
from cnnfast.models.instance_segmentation.object_masks.decoding import ACTIVATIONS
from cnnfast.models.instance_segmentation.object_masks.targets import OMNTargets


def mask_loss_weight(step: int, steps: int) -> float:
    """Weight of the loss of the mask: 0.1 in the first third of the training, then 1.

    At the start the decoded mask of untrained bins is far off, and its loss would drown that of the bins.

    Example:
        >>> [mask_loss_weight(step, 9) for step in (0, 2, 3, 8)]
        [0.1, 0.1, 1.0, 1.0]
    """
    return 0.1 if 3 * step < steps else 1.0


def omn_loss(
    bin_logits: Tensor,
    mask_logits: Tensor | None,
    targets: OMNTargets,
    *,
    lambda_bin: float = 1.0,
    lambda_mask: float = 0.1,
    bin_weights: Tensor | None = None,
    activation: str = "softmax",
) -> dict[str, Tensor]:
    r"""Cross-entropy of the bins and of the mask that they decode to.

    .. math::
        L = \lambda_b\, \mathrm{CE}(\text{bins}) + \lambda_m\, \mathrm{BCE}(\text{mask})

    CE is the mean over boxes and cells, with "sigmoid" over the K maps, too; BCE the mean over the valid cells.

    Args:
        bin_logits: [n,K+1,S,S] with "softmax", the background's first; [n,K,S,S] with "sigmoid".
        mask_logits: [n,1,S+2P,S+2P]; None leaves the loss of the mask out.
        targets: of the same boxes, see `omn_targets`.
        lambda_bin: weight of the bins.
        lambda_mask: weight of the mask, see `mask_loss_weight`.
        bin_weights: weight of each channel of bin_logits.
        activation: "softmax", or "sigmoid" for K independent maps.

    Returns:
        "loss_mask_bins" and "loss_mask", float32 scalars, to be summed; differentiable zeros without boxes.

    Raises:
        ValueError: shapes that do not fit one another, labels above K, a weight that is negative or not finite, or an
            unknown activation.
        TypeError: logits that are no floating tensors.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.2, which trains through
        the mask alone.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.losses import omn_loss
        >>> from cnnfast.models.instance_segmentation.object_masks.targets import OMNTargets
        >>> masks = torch.ones(2, 8, 8, dtype=torch.bool)
        >>> targets = OMNTargets(torch.ones(2, 4, 4, dtype=torch.uint8), masks, masks)
        >>> omn_loss(torch.zeros(2, 4, 4, 4), torch.zeros(2, 1, 8, 8), targets)  # log 4, and 0.1 log 2
        {'loss_mask_bins': tensor(1.3863), 'loss_mask': tensor(0.0693)}
    """
    _check(bin_logits, mask_logits, targets, activation)
    for name, value in (("lambda_bin", lambda_bin), ("lambda_mask", lambda_mask)):
        number_from_zero("omn_loss", name, value)
    if bin_weights is not None:
        bin_weights = _bin_weights(bin_weights, bin_logits)
    losses = {"loss_mask_bins": lambda_bin * _bin_loss(bin_logits.float(), targets.labels, bin_weights, activation)}
    if mask_logits is not None:
        losses["loss_mask"] = lambda_mask * _mask_loss(mask_logits[:, 0].float(), targets)
    return losses


def _bin_loss(logits: Tensor, labels: Tensor, weights: Tensor | None, activation: str) -> Tensor:
    if logits.numel() == 0:
        return 0 * logits.sum()
    if activation == "softmax":
        return F.cross_entropy(logits, labels.long(), weights)
    bins = torch.arange(1, logits.shape[1] + 1, device=labels.device, dtype=labels.dtype).view(-1, 1, 1)
    one_hot = (labels[:, None] == bins).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, one_hot, None if weights is None else weights.view(-1, 1, 1))


def _mask_loss(logits: Tensor, targets: OMNTargets) -> Tensor:
    valid = targets.valid.to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, targets.masks.to(logits.dtype), valid, reduction="sum")
    return total / valid.sum().clamp(min=1)


def _bin_weights(weights: Tensor, logits: Tensor) -> Tensor:
    check_floating("omn_loss", weights, "bin_weights")
    check_device("omn_loss", weights, logits, "bin_weights", "bin_logits")
    if weights.shape != (logits.shape[1],):
        raise ValueError(f"omn_loss: expected bin_weights of shape [{logits.shape[1]}], got {list(weights.shape)}")
    return weights.float()


def _check(bin_logits: Tensor, mask_logits: Tensor | None, targets: OMNTargets, activation: str) -> None:
    check_word("omn_loss", "activation", activation, ACTIVATIONS)
    if not isinstance(targets, OMNTargets):
        raise TypeError(f"omn_loss: expected targets of type OMNTargets, got {type(targets).__name__}")
    _check_logits("bin_logits", bin_logits, targets)
    if mask_logits is not None:
        _check_logits("mask_logits", mask_logits, targets)
    count, size = targets.labels.shape[0], targets.labels.shape[-1]
    if bin_logits.shape[0] != count or bin_logits.shape[2:] != (size, size):
        raise ValueError(
            f"omn_loss: expected bin_logits of shape [{count},C,{size},{size}] for the targets, "
            f"got {list(bin_logits.shape)}"
        )
    if mask_logits is not None and mask_logits.shape != (count, 1, *targets.masks.shape[1:]):
        expected = [count, 1, *targets.masks.shape[1:]]
        raise ValueError(f"omn_loss: expected mask_logits of shape {expected}, got {list(mask_logits.shape)}")
    bins = bin_logits.shape[1] - (activation == "softmax")
    if targets.labels.numel() and int(targets.labels.max()) > bins:
        raise ValueError(f"omn_loss: expected labels up to {bins} bins of bin_logits, got {int(targets.labels.max())}")


def _check_logits(name: str, logits: Tensor, targets: OMNTargets) -> None:
    check_floating("omn_loss", logits, name)
    check_device("omn_loss", logits, targets.labels, name, "targets")
    if logits.dim() != 4:
        raise ValueError(f"omn_loss: expected {name} of four dimensions, got {list(logits.shape)}")
