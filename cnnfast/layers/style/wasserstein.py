"""Style as a normal distribution of features."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments.checks import finite_number, whole_number
from cnnfast.layers.style._features import channel_means, difference_to
from cnnfast.layers.style._matrix_sqrt import matrix_sqrt
from cnnfast.layers.style._target import TargetLoss
from cnnfast.ops import gram_matrix


class WassersteinStyleLoss(TargetLoss):
    r"""Squared 2-Wasserstein distance between normal distributions fitted to features and to a captured style.

    With channel means :math:`\mu`, covariances :math:`\Sigma` (plus eps on the diagonal) and C channels,

    .. math:: \frac{w}{C} \left[ \|\mu - \mu_t\|^2
        + \mathrm{tr}(\Sigma_t + \Sigma - 2 (\Sigma_t^{1/2} \Sigma \Sigma_t^{1/2})^{1/2}) \right],

    averaged over the batch. Square roots take `iters` Newton-Schulz steps and gradients as many Lyapunov steps: matrix
    products only, no eigendecomposition.

    Paper:
        Dowson, Landau, "The Frechet Distance between Multivariate Normal Distributions", 1982 (the distance); Lin,
        Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017 (square root and its gradient).

    Shape:
        - features: [B, C, H, W] or [B, C, M], of any number of positions; a target of batch 1 serves every sample.
        - target_mean: [B, C]. target_covariance, target_root: [B, C, C]. With R regions [B, R, C] and [B, R, C, C].
        - output: scalar, float64 for float64 features, else float32.

    Args:
        weight: Factor of the loss.
        eps: Added to the diagonal of both covariances, which keeps the root finite when channels are dependent.
        iters: Newton-Schulz and Lyapunov steps.
        device: Device of the target.
        dtype: Dtype of the target.

    Raises:
        TypeError: If weight is not a number or features are not floating point.
        ValueError: If eps or iters is not positive or the numbers of channels differ.
        RuntimeError: If called before there is a target.

    Example:
        >>> import torch
        >>> from cnnfast.layers import WassersteinStyleLoss
        >>> loss = WassersteinStyleLoss()
        >>> loss.capture(torch.rand(1, 4, 20, 30))
        >>> bool(loss(torch.rand(2, 4, 16, 16)) > 0)
        True
    """

    _targets = ("target_mean", "target_covariance", "target_root")
    target_mean: Tensor | None
    target_covariance: Tensor | None
    target_root: Tensor | None

    def __init__(
        self,
        weight: float = 1.0,
        eps: float = 1e-4,
        iters: int = 12,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(weight, device=device, dtype=dtype)
        self.eps = finite_number("WassersteinStyleLoss", "eps", eps)
        if not self.eps > 0:
            raise ValueError(f"WassersteinStyleLoss: expected a positive eps, got {eps}")
        steps = whole_number(iters)
        if steps is None:
            raise TypeError(f"WassersteinStyleLoss: expected iters an integer, got {iters!r}")
        if steps < 1:
            raise ValueError(f"WassersteinStyleLoss: expected at least 1 of iters, got {iters}")
        self.iters = steps

    @torch.no_grad()
    def capture(self, features: Tensor, pixel_weight: Tensor | None = None) -> None:
        """Make mean and covariance of the features the target.

        Args:
            features: [B, C, H, W] or [B, C, M].
            pixel_weight: Weight of every position, [H, W], [B, 1, H, W] or [B, R, H, W] for R regions.
        """
        self.capture_moments(*self._moments(features, pixel_weight))

    @torch.no_grad()
    def capture_moments(self, mean: Tensor, covariance: Tensor) -> None:
        """Make a mean [B, C] or [B, R, C] and a covariance [B, C, C] or [B, R, C, C] the target."""
        covariance = self._jittered(covariance)
        self.target_mean = self._placed(mean)
        self.target_covariance = self._placed(covariance)
        self.target_root = self._placed(matrix_sqrt(covariance, self.iters))

    def forward(self, features: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
        """The loss of the features, a scalar.

        Args:
            features: [B, C, H, W] or [B, C, M].
            pixel_weight: Weight of every position as in `capture`, with as many regions, whose losses are averaged.
        """
        self._require_target()
        return self.of_moments(*self._moments(features, pixel_weight))

    def of_moments(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """The loss, a scalar, of features with a known mean [B, (R,) C] and covariance [B, (R,) C, C]."""
        self._require_target()
        assert self.target_mean is not None and self.target_covariance is not None and self.target_root is not None
        covariance = self._jittered(covariance)
        mean_term = difference_to("WassersteinStyleLoss", mean, self.target_mean).square().mean()
        geometric = matrix_sqrt(self.target_root @ covariance @ self.target_root, self.iters)
        difference = self.target_covariance + covariance - 2 * geometric
        return self.weight * (mean_term + difference.diagonal(dim1=-2, dim2=-1).mean())

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"{super().extra_repr()}, eps={self.eps:g}, iters={self.iters}"

    def _moments(self, features: Tensor, pixel_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        mean = channel_means("WassersteinStyleLoss", features, pixel_weight)
        return mean, gram_matrix(features, "hw", pixel_weight=pixel_weight, centered=True)

    def _jittered(self, covariance: Tensor) -> Tensor:
        return covariance + self.eps * torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
