"""Colour statistics: a picture in another's colours, and luminance separated from colour."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnnfast.images import ImageError
from cnnfast.images.errors import check_picture, check_pillow

_LUMINANCE = (0.299, 0.587, 0.114)
# The rounded matrices of the code of the colour-control paper; the second is only nearly the inverse of the first.
_RGB_TO_YUV = (_LUMINANCE, (-0.147, -0.288, 0.436), (0.615, -0.515, -0.1))
_YUV_TO_RGB = ((1.0, 0.0, 1.139), (1.0, -0.395, -0.580), (1.0, 2.03, 0.0))
# JFIF, full range: (Y, Cb, Cr) without the offset of the chroma, and its inverse.
_RGB_TO_YCBCR = (_LUMINANCE, (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_YCBCR_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def match_colour(target: Tensor, source: Tensor, mode: str = "pca", eps: float = 1e-5) -> Tensor:
    """Recolour a picture so that its mean colour and the covariance of its colours become those of another.

    x' = A (x - mean_target) + mean_source, clipped to [0,1], with S_target and S_source the covariances plus eps I:

    - "pca":  A = S_source^(1/2) S_target^(-1/2), symmetric roots (as in image analogies);
    - "chol": A = L_source L_target^(-1), Cholesky factors;
    - "sym":  A = S_target^(-1/2) (S_target^(1/2) S_source S_target^(1/2))^(1/2) S_target^(-1/2), the map of optimal
      transport between normal distributions.

    Args:
        target: [3,H,W], the picture to recolour.
        source: [3,H2,W2], whose colours it gets.
        mode: "pca", "chol" or "sym".
        eps: added to the diagonals, in squared intensity of [0,1]; a grey picture has a singular covariance.

    Returns:
        [3,H,W] in [0,1], dtype and device of `target`; the statistics are computed in float64.

    Raises:
        ImageError: shapes or values as above are not given.
        TypeError: not floating-point tensors.
        ValueError: unknown mode, or eps not positive.

    Source: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 5.1.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.colour import match_colour
        >>> red = torch.rand(3, 8, 8) * torch.tensor([1.0, 0.1, 0.1])[:, None, None]
        >>> recoloured = match_colour(torch.rand(3, 9, 9), red)
        >>> torch.allclose(recoloured.mean((1, 2)), red.mean((1, 2)), atol=0.1)
        True
    """
    check_picture("match_colour", target, name="target")
    check_picture("match_colour", source, name="source")
    if mode not in ("pca", "chol", "sym"):
        raise ValueError(f'match_colour: expected mode "pca", "chol" or "sym", got {mode!r}')
    if not eps > 0:
        raise ValueError(f"match_colour: expected eps above 0, got {eps}")
    pixels = target.detach().double().reshape(3, -1)
    mean_target, cov_target = _statistics(pixels, eps)
    mean_source, cov_source = _statistics(source.detach().to(target.device).double().reshape(3, -1), eps)
    if mode == "chol":
        factor_target, factor_source = (torch.linalg.cholesky(c) for c in (cov_target, cov_source))
        matrix = torch.linalg.solve_triangular(factor_target, factor_source, upper=False, left=False)
    elif mode == "pca":
        matrix = _power(cov_source, 0.5) @ _power(cov_target, -0.5)
    else:
        root, inverse_root = _power(cov_target, 0.5), _power(cov_target, -0.5)
        matrix = inverse_root @ _power(root @ cov_source @ root, 0.5) @ inverse_root
    matched = matrix @ (pixels - mean_target) + mean_source
    return matched.clamp(0, 1).reshape(target.shape).to(target.dtype)


def _statistics(pixels: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean [3,1] and covariance [3,3] of colours [3,M]."""
    mean = pixels.mean(1, keepdim=True)
    centred = pixels - mean
    identity = torch.eye(3, dtype=pixels.dtype, device=pixels.device)
    return mean, centred @ centred.T / pixels.shape[1] + eps * identity


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Power of a symmetric positive definite matrix; eigenvalues are clamped to be positive in spite of rounding."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(torch.finfo(values.dtype).tiny) ** exponent) @ vectors.T


def luminance(image: Tensor) -> Tensor:
    """Luminance 0.299 R + 0.587 G + 0.114 B in all three channels.

    Args:
        image: [3,H,W], any floating-point values.

    Returns:
        [3,H,W], a view with equal channels.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.colour import luminance
        >>> luminance(torch.tensor([0.0, 1.0, 0.0])[:, None, None])[:, 0, 0]
        tensor([0.5870, 0.5870, 0.5870])
    """
    check_picture("luminance", image)
    return _mix(image, (_LUMINANCE,)).expand(3, *image.shape[1:])


def rgb_to_yuv(image: Tensor) -> Tensor:
    """Y'UV of RGB, both [3,H,W], by the rounded matrix of the code of the colour-control paper.

    Source: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017 (the authors' code).

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.colour import rgb_to_yuv
        >>> rgb_to_yuv(torch.tensor([1.0, 0.0, 0.0])[:, None, None])[:, 0, 0]
        tensor([ 0.2990, -0.1470,  0.6150])
    """
    check_picture("rgb_to_yuv", image)
    return _mix(image, _RGB_TO_YUV)


def yuv_to_rgb(image: Tensor) -> Tensor:
    """RGB of Y'UV, both [3,H,W]; nearly, not exactly, the inverse of `rgb_to_yuv`. Not clipped.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.colour import rgb_to_yuv, yuv_to_rgb
        >>> image = torch.rand(3, 2, 2)
        >>> torch.allclose(yuv_to_rgb(rgb_to_yuv(image)), image, atol=5e-3)
        True
    """
    check_picture("yuv_to_rgb", image)
    return _mix(image, _YUV_TO_RGB)


def original_colours(content: Tensor, generated: Tensor) -> Tensor:
    """The luma of a generated picture with the chroma of the content, both in JFIF's YCbCr.

    Args:
        content: [3,H,W] floating point in [0,1], or uint8.
        generated: the same shape and dtype.

    Returns:
        [3,H,W] with their dtype. Floats are mixed exactly and clipped to [0,1]; uint8 goes through Pillow, whose YCbCr
        is rounded to whole steps, and so equals what programs that post-process stored pictures give.

    Raises:
        ImageError: another shape, different shapes, NaN or infinite values.
        TypeError: dtypes that differ or are neither floating point nor uint8.
        ImportError: uint8 without Pillow.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.colour import luminance, original_colours
        >>> content, generated = torch.rand(3, 4, 4) * 0.1 + 0.4, torch.rand(3, 4, 4) * 0.1 + 0.4
        >>> torch.allclose(luminance(original_colours(content, generated)), luminance(generated), atol=1e-5)
        True
    """
    pictures = {"content": content, "generated": generated}
    if not all(isinstance(picture, Tensor) for picture in pictures.values()) or content.dtype != generated.dtype:
        kinds = " and ".join(str(getattr(p, "dtype", type(p).__name__)) for p in pictures.values())
        raise TypeError(f"original_colours: expected content and generated as tensors of one dtype, got {kinds}")
    for name, picture in pictures.items():
        check_picture("original_colours", picture.float() if picture.dtype == torch.uint8 else picture, name=name)
    if content.shape != generated.shape:
        shapes = f"{list(content.shape)} and {list(generated.shape)}"
        raise ImageError(f"original_colours: expected content and generated of the same shape, got {shapes}")
    if content.dtype == torch.uint8:
        return _original_colours_of_bytes(content, generated)
    chroma = _mix(content, _RGB_TO_YCBCR[1:])
    return _mix(torch.cat([_mix(generated, (_LUMINANCE,)), chroma]), _YCBCR_TO_RGB).clamp(0, 1)


def _original_colours_of_bytes(content: Tensor, generated: Tensor) -> Tensor:
    check_pillow("original_colours")
    from PIL import Image

    arrays = (np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy()) for picture in (content, generated))
    of_content, of_generated = (Image.fromarray(array).convert("YCbCr") for array in arrays)
    bands = of_generated.getchannel("Y"), of_content.getchannel("Cb"), of_content.getchannel("Cr")
    mixed = np.array(Image.merge("YCbCr", bands).convert("RGB"))
    return torch.from_numpy(mixed).permute(2, 0, 1).contiguous().to(content.device)


def _mix(image: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Output channels as weighted sums of the three input channels."""
    matrix = torch.tensor(rows, dtype=image.dtype, device=image.device)
    return torch.einsum("oc,chw->ohw", matrix, image)
