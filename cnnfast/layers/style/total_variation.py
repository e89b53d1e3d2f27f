"""Smoothness of an image.

Paper: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from cnnfast.arguments.checks import check_tensor, check_word, finite_number
from cnnfast.layers.style._features import widened


class TVLoss(nn.Module):
    r"""Total variation, in the forms that style-transfer programs use.

    With :math:`d_x` and :math:`d_y` the differences to the right and lower neighbour:

    =======  ====================================================================================================
    kind     loss
    =======  ====================================================================================================
    l1mean   w (mean abs dx + mean abs dy): independent of the size
    l1       w (sum abs dx + sum abs dy)
    l2       w/2 sum (dx^2 + dy^2) over all pixels but the last row and column
    iso      w mean (dx^2 + dy^2)^(exponent/2) over all pixels but the last row and column
    nine     2 w (mean dx^2 / 3 + mean dy^2 / 3 + mean of both squared diagonal differences / 12 each): a nine-point
             stencil on the image continued by repeated pixels
    =======  ====================================================================================================

    Sums and means run over batch and channels too. An image without neighbours in a direction has no variation in
    it. "iso" has gradient 0 where the image is constant.

    Paper:
        Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016,
        section 3.2. Mahendran, Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015 (the
        form with an exponent).

    Shape:
        - image: [B, C, H, W] of a floating-point dtype.
        - output: scalar, float64 for a float64 image, else float32.

    Args:
        weight: Factor of the loss.
        kind: See the table.
        exponent: Positive exponent of kind "iso".

    Raises:
        TypeError: If image is not floating point, or weight or exponent no number.
        ValueError: If kind is unknown, weight not finite, exponent not positive, or image has not four dimensions.

    Example:
        >>> import torch
        >>> from cnnfast.layers import TVLoss
        >>> ramp = torch.arange(4.0).expand(1, 3, 4, 4)
        >>> TVLoss(weight=2.0)(ramp)
        tensor(2.)
    """

    def __init__(self, weight: float = 1.0, kind: str = "l1mean", *, exponent: float = 1.0) -> None:
        super().__init__()
        check_word("TVLoss", "kind", kind, _KINDS)
        self.weight = finite_number("TVLoss", "weight", weight)
        self.kind = kind
        self.exponent = finite_number("TVLoss", "exponent", exponent)
        if not self.exponent > 0:
            raise ValueError(f"TVLoss: expected a positive exponent, got {exponent}")

    def forward(self, image: Tensor) -> Tensor:
        """The loss of the image, a scalar."""
        check_tensor("TVLoss", image, "image")
        if image.dim() != 4:
            raise ValueError(f"TVLoss: expected image of shape [B,C,H,W], got {list(image.shape)}")
        if not image.is_floating_point():
            raise TypeError(f"TVLoss: expected image of a floating-point dtype, got {image.dtype}")
        image = widened(image)
        if self.kind == "iso":
            return self.weight * _isotropic(image, self.exponent)
        return self.weight * _FORMULAS[self.kind](image)

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        exponent = f", exponent={self.exponent:g}" if self.kind == "iso" else ""
        return f"weight={self.weight:g}, kind={self.kind!r}{exponent}"


def _differences(image: Tensor) -> tuple[Tensor, Tensor]:
    return image[..., :, 1:] - image[..., :, :-1], image[..., 1:, :] - image[..., :-1, :]


def _interior_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = _differences(image)
    return dx[..., :-1, :], dy[..., :, :-1]


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, values.numel())


def _l1_mean(image: Tensor) -> Tensor:
    dx, dy = _differences(image)
    return _mean(dx.abs()) + _mean(dy.abs())


def _l1(image: Tensor) -> Tensor:
    dx, dy = _differences(image)
    return dx.abs().sum() + dy.abs().sum()


def _l2(image: Tensor) -> Tensor:
    dx, dy = _interior_differences(image)
    return 0.5 * (dx.square().sum() + dy.square().sum())


def _isotropic(image: Tensor, exponent: float) -> Tensor:
    dx, dy = _interior_differences(image)
    squared = dx.square() + dy.square()
    # The power has an infinite slope at 0. Masking its result alone would leave NaN in the gradient, so the base is
    # replaced before the power, too.
    flat = squared == 0
    return _mean(squared.masked_fill(flat, 1.0).pow(exponent / 2).masked_fill(flat, 0.0))


def _nine_point(image: Tensor) -> Tensor:
    dx, dy = _differences(image)
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate") if image.numel() else image
    falling = padded[..., 1:, 1:] - padded[..., :-1, :-1]
    rising = padded[..., 1:, :-1] - padded[..., :-1, 1:]
    # With repeated pixels the last column and row have differences of 0, so the mean is over all pixels.
    straight = (dx.square().sum() + dy.square().sum()) / max(1, image.numel())
    diagonal = _mean(falling.square()) + _mean(rising.square())
    return 2 * (straight / 3 + diagonal / 12)


_FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {"l1mean": _l1_mean, "l1": _l1, "l2": _l2, "nine": _nine_point}
_KINDS = ("l1mean", "l1", "l2", "iso", "nine")
