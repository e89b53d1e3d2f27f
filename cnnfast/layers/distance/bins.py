"""Masks to distance bins and back, without gradient.

Paper: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cnnfast.arguments.checks import check_flag, check_tensor
from cnnfast.arguments.discs import disc_pad
from cnnfast.arguments.distance import border_code, planes
from cnnfast.layers.distance._conventions import checked_bins
from cnnfast.ops import disc_union, mask_to_bins


class MaskToBins(nn.Module):
    r"""Bins of the distance to the boundary: every pixel of a mask gets the number n of a disc inside the object.

    .. math:: n(p) = \lceil \min(\lceil d(p) \rceil, R) \, K / R \rceil

    ==============  ===================================================================================================
    convention      the distance d
    ==============  ===================================================================================================
    exact           to the nearest background pixel: `BinsToMask` restores every mask exactly
    inner_boundary  to the nearest pixel of the object's outermost layer, whose own d is 0: corners are rounded off, and
                    objects that are two pixels wide vanish
    ==============  ===================================================================================================

    Paper:
        Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.1.

    Shape:
        - mask: [..., H, W], bool or any integer dtype.
        - output: [..., H, W] uint8, 0 where no disc is painted; with one_hot [..., K, H, W] float32.

    Args:
        R: Distance at which the transform is truncated.
        K: Number of bins, at most R.
        convention: See the table.
        labels: The mask is a label map: pixels of another label count as background.
        border: "none": nothing exists outside the image; "background": background surrounds it.
        one_hot: Return a channel a bin.

    Raises:
        TypeError: If an argument has the wrong kind or the mask a floating dtype.
        ValueError: If R or K is out of range or a word unknown.

    Example:
        >>> import torch
        >>> from cnnfast.layers import MaskToBins
        >>> MaskToBins(R=3, K=2)(torch.tensor([[0, 1, 1, 1, 1, 1, 0]]))
        tensor([[0, 1, 2, 2, 2, 1, 0]], dtype=torch.uint8)
    """

    def __init__(
        self,
        R: int = 9,
        K: int = 5,
        convention: str = "exact",
        labels: bool = False,
        border: str = "none",
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        self.R, self.K, self.radii = checked_bins("MaskToBins", R, K, convention)
        border_code("MaskToBins", border)
        check_flag("MaskToBins", "labels", labels)
        check_flag("MaskToBins", "one_hot", one_hot)
        self.convention = convention
        self.labels = labels
        self.border = border
        self.one_hot = one_hot

    def forward(self, mask: Tensor) -> Tensor:
        """The bins of a mask.

        Args:
            mask: [..., H, W].
        """
        if self.convention == "inner_boundary":
            flat = _without_inner_boundary(planes("MaskToBins", mask), self.labels, self.border)
            mask = flat.view(mask.shape)
        return mask_to_bins(mask, self.R, self.K, labels=self.labels, border=self.border, one_hot=self.one_hot)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"R={self.R}, K={self.K}, convention={self.convention!r}, labels={self.labels}, border={self.border!r}, "
            f"one_hot={self.one_hot}"
        )


class BinsToMask(nn.Module):
    r"""The mask that distance bins represent: the union of their discs.

    Paper:
        Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.1.

    Shape:
        - bins: [..., H, W] uint8, 0 for no disc, 1 to K.
        - output: [..., H + 2 pad, W + 2 pad] bool.

    Args:
        R: Distance at which the transform was truncated.
        K: Number of bins, at most R.
        convention: That of `MaskToBins`.
        pad: Rows and columns added on every side, where discs may reach beyond the bins.

    Raises:
        TypeError: If an argument has the wrong kind or the bins another dtype.
        ValueError: If R or K is out of range, a word unknown, or a bin above K.

    Example:
        >>> import torch
        >>> from cnnfast.layers import BinsToMask, MaskToBins
        >>> mask = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]])
        >>> torch.equal(BinsToMask(9, 5)(MaskToBins(9, 5)(mask)), mask.bool())
        True
    """

    def __init__(self, R: int = 9, K: int = 5, convention: str = "exact", pad: int = 0) -> None:
        super().__init__()
        self.R, self.K, self.radii = checked_bins("BinsToMask", R, K, convention)
        self.convention = convention
        self.pad = disc_pad("BinsToMask", pad, self.radii)

    def forward(self, bins: Tensor) -> Tensor:
        """The mask of the bins.

        Args:
            bins: [..., H, W] uint8.
        """
        check_tensor("BinsToMask", bins, "bins")
        if bins.dim() < 2:
            raise ValueError(f"BinsToMask: expected bins of shape [..., H, W], got {list(bins.shape)}")
        planes = bins.reshape(math.prod(bins.shape[:-2]), *bins.shape[-2:])
        mask = disc_union(planes, self.radii, pad=self.pad)
        return mask.view(*bins.shape[:-2], *mask.shape[-2:])

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"R={self.R}, K={self.K}, convention={self.convention!r}, pad={self.pad}"


def _without_inner_boundary(mask: Tensor, labels: bool, border: str) -> Tensor:
    """The mask [P, H, W] with zero at pixels that have a 4-neighbour of another value."""
    if mask.numel() == 0:
        return mask
    value = mask if labels else mask != 0
    inside = (value != 0) & _equals_neighbours(value, 1, border) & _equals_neighbours(value, 2, border)
    return torch.where(inside, value, torch.zeros((), dtype=value.dtype, device=value.device))


def _equals_neighbours(value: Tensor, axis: int, border: str) -> Tensor:
    """Whether both neighbours along an axis have a pixel's value; outside the image there are none, or background."""
    size = value.shape[axis]
    equal = value.narrow(axis, 1, size - 1) == value.narrow(axis, 0, size - 1)
    edge = torch.full_like(value.narrow(axis, 0, 1), border != "background", dtype=torch.bool)
    return torch.cat([edge, equal], axis) & torch.cat([equal, edge], axis)
