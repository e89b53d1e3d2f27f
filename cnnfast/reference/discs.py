"""Sums and unions of discs, the inverse of a truncated distance transform, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cnnfast.arguments import discs as arguments
from cnnfast.arguments.checks import accumulation_dtype
from cnnfast.arguments.discs import bin_radii
from cnnfast.reference._autocast import without_autocast

__all__ = ["bin_radii", "disc_sum", "disc_union", "inverse_distance_transform"]


def disc_sum(B: Tensor, radii: Sequence[int], weight: Tensor | None = None, *, pad: int | None = None) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.disc_sum`: the same arguments, result and errors.

    .. math:: Z(q) = \sum_n w_n \sum_{|p - q| \le \rho_n} B_n(p)

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.2.

    Example:
        >>> import torch
        >>> from cnnfast.reference import disc_sum
        >>> disc_sum(torch.ones(1, 1, 1, 2), [1])
        tensor([[[[0., 1., 1., 0.],
                  [1., 2., 2., 1.],
                  [0., 1., 1., 0.]]]])
    """
    radii = arguments.disc_radii("disc_sum", radii)
    arguments.check_bins("disc_sum", B, radii)
    weight = arguments.disc_weight("disc_sum", weight, B)
    pad = arguments.disc_pad("disc_sum", pad, radii)
    return _sum(_accumulate(B), radii, weight, pad).to(B.dtype)


def disc_union(labels: Tensor, radii: Sequence[int], *, pad: int | None = None) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.disc_union`: the same arguments, result and errors.

    .. math:: M = \bigcup_p \{q : |p - q| \le \rho_{l(p)}\}

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.reference import disc_union
        >>> disc_union(torch.tensor([[[0, 2, 0]]], dtype=torch.uint8), [0, 1]).int()
        tensor([[[0, 0, 1, 0, 0],
                 [0, 1, 1, 1, 0],
                 [0, 0, 1, 0, 0]]], dtype=torch.int32)
    """
    radii = arguments.disc_radii("disc_union", radii)
    arguments.check_labels("disc_union", labels, radii)
    pad = arguments.disc_pad("disc_union", pad, radii)
    bins = torch.arange(1, len(radii) + 1, device=labels.device)
    discs = (labels.unsqueeze(1) == bins[:, None, None]).float()
    return _sum(discs, radii, None, pad).squeeze(1) > 0.5


def inverse_distance_transform(
    B: Tensor,
    radii: Sequence[int],
    weight: Tensor | None = None,
    bias: float | Tensor | None = None,
    *,
    pad: int | None = None,
    union: str = "sum",
    return_logits: bool = False,
) -> Tensor:
    r"""Twin of :func:`cnnfast.ops.inverse_distance_transform`: the same arguments, result and errors.

    .. math:: M(q) = \sigma(\mathrm{bias} + Z(q))

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.2.

    Example:
        >>> import torch
        >>> from cnnfast.reference import inverse_distance_transform
        >>> bins = torch.zeros(1, 2, 1, 3)
        >>> bins[0, 1, 0, 1] = 1
        >>> inverse_distance_transform(bins, [0, 1], union="max")
        tensor([[[[0., 0., 1., 0., 0.],
                  [0., 1., 1., 1., 0.],
                  [0., 0., 1., 0., 0.]]]])
    """
    B, radii, weight, offset, pad, least = arguments.union_arguments(
        "inverse_distance_transform", B, radii, weight, bias, pad, union, return_logits
    )
    if union == "max":
        largest = _maximum(B, radii, pad)
        result = arguments.probability_logit(largest, least) if return_logits else largest
    elif union == "noisy_or":
        result = arguments.noisy_or(_sum(_evidence(_accumulate(B), least), radii, None, pad), least, return_logits)
    else:
        logits = _sum(_accumulate(B), radii, weight, pad) + offset
        result = logits if return_logits else torch.sigmoid(logits)
    return arguments.rounded(result, B.dtype, return_logits)


def _accumulate(B: Tensor) -> Tensor:
    return B.to(accumulation_dtype(B.dtype))


def _evidence(B: Tensor, least: float) -> Tensor:
    """-log(1 - b) with b clamped to at most 1 - least; gradients pass the clamp unchanged."""
    limit = 1 - least
    return -torch.log1p(-torch.where(limit < B, limit + (B - B.detach()), B))


def _reach(radii: Sequence[int], planes: Tensor, pad: int) -> list[int]:
    """The radii, limited to what covers the whole result."""
    return [min(radius, planes.shape[-2] + planes.shape[-1] + 2 * pad) for radius in radii]


def _discs(radii: Sequence[int], planes: Tensor) -> Tensor:
    """A kernel [1,K,2 rho + 1,2 rho + 1] of zeros and ones, rho the largest radius, for planes of some dtype."""
    steps = torch.arange(-max(radii), max(radii) + 1, device=planes.device)
    distance = steps.square()[:, None] + steps.square()
    squares = torch.tensor([radius * radius for radius in radii], device=planes.device)
    return (distance <= squares[:, None, None]).to(planes.dtype).unsqueeze(0)


def _sum(planes: Tensor, radii: Sequence[int], weight: Tensor | None, pad: int) -> Tensor:
    """The weighted sum [N,1,H+2P,W+2P] over discs of planes [N,K,H,W]: discs are symmetric, so a correlation."""
    radii, dtype = _reach(radii, planes, pad), planes.dtype
    if planes.numel() == 0:
        weighted = planes if weight is None else planes * weight[:, None, None]
        size = (planes.shape[0], 1, planes.shape[2] + 2 * pad, planes.shape[3] + 2 * pad)
        return planes.new_zeros(size) + weighted.sum((1, 2, 3), keepdim=True)
    if planes.device.type == "cuda":
        planes = planes.double()  # cuDNN may round float32 to TF32
    kernel = _discs(radii, planes)
    if weight is not None:
        kernel = kernel * weight[:, None, None].to(planes.dtype)
    with without_autocast(planes.device.type):
        return functional.conv2d(planes, kernel, padding=max(radii) + pad).to(dtype)


def _maximum(B: Tensor, radii: Sequence[int], pad: int) -> Tensor:
    """The largest value [N,1,H+2P,W+2P] over discs of planes [N,K,H,W]; its gradient goes to one of equal ones."""
    radii = _reach(radii, B, pad)
    margin, height, width = max(radii) + pad, B.shape[2] + 2 * pad, B.shape[3] + 2 * pad
    padded = functional.pad(B, (margin,) * 4, value=-torch.inf)
    largest = B.new_full((B.shape[0], height, width), -torch.inf)
    for n, radius in enumerate(radii):
        for y, half_width in enumerate(arguments.half_widths(radius), margin - pad - radius):
            for x in range(margin - pad - half_width, margin - pad + half_width + 1):
                value = padded[:, n, y : y + height, x : x + width]
                largest = torch.where((value > largest) | value.isnan(), value, largest)
    return torch.where(largest == -torch.inf, 0, largest).unsqueeze(1)
