"""Sums and unions of discs: the decoder of distance bins, the inverse of a truncated distance transform.

Every pixel of a bin map paints a disc. A sum over discs takes 2 rho + 1 additions a pixel and bin of radius rho, and 2
rho more for all bins together, where a convolution with disc kernels takes (2 rho_max + 1)^2 a pixel and bin. Results
do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnfast.arguments import discs as arguments
from cnnfast.arguments.discs import bin_radii
from cnnfast.ops import _discs_registrations as registered
from cnnfast.ops._routing import takes_twin
from cnnfast.reference import discs as twin

__all__ = ["bin_radii", "disc_sum", "disc_union", "inverse_distance_transform"]


def disc_sum(B: Tensor, radii: Sequence[int], weight: Tensor | None = None, *, pad: int | None = None) -> Tensor:
    r"""Weighted sum, at every pixel, of the values of all pixels whose disc covers it.

    With P = pad and q from (-P,-P) to (H-1+P,W-1+P)::

        Z(q) = sum_n w_n sum_{p: |p - q| <= rho_n} B_n(p)

    Args:
        B: values [N,K,H,W], zero outside this grid; float64, float32, bfloat16 or float16. N, H and W may be 0.
        radii: rho, the radius >= 0 of each of the K bins' closed discs, in pixels; repeated radii are allowed.
        weight: w [K], floating; ones when None.
        pad: P, rows and columns added on every side; None takes the largest radius, which holds every disc whole.

    Returns:
        [N,1,H+2P,W+2P] in the dtype of B; sums are formed in float64 for float64, else in float32, and rounded once.

    Raises:
        TypeError: a dtype or kind of argument is not supported.
        ValueError: a shape does not fit, or a radius or pad is out of range.

    Note:
        Gradients of any order, for B and weight. The bits are the same for every number of threads. No prefix sums are
        used: the error does not grow with the width. Under ``torch.func`` derivatives and forward-mode AD the plain
        twin answers.

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.2: there a sum of
    deconvolutions with fixed disc kernels.

    Example:
        >>> import torch
        >>> from cnnfast.ops import disc_sum
        >>> disc_sum(torch.ones(1, 1, 1, 2), [1])
        tensor([[[[0., 1., 1., 0.],
                  [1., 2., 2., 1.],
                  [0., 1., 1., 0.]]]])
    """
    if takes_twin("disc_sum", B):
        return twin.disc_sum(B, radii, weight, pad=pad)
    radii = arguments.disc_radii("disc_sum", radii)
    arguments.check_bins("disc_sum", B, radii)
    weight = arguments.disc_weight("disc_sum", weight, B)
    return registered.disc_sum(B, radii, weight, arguments.disc_pad("disc_sum", pad, radii), False).to(B.dtype)


def disc_union(labels: Tensor, radii: Sequence[int], *, pad: int | None = None) -> Tensor:
    r"""Union of discs: every pixel of label n > 0 paints a closed disc of radius rho_n.

    With P = pad and q from (-P,-P) to (H-1+P,W-1+P)::

        M(q) = any of |p - q| <= rho_{l(p)} over the pixels p with l(p) > 0

    With the radii of a distance transform's bins this is its exact inverse.

    Args:
        labels: l [N,H,W] uint8, 0 for no disc, n for a disc of radius radii[n - 1]. Any size may be 0.
        radii: rho, the radius >= 0 of each label's discs, in pixels.
        pad: P, rows and columns added on every side; None takes the largest radius, which holds every disc whole.

    Returns:
        [N,H+2P,W+2P] bool, without gradient.

    Raises:
        TypeError: labels is not uint8, or a kind of argument is not supported.
        ValueError: a shape does not fit, a label has no radius, or a radius or pad is out of range.

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.1.

    Example:
        >>> import torch
        >>> from cnnfast.ops import disc_union
        >>> disc_union(torch.tensor([[[0, 2, 0]]], dtype=torch.uint8), [0, 1]).int()
        tensor([[[0, 0, 1, 0, 0],
                 [0, 1, 1, 1, 0],
                 [0, 0, 1, 0, 0]]], dtype=torch.int32)
    """
    if takes_twin("disc_union", labels):
        return twin.disc_union(labels, radii, pad=pad)
    radii = arguments.disc_radii("disc_union", radii)
    arguments.check_labels("disc_union", labels, radii)
    return registered.disc_union(labels, radii, arguments.disc_pad("disc_union", pad, radii))


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
    r"""Mask from probabilities of distance bins: a soft union of discs, differentiable in the probabilities.

    With P = pad and q from (-P,-P) to (H-1+P,W-1+P), over the bins n and the pixels p with |p - q| <= rho_n::

        M(q) = sigmoid(bias + sum w_n B_n(p))     "sum"
        M(q) = 1 - prod (1 - B_n(p))              "noisy_or"
        M(q) = max B_n(p)                         "max", 0 where no disc reaches

    Args:
        B: [N,K,H,W], probability of each bin at each pixel, zero outside this grid; float64, float32, bfloat16 or
            float16. N, H and W may be 0.
        radii: rho, the radius >= 0 of each of the K bins' closed discs, in pixels; repeated radii are allowed.
        weight: w [K], floating; ones when None. Only for "sum".
        bias: a number or a tensor [] or [1]; 0 when None. Only for "sum", where M is at least 0.5 without a negative
            one.
        pad: P, rows and columns added on every side; None takes the largest radius, which holds every disc whole.
        union: "sum", "noisy_or" or "max", as above.
        return_logits: return log(M / (1 - M)) for a loss on logits, finite everywhere: what float16 cannot hold becomes
            its largest finite value.

    Returns:
        [N,1,H+2P,W+2P] in the dtype of B, computed in float64 for float64, else in float32, and rounded once. Logits
        under autocast are float32 at least.

    Raises:
        TypeError: a dtype or kind of argument is not supported.
        ValueError: a shape does not fit, a radius or pad is out of range, the union is unknown or has no weight.

    Note:
        Gradients of any order, for B, weight and bias; with "max" that of a pixel goes to one of the largest values.
        "noisy_or" clamps B to at most 1 - eps with eps = 1e-6 (half precision: 1e-3, float64: 1e-12). For logits, M is
        clamped to at least eps ("noisy_or") or to [eps, 1 - eps] ("max"). The bits are the same for every number of
        threads. Under ``torch.func`` derivatives and forward-mode AD the plain twin answers.

    Source: Hayder, He, Salzmann, Boundary-aware Instance Segmentation, CVPR 2017, section 3.2.

    Example:
        >>> import torch
        >>> from cnnfast.ops import inverse_distance_transform
        >>> bins = torch.zeros(1, 2, 1, 3)
        >>> bins[0, 1, 0, 1] = 1
        >>> inverse_distance_transform(bins, [0, 1], union="max")
        tensor([[[[0., 0., 1., 0., 0.],
                  [0., 1., 1., 1., 0.],
                  [0., 0., 1., 0., 0.]]]])
    """
    if takes_twin("inverse_distance_transform", B):
        return twin.inverse_distance_transform(
            B, radii, weight, bias, pad=pad, union=union, return_logits=return_logits
        )
    B, radii, weight, offset, pad, least = arguments.union_arguments(
        "inverse_distance_transform", B, radii, weight, bias, pad, union, return_logits
    )
    if union == "max":
        largest, _ = registered.disc_max(B, radii, pad)
        result = arguments.probability_logit(largest, least) if return_logits else largest
    elif union == "noisy_or":
        result = _noisy_or(registered.disc_sum(B, radii, None, pad, True), least, return_logits)
    else:
        result = _sigmoid(registered.disc_sum(B, radii, weight, pad, False), offset, return_logits)
    return arguments.rounded(result, B.dtype, return_logits)


def _may_overwrite() -> bool:
    """Whether the last step may overwrite the sums, which takes a third of the memory and half of the time."""
    return not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active()


def _sigmoid(sums: Tensor, offset: float | Tensor, return_logits: bool) -> Tensor:
    """The last step of the union "sum"."""
    if not _may_overwrite():
        return sums + offset if return_logits else torch.sigmoid(sums + offset)
    logits = sums.add_(offset)
    return logits if return_logits else logits.sigmoid_()


def _noisy_or(evidence: Tensor, least: float, return_logits: bool) -> Tensor:
    """The last step of the union "noisy_or"."""
    if return_logits or not _may_overwrite():
        return arguments.noisy_or(evidence, least, return_logits)
    negative = evidence.neg_().expm1_()
    return -negative if negative.requires_grad else negative.neg_()
