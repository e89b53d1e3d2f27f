"""Metrics in which L-BFGS measures pictures, so that it first moves them the way that pays."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[Tensor], Tensor]

PERIOD = 50.0
COLOUR_FLOOR = 1e-3


def smooth_metric(
    picture: Tensor, *, period: float = PERIOD, periodic: bool = False, regions: Tensor | None = None
) -> Metric:
    r"""A map of pictures [...,H,W] that weighs each spatial frequency f, in cycles per px, by 1 / sqrt(1 + (p f)^2).

    A loss over the features of a network is curved much more along high frequencies than along low ones, about as 1/f
    is in natural pictures. In this metric all frequencies up to a period of p px are as easily moved as each other, and
    L-BFGS needs two thirds of the evaluations. The map is symmetric and positive definite. A px moves those around it
    along, with a weight that falls by e every p / 2 pi px, except across the borders of the picture and of regions.

    Args:
        picture: of the size, dtype (float32 or float64) and device of all others.
        period: p, in px.
        periodic: the picture goes on at the opposite border.
        regions: weights in [0,1] of pictures' px, [R,H,W]; what they leave is a region, too.

    Source: preconditioning by the spectrum of natural pictures, C. Olah, A. Mordvintsev, L. Schubert, "Feature
    Visualization", Distill 2017.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.preconditioner import smooth_metric
        >>> stripes = torch.tensor([1.0, -1.0]).expand(1, 4, 4, 2).flatten(2)  # half a cycle per px
        >>> smooth_metric(stripes, period=8.0, periodic=True)(stripes)[0, 0, :2]
        tensor([ 0.2425, -0.2425])
    """
    height, width = picture.shape[-2:]
    # Zeros between opposite borders: the rows and columns of a definite matrix that belong to the picture.
    size = (height, width) if periodic else (_rounded(height + period / 2), _rounded(width + period / 2))
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    weight = (1 + period**2 * (rows.square() + columns.square())).rsqrt().to(picture)

    def smooth(picture: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(picture, s=size) * weight, s=size)[..., :height, :width]

    if regions is None:
        return smooth
    windows = _partition(regions.to(picture)).sqrt()

    def smooth_within(picture: Tensor) -> Tensor:
        total = torch.zeros_like(picture)
        for window in windows:  # one by one, with the memory of one
            total += window * smooth(window * picture)
        return total

    return smooth_within


def _rounded(length: float) -> int:
    """At least that long, and quick to transform."""
    return 16 * math.ceil(length / 16)


def _partition(regions: Tensor) -> Tensor:
    """Regions [R,H,W] and what they leave, [R + 1,H,W], with a sum of 1 everywhere."""
    regions = regions.clamp(0, 1)
    regions = regions / regions.sum(0).clamp(min=1)
    return torch.cat([regions, 1 - regions.sum(0, keepdim=True)]).clamp(min=0)


def colour_metric(sample: Tensor, power: float = 1.0) -> Metric:
    """The covariance of a sample's [3,h,w] colours, largest eigenvalue 1, to a power, as a map of pictures [3,H,W].

    In this metric a picture moves fast along the colours that the sample varies in and slowly along others, which
    otherwise keep the noise of early steps. No direction is slower than a thousandth. To the power 1/2 it gives noise
    the colours of the sample.
    """
    covariance = torch.cov(sample.double().flatten(1).cpu(), correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    largest = values[-1]
    values = (values / largest).clamp_min(COLOUR_FLOOR) if largest > 0 else torch.ones_like(values)
    matrix = ((vectors * values**power) @ vectors.T).to(sample)
    return lambda picture: (matrix @ picture.reshape(3, -1)).view_as(picture)


def picture_metric(
    picture: Tensor, sample: Tensor | None = None, *, periodic: bool = False, regions: Tensor | None = None
) -> Metric:
    """The metric of pictures like [C,H,W]: smooth, and along the colours of a sample [3,h,w] if no others are wanted.

    The two commute, so that their product is symmetric. Other arguments as of `smooth_metric`.
    """
    smooth = smooth_metric(picture, periodic=periodic, regions=regions)
    if sample is None or sample.shape[0] == 1:
        return smooth
    colours = colour_metric(sample)
    return lambda picture: colours(smooth(picture))
