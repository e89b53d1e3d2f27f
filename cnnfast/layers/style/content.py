"""Content as the features of one layer.

Paper: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments import gram as arguments
from cnnfast.arguments.checks import check_word
from cnnfast.layers.style._features import difference_to, l1_scaled
from cnnfast.layers.style._target import TargetLoss

_SCALES = ("mean", "gatys", "l1grad")


class ContentLoss(TargetLoss):
    r"""Distance between features and the captured features of the content image.

    "mean" is :math:`w \, \mathrm{mean}(x - p)^2`, "gatys" is :math:`\frac{w}{2} \sum (x - p)^2`, and "l1grad" is
    :math:`w \sum d^2 / (\sum |d| + 10^{-8})` with :math:`d = x - p`, whose gradient has an L1 norm of about w. Sums
    and means run over the batch too.

    Paper:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, equation 1.

    Shape:
        - features: [B, C, H, W] or [B, C, M], the shape of the target; a target of batch 1 serves every sample.
        - output: scalar, float64 for float64 features, else float32.

    Args:
        weight: Factor of the loss.
        scale: "mean", "gatys" or "l1grad".
        device: Device of the target.
        dtype: Dtype of the target.

    Raises:
        TypeError: If weight is not a number or features are not floating point.
        ValueError: If scale is unknown or the shapes of features and target differ.
        RuntimeError: If called before there is a target.

    Example:
        >>> import torch
        >>> from cnnfast.layers import ContentLoss
        >>> loss = ContentLoss(weight=5.0)
        >>> loss.capture(torch.zeros(1, 8, 4, 4))
        >>> loss(torch.ones(1, 8, 4, 4))
        tensor(5.)
    """

    target: Tensor | None

    def __init__(
        self,
        weight: float = 1.0,
        scale: str = "mean",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(weight, device=device, dtype=dtype)
        check_word("ContentLoss", "scale", scale, _SCALES)
        self.scale = scale

    def capture(self, features: Tensor) -> None:
        """Make a copy of the features the target."""
        arguments.flatten_features("ContentLoss", features, "features")
        self.target = self._placed(features.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """The loss of the features, a scalar."""
        self._require_target()
        assert self.target is not None
        arguments.flatten_features("ContentLoss", features, "features")
        difference = difference_to("ContentLoss", features, self.target)
        absolutes = difference.abs().sum() if self.scale == "l1grad" else None
        return self.of_sums(difference.square().sum(), absolutes, difference.numel())

    def of_sums(self, squares: Tensor, absolutes: Tensor | None, count: int) -> Tensor:
        """The loss from the sums, over count elements, of d^2 and, for "l1grad" alone, of |d|."""
        if self.scale == "l1grad":
            assert absolutes is not None
            return l1_scaled(self.weight * squares, absolutes)
        if self.scale == "gatys":
            return 0.5 * self.weight * squares
        return self.weight * squares / max(1, count)

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"{super().extra_repr()}, scale={self.scale!r}"
