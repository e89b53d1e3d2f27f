"""Truncated Euclidean distance transforms of masks and label maps, as fused operators.

Squared distances are whole numbers in pixels, so results are exact: the same on every processor, for every number of
threads and on every device. A mask is read once and a result written once; intermediate values stay in the caches.
"""

from __future__ import annotations

from torch import Tensor, dtype

from cnnfast.arguments import distance as arguments
from cnnfast.ops import _distance_registrations as registered
from cnnfast.ops._routing import takes_twin
from cnnfast.reference import distance as twin

__all__ = ["mask_to_bins", "truncated_distance_transform"]


def truncated_distance_transform(
    mask: Tensor,
    R: float | None = None,
    *,
    labels: bool = False,
    spacing: tuple[float, float] = (1.0, 1.0),
    border: str = "none",
    output: str = "bins",
    zero: str = "edge",
) -> Tensor:
    r"""Distance of every pixel of an object to the nearest pixel that is not of the object, truncated at R.

    With Q(p) all pixels of p's plane whose value differs from that of p::

        D(p) = min(ceil(d(p)), R)    d(p) = min over q in Q(p) of |p - q|    for p in the foreground, else D(p) = 0

    Pixel centres are `spacing` apart. Where Q(p) is empty, d(p) is infinite. A closed disc of radius D(p) - 1 around p
    lies inside the object, and these discs cover it (`disc_union`).

    Args:
        mask: [...,H,W], bool or any integer dtype; each [H,W] is a plane of its own. Any size may be 0.
        R: the largest value, >= 1, in units of the spacing: a whole number up to 255 for bins, up to 46340 for squared
            distances in pixels, else any number. None does not truncate; bins need an R.
        labels: False: foreground is what is not zero. True: the plane is a label map, 0 is background and every other
            value an object of its own (negative values, too).
        spacing: (sy, sx), distances between rows and between columns.
        border: "none": nothing exists outside the plane, and its edge is no boundary. "background": a frame of
            background pixels surrounds it.
        output: "bins": D. "distance": min(d, R). "squared": min(d^2, R^2). "signed": d in the foreground, and on
            background minus the distance to the nearest foreground pixel, both truncated at R.
        zero: where the signed distance is zero. "edge": nowhere, it is the distance to the nearest pixel of the other
            kind; "half": between the two kinds, magnitudes are half a pixel less; "inner": on the outermost layer of
            the object, distances inside are a pixel less. A pixel is the smaller of the two spacings.

    Returns:
        The shape of the mask, contiguous: uint8 for bins; float32 for distances and signed ones; squared distances as
        int32 (R None: int64, with 2^63 - 1 where Q(p) is empty) in pixels, float32 with another spacing.

    Raises:
        TypeError: a dtype or kind of argument is not supported; floating masks are compared with a threshold first.
        ValueError: a shape, number or word is not one of the above.

    Note:
        Not differentiable. Squared distances and bins in pixels are exact. With another spacing bins are
        ceil(d (1 - 1e-6)), so that a d that rounding moved above a whole number is not rounded up.

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1; the two passes:
    Meijster, Roerdink, Hesselink, A General Algorithm for Computing Distance Transforms in Linear Time, ISMM 2000.

    Example:
        >>> import torch
        >>> from cnnfast.ops import truncated_distance_transform
        >>> truncated_distance_transform(torch.tensor([[0, 1, 1, 1, 1, 1, 0]]), 2)
        tensor([[0, 1, 2, 2, 2, 1, 0]], dtype=torch.uint8)
        >>> truncated_distance_transform(torch.tensor([[7, 7, 7, 0, 5, 9]]), labels=True, output="squared")
        tensor([[9, 4, 1, 0, 1, 1]])
    """
    if takes_twin("truncated_distance_transform", mask):
        return twin.truncated_distance_transform(
            mask, R, labels=labels, spacing=spacing, border=border, output=output, zero=zero
        )
    function = "truncated_distance_transform"
    planes = arguments.planes(function, mask)
    options = arguments.transform_options(function, mask, R, labels, spacing, border, output, zero)
    return registered.truncated_distance_transform(planes, *options).view(mask.shape)


def mask_to_bins(
    mask: Tensor,
    R: int,
    K: int,
    *,
    labels: bool = False,
    border: str = "none",
    one_hot: bool = False,
    dtype: dtype | None = None,
) -> Tensor:
    r"""Truncated distances in K bins, the pixel labels from which an object mask network restores masks.

    With D of `truncated_distance_transform`::

        n(p) = ceil(D(p) K / R)

    A disc of radius floor((n - 1) R / K) around a pixel of bin n lies inside the object, and these discs cover it.

    Args:
        mask: [...,H,W], bool or any integer dtype; each [H,W] is a plane of its own. Any size may be 0.
        R: distance at which they are truncated, 1 to 255.
        K: number of bins, 1 to R.
        labels: whether the planes are label maps, as in `truncated_distance_transform`.
        border: "none" or "background", as there.
        one_hot: return a channel a bin instead of its number.
        dtype: of the channels: uint8, float16, bfloat16, float32 (default) or float64.

    Returns:
        [...,H,W] uint8, 0 on background and 1 to K elsewhere; with `one_hot` [...,K,H,W], 1 in the channel of the
        pixel's bin, so that background has none. Contiguous.

    Raises:
        TypeError: a dtype or kind of argument is not supported; floating masks are compared with a threshold first.
        ValueError: a shape, number or word is not one of the above.

    Note:
        Not differentiable. The result is exact.

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.ops import mask_to_bins
        >>> mask_to_bins(torch.tensor([[0, 1, 1, 1, 1, 1, 0]]), 3, 2)
        tensor([[0, 1, 2, 2, 2, 1, 0]], dtype=torch.uint8)
    """
    if takes_twin("mask_to_bins", mask):
        return twin.mask_to_bins(mask, R, K, labels=labels, border=border, one_hot=one_hot, dtype=dtype)
    planes = arguments.planes("mask_to_bins", mask)
    radius = arguments.whole_radius("mask_to_bins", R)
    bins = arguments.bin_count("mask_to_bins", K, radius)
    is_label_map = arguments.label_mode("mask_to_bins", mask, labels)
    is_border = arguments.border_code("mask_to_bins", border)
    code = arguments.one_hot_code("mask_to_bins", one_hot, dtype)
    result = registered.mask_to_bins(planes, radius, bins, is_label_map, is_border, code)
    return result.view(mask.shape if code == 0 else (*mask.shape[:-2], bins, *mask.shape[-2:]))
