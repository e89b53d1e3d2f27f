"""Losses on the features themselves.

Paper: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnfast.arguments import gram as arguments
from cnnfast.layers.style._target import TargetLoss

_SCALES = ("mean", "gatys", "l1grad")
_EPSILON = 1e-8


def scaled_mse(difference: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Sum d^2 / (sum abs d + 1e-8) over some dimensions, or over all."""
    return difference.square().sum(dim) / (difference.abs().sum(dim) + _EPSILON)


def widened(tensor: Tensor) -> Tensor:
    """Half precision as float32, in which sums neither overflow nor lose small terms."""
    return tensor.to(arguments.accumulation_dtype(tensor.dtype))


def difference_to(name: str, features: Tensor, target: Tensor) -> Tensor:
    """Return features - target, where the target may have batch 1, and nothing else is broadcast."""
    if features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(
            f"{name}: expected features of the target's shape {list(target.shape)}, got {list(features.shape)}"
        )
    return widened(features) - widened(target)


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
        if scale not in _SCALES:
            raise ValueError(f"ContentLoss: expected scale to be one of {', '.join(_SCALES)}, got {scale!r}")
        self.scale = scale

    def capture(self, features: Tensor) -> None:
        """Make a copy of the features the target."""
        arguments.flatten_features("ContentLoss", features, "features")
        self.target = self._placed(features).clone()

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
            return self.weight * squares / (absolutes + _EPSILON)
        if self.scale == "gatys":
            return 0.5 * self.weight * squares
        return self.weight * squares / max(1, count)

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"{super().extra_repr()}, scale={self.scale!r}"


class MeanFeatureLoss(TargetLoss):
    r"""Distance between channel means, :math:`\frac{w}{2C} \sum_i (\mu_i - \mu_i^t)^2`, averaged over the batch.

    Paper:
        Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015 (a weaker
        description of a texture than the Gram matrix, useful next to it).

    Shape:
        - features: [B, C, H, W] or [B, C, M], of any number of positions; a target of batch 1 serves every sample.
        - target: [B, C].
        - output: scalar, float64 for float64 features, else float32.

    Args:
        weight: Factor of the loss.
        device: Device of the target.
        dtype: Dtype of the target.

    Raises:
        TypeError: If weight is not a number or features are not floating point.
        ValueError: If the numbers of channels differ.
        RuntimeError: If called before there is a target.

    Example:
        >>> import torch
        >>> from cnnfast.layers import MeanFeatureLoss
        >>> loss = MeanFeatureLoss(weight=2.0)
        >>> loss.capture(torch.zeros(1, 8, 4, 4))
        >>> loss(torch.ones(1, 8, 5, 7))
        tensor(1.)
    """

    target: Tensor | None

    def capture(self, features: Tensor) -> None:
        """Make the channel means of the features the target."""
        self.target = self._placed(channel_means("MeanFeatureLoss", features))

    def forward(self, features: Tensor) -> Tensor:
        """The loss of the features, a scalar."""
        self._require_target()
        assert self.target is not None
        means = channel_means("MeanFeatureLoss", features)
        return 0.5 * self.weight * difference_to("MeanFeatureLoss", means, self.target).square().mean()


def channel_means(name: str, features: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Mean over all positions, [B, C], with regions [B, R, C]; zero where nothing counts, as for the Gram matrix."""
    weight, regions = arguments.pixel_weights(name, pixel_weight, features)
    positions = widened(arguments.flatten_features(name, features, "features"))
    if weight is None:
        return positions.sum(2) / max(1, positions.shape[2])
    total = weight.sum(2, keepdim=True)
    means = torch.einsum("bcm,brm->brc", positions, weight.expand(positions.shape[0], -1, -1))
    means = means / torch.where(total > 0, total, 1.0)
    return means if regions else means[:, 0]


class ScaledMSELoss(nn.Module):
    r"""Squared error divided by the absolute error, :math:`w \sum d^2 / (\sum |d| + 10^{-8})`, :math:`d = x - t`.

    Its gradient has an L1 norm of about w whatever the scale of the input, so that losses of different layers pull
    equally hard.

    Shape:
        - input, target: any, equal.
        - output: scalar, float64 for float64 input, else float32.

    Args:
        weight: Factor of the loss.

    Raises:
        ValueError: If the shapes of input and target differ.

    Example:
        >>> import torch
        >>> from cnnfast.layers import ScaledMSELoss
        >>> ScaledMSELoss()(torch.full((4, 4), 3.0), torch.zeros(4, 4))
        tensor(3.)
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        if input.shape != target.shape:
            raise ValueError(
                f"ScaledMSELoss: expected input and target of equal shapes, got {list(input.shape)} "
                f"and {list(target.shape)}"
            )
        return self.weight * scaled_mse(widened(input) - widened(target))

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"weight={self.weight:g}"
