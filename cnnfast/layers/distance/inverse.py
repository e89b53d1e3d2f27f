"""The decoder of bins of distances with learned weights.

Paper: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnfast.arguments.checks import check_flag, check_floating, check_word
from cnnfast.arguments.discs import UNIONS, disc_pad
from cnnfast.layers.distance._conventions import checked_bins
from cnnfast.ops import inverse_distance_transform

_FIRST_WEIGHT, _FIRST_BIAS = 4.0, -3.0


class InverseDistanceTransform(nn.Module):
    r"""Mask from probabilities of distance bins: fixed discs, learned weights.

    With :math:`s(q)` the weighted sum of the probabilities of all pixels and bins whose disc covers q,

    ========  =====================================================
    union     mask at q
    ========  =====================================================
    sum       :math:`\sigma(\mathrm{bias} + s(q))`
    noisy_or  one minus the product of one minus the probabilities
    max       the largest of the probabilities
    ========  =====================================================

    Weights begin at 4 and the bias at -3: one certain pixel is enough, :math:`\sigma(1) = 0.73`, while small
    probabilities must add up to 0.75 for a mask above one half. So one-hot bins decode, at the threshold 0.5, to the
    exact union of discs.

    Paper:
        Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.2.

    Shape:
        - bins: [N, K, H, W], float64, float32, bfloat16 or float16, without the channel of the background.
        - output: [N, 1, H + 2 pad, W + 2 pad]; float64 for float64 bins, else float32.

    Args:
        K: Number of bins, at most R.
        R: Distance at which the transform was truncated.
        union: See the table.
        pad: Rows and columns added on every side; None for the largest radius, which holds every disc whole.
        learn_weight: Weight and bias are parameters, else constants. Only the sum has them.
        device: Device of weight, bias and radii.
        dtype: Dtype of weight and bias.

    Raises:
        TypeError: If an argument has the wrong kind or the bins no floating dtype.
        ValueError: If R, K or pad is out of range, the union unknown, or a shape does not fit.

    Example:
        >>> import torch
        >>> from cnnfast.layers import InverseDistanceTransform
        >>> decoder = InverseDistanceTransform(K=5, R=9)
        >>> decoder(torch.rand(2, 5, 28, 28)).shape
        torch.Size([2, 1, 42, 42])
    """

    radii: Tensor
    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        K: int = 5,
        R: int = 9,
        union: str = "sum",
        pad: int | None = None,
        learn_weight: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.R, self.K, self._radii = checked_bins("InverseDistanceTransform", R, K, "exact")
        check_word("InverseDistanceTransform", "union", union, UNIONS)
        check_flag("InverseDistanceTransform", "learn_weight", learn_weight)
        self.union = union
        self.pad = disc_pad("InverseDistanceTransform", pad, self._radii)
        self.learn_weight = learn_weight
        # Not persistent: R and K determine the radii.
        self.register_buffer("radii", torch.tensor(self._radii, device=device), persistent=False)
        for name, size in (("weight", (self.K,)), ("bias", ())):
            value = torch.empty(size, device=device, dtype=dtype) if union == "sum" else None
            if learn_weight:
                self.register_parameter(name, None if value is None else nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight and bias to their initial values."""
        if self.weight is not None and self.bias is not None:
            nn.init.constant_(self.weight, _FIRST_WEIGHT)
            nn.init.constant_(self.bias, _FIRST_BIAS)

    def forward(self, bins: Tensor, return_logits: bool = False) -> Tensor:
        """The mask of the bins, or its logits for a loss.

        Args:
            bins: [N, K, H, W].
            return_logits: See `cnnfast.ops.inverse_distance_transform`.
        """
        check_floating("InverseDistanceTransform", bins, "bins")
        if bins.dtype != torch.float64:
            bins = bins.float()  # a sum over hundreds of pixels rounded to half precision would lose its digits
        return inverse_distance_transform(
            bins,
            self._radii,
            self.weight,
            self.bias,
            pad=self.pad,
            union=self.union,
            return_logits=return_logits,
        )

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"K={self.K}, R={self.R}, union={self.union!r}, pad={self.pad}, learn_weight={self.learn_weight}"
