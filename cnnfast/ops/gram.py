"""Gram matrices of feature maps and the loss of neural texture synthesis, as fused operators.

A Gram matrix is symmetric, so its operator does half the multiplications of a matrix product; the loss never forms the
difference, its square or two gradients of the features in memory. Results are symmetric to the bit and do not depend on
the number of threads.
"""

from __future__ import annotations

from torch import Tensor, dtype

from cnnfast.arguments import gram as arguments
from cnnfast.ops import _gram_registrations as registered
from cnnfast.ops._routing import may_need_gradient, takes_twin
from cnnfast.reference import gram as twin

__all__ = ["cross_gram", "gram_matrix", "gram_mse_loss"]


def gram_matrix(
    x: Tensor,
    normalize: str | float = "hw",
    *,
    pixel_weight: Tensor | None = None,
    centered: bool = False,
    out_dtype: dtype | None = None,
) -> Tensor:
    r"""Gram matrix of a feature map: the products of all pairs of channels, summed over the positions.

    With F = x as [B,C,M], M = H W, and pixel weights w (1 when not given)::

        G_ij = sum_k w_k (F_ik - mu_i) (F_jk - mu_j) / Z

        mu_i = sum_k w_k F_ik / sum_k w_k   if centered, else 0

    Args:
        x: features [B,C,H,W] or [B,C,M]; float64, float32, bfloat16 or float16. Any size may be 0.
        normalize: Z. "none": 1; "hw": sum_k w_k, which is M without weights; "chw": C sum_k w_k; or a positive number.
        pixel_weight: w >= 0. One region: [B,M], [H,W], [B,1,H,W] or [1,1,H,W]. R > 1 regions: [B,R,H,W], or
            [B,R,M] for features [B,C,M]. Floating or bool.
        centered: subtract each channel's mean first, in a second pass over x.
        out_dtype: dtype of the result; sums are formed in float64 for float64 features, else in float32.

    Returns:
        [B,C,C], with regions [B,R,C,C]; float64 for float64 features, else float32, or `out_dtype`. No positions, and
        weights that are all zero, give zeros; when Z comes from the weights, their gradients are zero then, too.

    Raises:
        TypeError: a dtype or kind of argument is not supported.
        ValueError: a shape does not fit, a pixel weight is negative, or `normalize` is not one of the above.

    Note:
        Gradients of any order, for x and pixel_weight; that of x has its dtype and layout. The bits are the same for
        every number of threads. Under ``torch.func`` derivatives and forward-mode AD the plain twin answers.

        The error of an entry is at most 1e-6 of the largest one for any number of positions, in float32, bfloat16 and
        float16. On CUDA, where ``torch.backends.cuda.matmul.fp32_precision`` is "tf32", float32 features without
        weight and centering are rounded to TF32: errors, of gradients too, are then up to 1e-3 of the terms' sum.

    Source: Gatys, Ecker, Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015, section 3;
    regions: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, on spatial control.

    Example:
        >>> import torch
        >>> from cnnfast.ops import gram_matrix
        >>> gram_matrix(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[ 2.5000,  5.5000],
                 [ 5.5000, 12.5000]]])
    """
    if takes_twin("gram_matrix", x) or (centered and may_need_gradient(pixel_weight)):
        return twin.gram_matrix(x, normalize, pixel_weight=pixel_weight, centered=centered, out_dtype=out_dtype)
    features = arguments.flatten_features("gram_matrix", x)
    weights, regions = arguments.pixel_weights("gram_matrix", pixel_weight, x)
    mode, divisor = arguments.normalization("gram_matrix", normalize)
    result = arguments.result_dtype("gram_matrix", x, out_dtype)
    gram = registered.gram(features, weights, mode, divisor, centered)
    return (gram if regions else gram.squeeze(1)).to(result)


def cross_gram(x: Tensor, y: Tensor, normalize: str | float = "hw", *, pixel_weight: Tensor | None = None) -> Tensor:
    r"""Products of the channels of two feature maps over the same positions, summed over the positions.

    With X = x as [B,C1,M], Y = y as [B,C2,M] and pixel weights w (1 when not given)::

        G_ij = sum_k w_k X_ik Y_jk / Z

    Args:
        x: features [B,C1,H,W] or [B,C1,M]; float64, float32, bfloat16 or float16.
        y: features of the same batch, positions, dtype and device as x, with C2 channels.
        normalize: Z. "none": 1; "hw": sum_k w_k, which is M without weights; "chw": C1 sum_k w_k; or a positive number.
        pixel_weight: w >= 0 as in `gram_matrix`.

    Returns:
        [B,C1,C2], with regions [B,R,C1,C2]; float64 for float64 features, else float32.

    Raises:
        TypeError: a dtype or kind of argument is not supported, or x and y differ in dtype.
        ValueError: a shape does not fit, a pixel weight is negative, or `normalize` is not one of the above.

    Note:
        Gradients of any order, for x, y and pixel_weight; that of x has its dtype and layout. The bits are the same
        for every number of threads. Under ``torch.func`` derivatives and forward-mode AD the plain twin
        answers. Errors, and TF32 on CUDA, are as in `gram_matrix`.

    Source: Berger, Memisevic, Incorporating Long-Range Consistency in CNN-Based Texture Generation, ICLR 2017
    (there x and y are the same features, shifted against each other).

    Example:
        >>> import torch
        >>> from cnnfast.ops import cross_gram
        >>> x = torch.arange(6.0).reshape(1, 1, 1, 6)
        >>> cross_gram(x[..., 2:], x[..., :-2], "none")
        tensor([[[26.]]])
    """
    if takes_twin("cross_gram", x):
        return twin.cross_gram(x, y, normalize, pixel_weight=pixel_weight)
    left = arguments.flatten_features("cross_gram", x)
    right = arguments.flatten_features("cross_gram", y, "y")
    arguments.check_pair("cross_gram", x, y)
    weights, regions = arguments.pixel_weights("cross_gram", pixel_weight, x)
    mode, divisor = arguments.normalization("cross_gram", normalize)
    if mode == arguments.CHANNELS_AND_POSITIONS:
        gram = registered.cross_gram(left, right, weights, arguments.POSITIONS, divisor, False) / max(x.shape[1], 1)
    else:
        gram = registered.cross_gram(left, right, weights, mode, divisor, False)
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
    r"""Squared distance between the Gram matrix of a feature map and a wanted one: the texture loss of one layer.

    With G the Gram matrix of `gram_matrix` and T = target, the loss of sample b is::

        l_b = weight_b s sum_ij (G_ij - T_ij)^2     s = 1/(4 C^2) "gatys", 1/C^2 "mean", 1 "sum"

    and with regions the mean of that over the regions.

    Args:
        x: features [B,C,H,W] or [B,C,M]; float64, float32, bfloat16 or float16.
        target: wanted Gram matrices [C,C], [1,C,C] or [B,C,C]; with R > 1 regions [R,C,C] or [B,R,C,C]. It need not be
            symmetric and is converted to the dtype of the result.
        weight: factor of the loss, a number or a tensor [] or [B].
        normalize: divisor of the Gram matrix as in `gram_matrix`.
        scale: s, as above.
        reduction: over the batch: "mean" (0 for an empty batch), "sum", or "none".
        pixel_weight: w >= 0 as in `gram_matrix`.
        centered: compare covariances instead, as in `gram_matrix`.

    Returns:
        A scalar, or [B] for reduction "none"; float64 for float64 features, else float32.

    Raises:
        TypeError: a dtype or kind of argument is not supported.
        ValueError: a shape does not fit, a pixel weight is negative, or a word or number is not one of the above.

    Note:
        Gradients of any order, for x, target, weight and pixel_weight; that of x has its dtype and layout. The
        bits are the same for every number of threads. Under ``torch.func`` derivatives and forward-mode AD the
        plain twin answers. Errors, and TF32 on CUDA, are as in `gram_matrix`. A float16 gradient is often below
        6e-8 and then zero: use bfloat16, or a weight of 1e6 and more.

    Source: Gatys, Ecker, Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015, section 4, with
    each Gram matrix divided by its own number of positions, so that both images may differ in size.

    Example:
        >>> import torch
        >>> from cnnfast.ops import gram_mse_loss
        >>> gram_mse_loss(torch.ones(1, 2, 3, 3), torch.zeros(2, 2))
        tensor(0.2500)
    """
    if takes_twin("gram_mse_loss", x) or (centered and may_need_gradient(pixel_weight)):
        return twin.gram_mse_loss(
            x,
            target,
            weight,
            normalize=normalize,
            scale=scale,
            reduction=reduction,
            pixel_weight=pixel_weight,
            centered=centered,
        )
    features = arguments.flatten_features("gram_mse_loss", x)
    weights, regions = arguments.pixel_weights("gram_mse_loss", pixel_weight, x)
    mode, divisor = arguments.normalization("gram_mse_loss", normalize)
    count = weights.shape[1] if regions and weights is not None else None
    wanted = arguments.loss_target("gram_mse_loss", target, x, count)
    factor = arguments.loss_weight("gram_mse_loss", weight, x)
    factor = factor * arguments.loss_scale("gram_mse_loss", scale, x.shape[1])
    reduction = arguments.loss_reduction("gram_mse_loss", reduction)
    squares, _ = registered.gram_mse(features, wanted, weights, mode, divisor, centered)
    return arguments.reduce_losses(squares.mean(1) * factor, reduction)
