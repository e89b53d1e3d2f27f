"""Overlap of masks, and agreement of their boundaries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_device, check_tensor
from cnnfast.detection.boxes import mask_areas
from cnnfast.detection.checks import check_masks
from cnnfast.ops import truncated_distance_transform

# Pixels multiplied at a time: sums of so many ones are exact in float32, and the copies stay small.
_CHUNK = 2**18
# Largest limit whose square fits into 32 bits.
_LARGEST_LIMIT = 46340


def mask_intersections(a: Tensor, b: Tensor) -> Tensor:
    """Intersection, in pixels, of each mask of one stack with each of another.

    Args:
        a: [n,H,W], bool or integers, non-zero is foreground.
        b: [m,H,W], likewise.

    Returns:
        [n,m] int64.

    Raises:
        ValueError: shapes that do not fit, or tensors on different devices.
        TypeError: another dtype.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import mask_intersections
        >>> mask_intersections(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 1, 1]], [[1, 1, 1]]]))
        tensor([[1, 2]])
    """
    _check_pair("mask_intersections", a, b)
    return _shared(a.flatten(1).bool(), b.flatten(1).bool())


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    r"""Intersection over union of each mask of one stack with each of another.

    .. math::
        \mathrm{IoU}(a, b) = |a \cap b| / |a \cup b|

    and 0 for two masks without a pixel.

    Args:
        a: [n,H,W], bool or integers, non-zero is foreground.
        b: [m,H,W], likewise.

    Returns:
        [n,m] float64, correctly rounded quotients of whole numbers.

    Raises:
        ValueError: shapes that do not fit, or tensors on different devices.
        TypeError: another dtype; threshold soft masks first.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import mask_iou
        >>> mask_iou(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 1, 1]], [[1, 1, 1]]]))
        tensor([[0.3333, 0.6667]], dtype=torch.float64)
    """
    _check_pair("mask_iou", a, b)
    first, second = a.flatten(1).bool(), b.flatten(1).bool()
    shared = _shared(first, second)
    union = mask_areas(first)[:, None] + mask_areas(second)[None, :] - shared
    return shared.double() / union.clamp(min=1).double()


def boundary_f(a: Tensor, b: Tensor, tol: float = 2.0) -> Tensor:
    r"""F measure of the boundaries of two masks.

    The boundary of a mask is its foreground pixels that have one of their four neighbours in the background; the edge
    of the picture is no boundary. With the share P of the pixels of a's boundary that are at most `tol` away from b's,
    and the share R of b's that are as near to a's:

    .. math::
        F = 2 P R / (P + R)

    Two masks without a boundary have F = 1, one with and one without F = 0.

    Args:
        a: [...,H,W], bool or integers, non-zero is foreground.
        b: the same shape.
        tol: in px, at least 0.

    Returns:
        [...] float64.

    Raises:
        ValueError: different shapes or devices, or a negative or infinite tol.
        TypeError: another dtype.

    Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016,
        section 5, where boundaries are matched by dilation.

    Example:
        >>> import torch
        >>> from cnnfast.detection.metrics import boundary_f
        >>> a = torch.zeros(20, 30, dtype=torch.bool)
        >>> a[5:15, 5:15] = True
        >>> boundary_f(a, a.roll(1, 1), 1), boundary_f(a, a.roll(5, 1), 1)
        (tensor(1., dtype=torch.float64), tensor(0.3889, dtype=torch.float64))
    """
    for name, mask in (("a", a), ("b", b)):
        check_tensor("boundary_f", mask, name)
        if mask.dim() < 2:
            raise ValueError(f"boundary_f: expected {name} of shape [...,H,W], got {list(mask.shape)}")
        check_masks("boundary_f", mask.reshape(-1, *mask.shape[-2:]) if mask.numel() else mask.new_zeros(0, 1, 1), name)
    if a.shape != b.shape:
        raise ValueError(f"boundary_f: expected masks of one shape, got {list(a.shape)} and {list(b.shape)}")
    check_device("boundary_f", b, a, "b", "a")
    if not 0 <= tol < math.inf:
        raise ValueError(f"boundary_f: expected tol of at least 0 px, got {tol}")
    first, second = _boundary(a), _boundary(b)
    precision, recall = _share_near(first, second, tol), _share_near(second, first, tol)
    score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
    none = ~(first.flatten(-2).any(-1) | second.flatten(-2).any(-1))
    return torch.where(none, torch.ones_like(score), score)


def _boundary(mask: Tensor) -> Tensor:
    # The outermost layer of the foreground: pixels whose nearest background pixel is a neighbour.
    return truncated_distance_transform(mask, 2, output="squared") == 1


def _share_near(boundary: Tensor, other: Tensor, tol: float) -> Tensor:
    """Share of a boundary's pixels within `tol` of another one, 0 without pixels."""
    limit = math.floor(tol) + 1
    squared = truncated_distance_transform(~other, limit if limit <= _LARGEST_LIMIT else None, output="squared")
    near = squared <= math.floor(tol**2)
    count = boundary.flatten(-2).sum(-1).double()
    return (boundary & near).flatten(-2).sum(-1).double() / count.clamp(min=1)


def _shared(a: Tensor, b: Tensor) -> Tensor:
    """Intersections [n,m] int64 of [n,P] and [m,P] bool."""
    total = torch.zeros(len(a), len(b), dtype=torch.int64, device=a.device)
    for start in range(0, a.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        # Products of zeros and ones are exact in every precision of matrix products that accumulates in float32.
        total += (a[:, part].float() @ b[:, part].float().T).long()
    return total


def _check_pair(function: str, a: Tensor, b: Tensor) -> None:
    check_masks(function, a, "a")
    check_masks(function, b, "b")
    check_device(function, b, a, "b", "a")
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"{function}: expected masks of one height and width, got {list(a.shape)} and {list(b.shape)}")
