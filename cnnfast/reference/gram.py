"""Gram matrices of feature maps and the Gram loss of neural texture synthesis, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments import gram as arguments
from cnnfast.reference._autocast import without_autocast

__all__ = ["cross_gram", "gram_matrix", "gram_mse_loss"]


def gram_matrix(
    x: Tensor,
    normalize: str | float = "hw",
    *,
    pixel_weight: Tensor | None = None,
    centered: bool = False,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.gram_matrix`: the same arguments, result and errors.

    .. math:: G_{ij} = \sum_k w_k (F_{ik} - \mu_i) (F_{jk} - \mu_j) / Z

    Source: Gatys, Ecker, Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015, section 3.

    Example:
        >>> import torch
        >>> from cnnfast.reference import gram_matrix
        >>> gram_matrix(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[ 2.5000,  5.5000],
                 [ 5.5000, 12.5000]]])
    """
    features = arguments.flatten_features("gram_matrix", x)
    weights, regions = arguments.pixel_weights("gram_matrix", pixel_weight, x)
    divisor = arguments.normalization("gram_matrix", normalize)
    dtype = arguments.result_dtype("gram_matrix", x, out_dtype)
    gram = _gram(features, weights, divisor, centered)
    return (gram if regions else gram.squeeze(1)).to(dtype)


def cross_gram(x: Tensor, y: Tensor, normalize: str | float = "hw", *, pixel_weight: Tensor | None = None) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.cross_gram`: the same arguments, result and errors.

    .. math:: G_{ij} = \sum_k w_k X_{ik} Y_{jk} / Z

    Example:
        >>> import torch
        >>> from cnnfast.reference import cross_gram
        >>> x = torch.arange(6.0).reshape(1, 1, 1, 6)
        >>> cross_gram(x[..., 2:], x[..., :-2], "none")
        tensor([[[26.]]])
    """
    left = arguments.flatten_features("cross_gram", x)
    right = arguments.flatten_features("cross_gram", y, "y")
    arguments.check_pair("cross_gram", x, y)
    weights, regions = arguments.pixel_weights("cross_gram", pixel_weight, x)
    divisor = arguments.normalization("cross_gram", normalize)
    gram = _products(_accumulate(left), _accumulate(right), weights, divisor)
    return gram if regions else gram.squeeze(1)


def gram_mse_loss(
    x: Tensor,
    target: Tensor,
    weight: float | Tensor = 1.0,
    *,
    normalize: str | float = "hw",
    scale: str = "gatys",
    reduction: str = "mean",
    pixel_weight: Tensor | None = None,
    centered: bool = False,
) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.gram_mse_loss`: the same arguments, result and errors.

    .. math:: l_b = \mathrm{weight}_b \, s \sum_{ij} (G_{ij} - T_{ij})^2

    Source: Gatys, Ecker, Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015, section 4.

    Example:
        >>> import torch
        >>> from cnnfast.reference import gram_mse_loss
        >>> gram_mse_loss(torch.ones(1, 2, 3, 3), torch.zeros(2, 2))
        tensor(0.2500)
    """
    features = arguments.flatten_features("gram_mse_loss", x)
    weights, regions = arguments.pixel_weights("gram_mse_loss", pixel_weight, x)
    divisor = arguments.normalization("gram_mse_loss", normalize)
    count = weights.shape[1] if regions and weights is not None else None
    wanted = arguments.loss_target("gram_mse_loss", target, x, count)
    factor = arguments.loss_weight("gram_mse_loss", weight, x)
    factor = factor * arguments.loss_scale("gram_mse_loss", scale, x.shape[1])
    reduction = arguments.loss_reduction("gram_mse_loss", reduction)
    squares = (_gram(features, weights, divisor, centered) - wanted).square().sum((-2, -1))
    return arguments.reduce_losses(squares.mean(1) * factor, reduction)


def _gram(features: Tensor, weights: Tensor | None, divisor: tuple[int, float], centered: bool) -> Tensor:
    """Gram matrices [B,R,C,C] of features [B,C,M], bitwise symmetric."""
    features = _accumulate(features)
    if centered:
        features = features - _mean(features, weights)
    gram = _products(features, features, weights, divisor)
    return gram / 2 + gram.mT / 2


def _accumulate(features: Tensor) -> Tensor:
    """Features [B,C,M] in the accumulation dtype, with an axis for the regions: [B,1,C,M]."""
    return features.to(arguments.accumulation_dtype(features.dtype)).unsqueeze(1)


def _mean(features: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of each channel over the positions: [B,R,C,1]."""
    if weights is None:
        return features.sum(-1, keepdim=True) / max(features.shape[-1], 1)
    return (features * weights.unsqueeze(2)).sum(-1, keepdim=True) * _inverse_total(weights)


def _products(left: Tensor, right: Tensor, weights: Tensor | None, divisor: tuple[int, float]) -> Tensor:
    """Sum over the positions of left [B,R or 1,C1,M] times right [B,R or 1,C2,M], normalized: [B,R,C1,C2]."""
    mode, constant = divisor
    if mode == arguments.CHANNELS_AND_POSITIONS:
        constant = max(left.shape[2], 1)
    with without_autocast(left.device.type):
        if weights is None:
            count = 1 if mode == arguments.CONSTANT else max(left.shape[-1], 1)
            return left @ right.mT / (constant * count)
        products = (left * weights.unsqueeze(2)) @ right.mT / constant
    return products if mode == arguments.CONSTANT else products * _inverse_total(weights)


def _inverse_total(weights: Tensor) -> Tensor:
    """One over the sum of each region's weights, 0 for an empty region (with a zero gradient): [B or 1,R,1,1]."""
    total = weights.sum(-1)[..., None, None]
    empty = total == 0
    return torch.where(empty, 0, 1 / torch.where(empty, 1, total))
