"""Preconditioners for L-BFGS over pictures: linear maps near the inverse Hessian of a loss over network features."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Preconditioner = Callable[[Tensor], Tensor]

PERIOD = 50.0
COLOUR_FLOOR = 1e-3


def spectral_preconditioner(
    picture: Tensor, *, period: float = PERIOD, periodic: bool = False, regions: Tensor | None = None
) -> Preconditioner:
    r"""A low-pass filter that multiplies each spatial frequency f, in cycles per px, by 1 / sqrt(1 + (p f)^2).

    The curvature of a loss over network features grows about in proportion to the spatial frequency f, and amplitudes
    in natural pictures fall as 1 / f. With this filter all frequencies above 1 / p are equally easy to change, and
    L-BFGS needs two thirds of the evaluations. The map is symmetric and positive definite. In space it is a kernel that
    falls by a factor of e every p / 2 pi px, cut off at the borders of the picture and of regions.

    Args:
        picture: has the size, dtype (float32 or float64) and device of the pictures to come.
        period: p, in px.
        periodic: the picture wraps around at its borders.
        regions: soft masks in [0,1], [R,H,W]; what none of them covers is one more region.

    Returns:
        A function from [...,H,W] to [...,H,W].

    Source: preconditioning by the spectrum of natural pictures, C. Olah, A. Mordvintsev, L. Schubert, "Feature
    Visualization", Distill 2017.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.preconditioner import spectral_preconditioner
        >>> stripes = torch.tensor([1.0, -1.0]).expand(1, 4, 4, 2).flatten(2)  # half a cycle per px
        >>> spectral_preconditioner(stripes, period=8.0, periodic=True)(stripes)[0, 0, :2]
        tensor([ 0.2425, -0.2425])
    """
    height, width = picture.shape[-2:]
    # Zero padding keeps opposite borders apart: the map is then a principal submatrix of a definite matrix.
    size = (height, width) if periodic else (_rounded(height + period / 2), _rounded(width + period / 2))
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    response = (1 + period**2 * (rows.square() + columns.square())).rsqrt().to(picture)

    def smooth(picture: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(picture, s=size) * response, s=size)[..., :height, :width]

    if regions is None:
        return smooth
    windows = _partition(regions.to(picture)).sqrt()

    def smooth_within(picture: Tensor) -> Tensor:
        total = torch.zeros_like(picture)
        for window in windows:  # in a loop, so that the memory is that of one region
            total += window * smooth(window * picture)
        return total

    return smooth_within


def _rounded(length: float) -> int:
    """The next multiple of 16, for which FFTs are fast."""
    return 16 * math.ceil(length / 16)


def _partition(regions: Tensor) -> Tensor:
    """Regions [R,H,W] and the rest of the picture, [R + 1,H,W], scaled to add up to 1 at every pixel."""
    regions = regions.clamp(0, 1)
    regions = regions / regions.sum(0).clamp(min=1)
    return torch.cat([regions, 1 - regions.sum(0, keepdim=True)]).clamp(min=0)


def colour_preconditioner(sample: Tensor, power: float = 1.0) -> Preconditioner:
    """Multiplies every pixel by a power of the covariance of a sample's colours, scaled to a largest eigenvalue of 1.

    Steps are long along the colours that the sample varies in and short along others, which would otherwise keep the
    noise of the first steps. Eigenvalues are at least a thousandth. With the power 1/2 the map gives white noise the
    colours of the sample.

    Args:
        sample: [3,h,w].
        power: exponent of the matrix.

    Returns:
        A function from [3,H,W] to [3,H,W].
    """
    covariance = torch.cov(sample.double().flatten(1).cpu(), correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    largest = values[-1]
    values = (values / largest).clamp_min(COLOUR_FLOOR) if largest > 0 else torch.ones_like(values)
    matrix = ((vectors * values**power) @ vectors.T).to(sample)
    return lambda picture: (matrix @ picture.reshape(3, -1)).view_as(picture)


def picture_preconditioner(
    picture: Tensor, sample: Tensor | None = None, *, periodic: bool = False, regions: Tensor | None = None
) -> Preconditioner:
    """The preconditioner of a picture [C,H,W]: spectral, and with a colour sample [3,h,w] that of its colours, too.

    The two maps commute, so their product is symmetric. For other arguments see `spectral_preconditioner`.
    """
    spectral = spectral_preconditioner(picture, periodic=periodic, regions=regions)
    if sample is None or sample.shape[0] == 1:
        return spectral
    colours = colour_preconditioner(sample)
    return lambda picture: colours(spectral(picture))
