"""How close a predicted view comes to the true one: mean absolute error, PSNR and SSIM, of all or some pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnfast.arguments.checks import accumulation_dtype, check_device, check_floating, check_tensor

# Gaussian window of Wang et al.: deviation 1.5 px, cut at 3.5 deviations.
_DEVIATION, _RADIUS = 1.5, 5
_C1, _C2 = 0.01**2, 0.03**2


def mean_absolute_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of each picture, over pixels and channels.

    Args:
        prediction: [B,C,H,W], floating point.
        target: the same shape and dtype, on the same device.
        mask: [B,H,W] or [B,1,H,W] bool, pixels to take, such as the co-visible ones; None for all.

    Returns:
        [B], float32, or float64 for float64; NaN for a picture without a pixel. Differentiable in both pictures.

    Raises:
        TypeError: no floating-point tensors of one dtype, or a mask that is not bool.
        ValueError: shapes or devices that do not fit.

    Example:
        >>> import torch
        >>> from cnnfast.models.view_synthesis.metrics import mean_absolute_error
        >>> mean_absolute_error(torch.full((2, 3, 4, 4), 0.5), torch.ones(2, 3, 4, 4))
        tensor([0.5000, 0.5000])
    """
    prediction, target, pixels = _inputs("mean_absolute_error", prediction, target, mask)
    return _mean((prediction - target).abs(), pixels)


def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Peak signal-to-noise ratio of each picture of values in [0,1]: :math:`-10 \log_{10} MSE` in dB.

    Arguments, result and errors as in `mean_absolute_error`. Infinite where the pictures are equal.

    Example:
        >>> import torch
        >>> from cnnfast.models.view_synthesis.metrics import psnr
        >>> psnr(torch.full((1, 3, 4, 4), 0.9), torch.ones(1, 3, 4, 4)).round(decimals=3)
        tensor([20.])
    """
    prediction, target, pixels = _inputs("psnr", prediction, target, mask)
    return -10 * _mean((prediction - target).square(), pixels).log10()


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of each picture of values in [0,1], averaged over channels.

    As ``skimage.metrics.structural_similarity(channel_axis=-1, data_range=1, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)``: a Gaussian window of 11x11 px, and the mean over the pixels whose window lies within
    the picture; with a mask, over those of them that it takes.

    Arguments, result and errors as in `mean_absolute_error`; pictures have at least 11 px a side.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.

    Example:
        >>> import torch
        >>> from cnnfast.models.view_synthesis.metrics import ssim
        >>> picture = torch.rand(1, 3, 16, 16)
        >>> ssim(picture, picture)
        tensor([1.])
    """
    prediction, target, pixels = _inputs("ssim", prediction, target, mask)
    if min(prediction.shape[2:]) < 2 * _RADIUS + 1:
        raise ValueError(
            f"ssim: expected pictures of at least {2 * _RADIUS + 1} px a side, got shape {list(prediction.shape)}"
        )
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=prediction.dtype, device=prediction.device)
    window = (-0.5 * (offsets / _DEVIATION) ** 2).exp()
    window = window / window.sum()

    def local_mean(values: Tensor) -> Tensor:
        rows = F.conv2d(values.flatten(0, 1).unsqueeze(1), window.view(1, 1, 1, -1))
        return F.conv2d(rows, window.view(1, 1, -1, 1)).view(
            *values.shape[:2], *(n - 2 * _RADIUS for n in values.shape[2:])
        )

    with torch.autocast(prediction.device.type, enabled=False):
        x, y = local_mean(prediction), local_mean(target)
        xx, yy, xy = (
            local_mean(product) for product in (prediction * prediction, target * target, prediction * target)
        )
    luminance = (2 * x * y + _C1) / (x * x + y * y + _C1)
    structure = (2 * (xy - x * y) + _C2) / (xx - x * x + yy - y * y + _C2)
    inner = slice(_RADIUS, -_RADIUS)
    return _mean(luminance * structure, None if pixels is None else pixels[:, :, inner, inner])


def _inputs(
    function: str, prediction: Tensor, target: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The pictures in the dtype of sums, and the mask as [B,1,H,W]."""
    for name, value in (("prediction", prediction), ("target", target)):
        check_floating(function, value, name)
    if prediction.dim() != 4:
        raise ValueError(f"{function}: expected prediction of shape [B,C,H,W], got {list(prediction.shape)}")
    if target.shape != prediction.shape:
        raise ValueError(
            f"{function}: expected target of shape {list(prediction.shape)} like prediction, got {list(target.shape)}"
        )
    if target.dtype != prediction.dtype:
        raise TypeError(f"{function}: expected target of dtype {prediction.dtype} like prediction, got {target.dtype}")
    check_device(function, target, prediction, "target", "prediction")
    dtype = accumulation_dtype(prediction.dtype)
    if mask is None:
        return prediction.to(dtype), target.to(dtype), None
    check_tensor(function, mask, "mask")
    if mask.dtype != torch.bool:
        raise TypeError(f"{function}: expected mask of dtype torch.bool, got {mask.dtype}")
    check_device(function, mask, prediction, "mask", "prediction")
    batch, _, height, width = prediction.shape
    if mask.shape not in ((batch, height, width), (batch, 1, height, width)):
        raise ValueError(
            f"{function}: expected mask of shape [{batch},{height},{width}] or [{batch},1,{height},{width}], "
            f"got {list(mask.shape)}"
        )
    return prediction.to(dtype), target.to(dtype), mask.view(batch, 1, height, width)


def _mean(values: Tensor, pixels: Tensor | None) -> Tensor:
    if pixels is None:
        return values.mean((1, 2, 3))
    # Left-out values may be NaN, which a product with 0 would keep.
    kept = torch.where(pixels, values, torch.zeros_like(values)).sum((1, 2, 3))
    return kept / (pixels.sum((1, 2, 3)) * values.shape[1])
