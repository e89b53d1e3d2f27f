"""Truncated Euclidean distance transforms of masks and label maps, in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnfast.arguments import distance as arguments

__all__ = ["mask_to_bins", "truncated_distance_transform"]

NOWHERE = 1 << 62
"""Squared distance, in pixels, where no site (pixel of another value) exists; adding squared offsets is safe."""
ROUNDING = 1 - 1e-6
"""Factor of a distance before it is rounded up, so that a rounding error above a whole number has no effect."""


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
    r"""Twin of :func:`cnnfast.ops.truncated_distance_transform`: the same arguments, result and errors.

    .. math:: D(p) = \min(\lceil \min_{q \in Q(p)} \|p - q\| \rceil, R)

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.reference import truncated_distance_transform
        >>> truncated_distance_transform(torch.tensor([[0, 1, 1, 1, 1, 1, 0]]), 2)
        tensor([[0, 1, 2, 2, 2, 1, 0]], dtype=torch.uint8)
    """
    function = "truncated_distance_transform"
    planes = arguments.planes(function, mask)
    options = arguments.transform_options(function, mask, R, labels, spacing, border, output, zero)
    if options.output == arguments.SIGNED:
        result = _signed(planes, options)
    else:
        squared = _squared_distances(planes, options)
        result = torch.where(planes != 0, _finish(squared, options), 0)
    dtype = arguments.result_dtype(options.radius, options.spacing_y, options.spacing_x, options.output)
    return result.to(dtype).contiguous().view(mask.shape)


def mask_to_bins(
    mask: Tensor,
    R: int,
    K: int,
    *,
    labels: bool = False,
    border: str = "none",
    one_hot: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.mask_to_bins`: the same arguments, result and errors.

    .. math:: n(p) = \lceil D(p) K / R \rceil

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.reference import mask_to_bins
        >>> mask_to_bins(torch.tensor([[0, 1, 1, 1, 1, 1, 0]]), 3, 2)
        tensor([[0, 1, 2, 2, 2, 1, 0]], dtype=torch.uint8)
    """
    planes = arguments.planes("mask_to_bins", mask)
    radius = arguments.whole_radius("mask_to_bins", R)
    bins = arguments.bin_count("mask_to_bins", K, radius)
    arguments.label_mode("mask_to_bins", mask, labels)
    arguments.border_code("mask_to_bins", border)
    code = arguments.one_hot_code("mask_to_bins", one_hot, dtype)
    distances = truncated_distance_transform(planes, radius, labels=labels, border=border).to(torch.int32)
    result = torch.div(distances * bins + (radius - 1), radius, rounding_mode="floor").to(torch.uint8)
    if code == 0:
        return result.reshape(mask.shape)
    channels = torch.stack([result == label for label in range(1, bins + 1)], 1)
    return channels.to(arguments.ONE_HOT_DTYPES[code - 1]).reshape(*mask.shape[:-2], bins, *mask.shape[-2:])


def _signed(planes: Tensor, options: arguments.Options) -> Tensor:
    """Signed distance, negative on background, shifted by the offset of `zero` and clamped to [-R, R]."""
    foreground = planes != 0
    pixel = min(options.spacing_y, options.spacing_x)
    inside = _distance(_squared_distances(planes, options), options)
    # The frame around a plane is background, so distances to the foreground do not depend on it.
    outside = _distance(_squared_distances(~foreground, options._replace(labels=False, border=False)), options)
    if options.zero == arguments.HALF:
        inside, outside = inside - 0.5 * pixel, outside - 0.5 * pixel
    elif options.zero == arguments.INNER:
        inside = inside - pixel
    signed = torch.where(foreground, inside, -outside)
    return signed.clamp(-options.radius, options.radius) if options.radius else signed


def _squared_distances(planes: Tensor, options: arguments.Options) -> Tensor:
    """Squared distance of every pixel to the nearest pixel of another value (in a mask: of the other kind).

    With equal spacings: in pixels, int64, `NOWHERE` if there is none; else in units of the spacing, float64, infinity.
    """
    values = planes if options.labels else planes != 0
    if options.border:
        return _inner(_squared_distances(_framed(values), options._replace(labels=True, border=False)))
    is_isotropic = options.spacing_y == options.spacing_x
    weight_y = 1 if is_isotropic else options.spacing_y * options.spacing_y
    weight_x = 1 if is_isotropic else options.spacing_x * options.spacing_x
    best = torch.full_like(values, NOWHERE if is_isotropic else math.inf, dtype=_squared_dtype(options))
    nowhere = best
    for offset in range(1, _reach(options.radius, options.spacing_y, values.shape[1]) + 1):
        differs = values[:, :-offset] != values[:, offset:]
        candidates = torch.where(differs, weight_y * (offset * offset), nowhere[:, offset:])
        best = _lowered(best, candidates, candidates, offset, 1)
    columns = best
    for offset in range(1, _reach(options.radius, options.spacing_x, values.shape[2]) + 1):
        cost = weight_x * (offset * offset)
        same = values[:, :, :-offset] == values[:, :, offset:]
        from_right = torch.where(same, columns[:, :, offset:], 0) + cost
        from_left = torch.where(same, columns[:, :, :-offset], 0) + cost
        best = _lowered(best, from_right, from_left, offset, 2)
    return best


def _squared_dtype(options: arguments.Options) -> torch.dtype:
    return torch.int64 if options.spacing_y == options.spacing_x else torch.float64


def _reach(radius: float, spacing: float, size: int) -> int:
    """Largest offset that matters: neither beyond R nor beyond the plane."""
    farthest = max(size - 1, 0)
    return min(math.ceil(radius / spacing), farthest) if radius else farthest


def _lowered(best: Tensor, at_start: Tensor, at_end: Tensor, offset: int, dim: int) -> Tensor:
    """The minimum of `best` and of candidates for all but the last, and for all but the first `offset` positions."""
    count = best.shape[dim] - offset
    best = torch.cat([best.narrow(dim, 0, count).minimum(at_start), best.narrow(dim, count, offset)], dim)
    return torch.cat([best.narrow(dim, 0, offset), best.narrow(dim, offset, count).minimum(at_end)], dim)


def _framed(values: Tensor) -> Tensor:
    """The planes with a frame of background one pixel wide."""
    values = torch.cat([torch.zeros_like(values[:, :1]), values, torch.zeros_like(values[:, :1])], 1)
    return torch.cat([torch.zeros_like(values[:, :, :1]), values, torch.zeros_like(values[:, :, :1])], 2)


def _inner(planes: Tensor) -> Tensor:
    return planes[:, 1:-1, 1:-1]


def _distance(squared: Tensor, options: arguments.Options) -> Tensor:
    """Distances in units, float64."""
    if options.spacing_y != options.spacing_x:
        return squared.sqrt()
    distance = squared.to(torch.float64).sqrt() * options.spacing_y
    return torch.where(squared >= NOWHERE, math.inf, distance)


def _finish(squared: Tensor, options: arguments.Options) -> Tensor:
    """The requested output, from squared distances in the foreground."""
    radius, in_pixels = options.radius, options.spacing_y == 1 and options.spacing_x == 1
    if options.output == arguments.SQUARED and in_pixels:
        if radius:
            return squared.clamp(max=int(radius) ** 2)
        return torch.where(squared >= NOWHERE, torch.iinfo(torch.int64).max, squared)
    if options.output == arguments.SQUARED:
        return _limited(_units(squared, options), radius * radius)
    distance = _distance(squared, options)
    if options.output == arguments.BINS:
        distance = (distance if in_pixels else distance * ROUNDING).ceil()
    return _limited(distance, radius)


def _units(squared: Tensor, options: arguments.Options) -> Tensor:
    """Squared distances in units, float64."""
    if options.spacing_y != options.spacing_x:
        return squared
    units = squared.to(torch.float64) * (options.spacing_y * options.spacing_y)
    return torch.where(squared >= NOWHERE, math.inf, units)


def _limited(values: Tensor, limit: float) -> Tensor:
    return values.clamp(max=limit) if limit else values
