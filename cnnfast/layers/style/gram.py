"""Style as the Gram matrix of one layer.

Paper: Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015.
Paper: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments import gram as arguments
from cnnfast.arguments.checks import check_flag, check_floating, check_word, finite_number
from cnnfast.layers.style._features import l1_scaled
from cnnfast.layers.style._target import TargetLoss
from cnnfast.ops import gram_matrix, gram_mse_loss

_SCALES = ("gatys", "mean", "sum", "relative", "l1grad")


class StyleLoss(TargetLoss):
    r"""Distance between the Gram matrix of the input features and a captured one.

    With :math:`D = G/Z - T`, where :math:`G = F F^T` and `normalize` sets :math:`Z`, the loss of one sample is

    ========  =========================================================
    scale     loss
    ========  =========================================================
    gatys     weight / (4 C^2) * sum D^2   (Gatys 2015 for equal sizes)
    mean      weight * mean D^2
    sum       weight * sum D^2
    relative  weight * sum D^2 / sum T^2
    l1grad    weight * sum D^2 / (sum abs D + 1e-8)
    ========  =========================================================

    and the result is the mean over the batch. Each Gram matrix is divided by its own number of positions, so the
    input may have another size than the image that the target came from.

    Paper:
        Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015. Regions: Gatys et
        al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 4.

    Shape:
        - features: [B, C, H, W] or [B, C, M], float64, float32, bfloat16 or float16.
        - target: [C, C], [1, C, C] or [B, C, C]; with R regions [R, C, C], [1, R, C, C] or [B, R, C, C].
        - output: scalar, float64 for float64 features, else float32.

    Args:
        target: Gram matrix divided by :math:`Z`, or None to `capture` it.
        weight: Factor of the loss.
        normalize: "none" (Z = 1), "hw" (Z = M), "chw" (Z = C M) or a positive number.
        scale: See the table.
        centered: Compare covariances instead of second moments.
        pixel_weight: Weight of every position, used by `capture` and `forward` unless they get their own:
            [H, W], [1, 1, H, W], [B, 1, H, W], [B, M], or [B, R, H, W] for R regions, whose losses are averaged.
        device: Device of the target and the pixel weight.
        dtype: Dtype of the target and the pixel weight.

    Raises:
        TypeError: If weight is not a number, or a tensor is none or has an integer or complex dtype.
        ValueError: If weight is not finite, normalize or scale unknown, if shapes do not fit, or scale is "relative"
            and a captured target is zero.
        RuntimeError: If called before there is a target.

    Example:
        >>> import torch
        >>> from cnnfast.layers import StyleLoss
        >>> loss = StyleLoss(weight=1e3, scale="mean")
        >>> loss.capture(torch.rand(1, 8, 20, 30))
        >>> loss(torch.rand(4, 8, 16, 16)).shape
        torch.Size([])
    """

    target: Tensor | None
    pixel_weight: Tensor | None

    def __init__(
        self,
        target: Tensor | None = None,
        weight: float = 1.0,
        normalize: str | float = "hw",
        scale: str = "gatys",
        centered: bool = False,
        pixel_weight: Tensor | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(weight, device=device, dtype=dtype)
        check_word("StyleLoss", "scale", scale, _SCALES)
        arguments.normalization("StyleLoss", normalize)
        check_flag("StyleLoss", "centered", centered)
        self.normalize = normalize
        self.scale = scale
        self.centered = centered
        if target is not None:
            _check_target(target)
            self._set_target(target)
        if pixel_weight is not None:
            arguments.check_pixel_weight("StyleLoss", pixel_weight)
        # Not persistent: the pixel weight belongs to the picture being made, the target to the style.
        self.register_buffer("pixel_weight", None if pixel_weight is None else self._placed(pixel_weight), False)

    @torch.no_grad()
    def capture(
        self, features: Tensor, blend: float = 1.0, pixel_weight: Tensor | None = None, *, add: bool = False
    ) -> None:
        """Make blend times the Gram matrix of the features the target, or add it to the target.

        Several style images are blended by one call each, all but the first with ``add=True``; give blends that add up
        to 1 to keep the scale.

        Args:
            features: [B, C, H, W] or [B, C, M].
            blend: Factor of this Gram matrix.
            pixel_weight: Weight of every position of these features; None takes the constructor's.
            add: Add to the target that there is, instead of replacing it.
        """
        gram = finite_number("StyleLoss", "blend", blend) * self._gram(features, pixel_weight)
        if add and self.target is not None:
            if gram.shape != self.target.shape:
                raise ValueError(
                    f"StyleLoss: expected a Gram matrix of shape {list(self.target.shape)} as captured before, "
                    f"got {list(gram.shape)}"
                )
            gram = self.target + gram.to(self.target)
        self._set_target(gram)

    def forward(self, features: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
        """The loss of the features, a scalar.

        Args:
            features: [B, C, H, W] or [B, C, M].
            pixel_weight: Weight of every position of these features; None takes the constructor's.
        """
        self._require_target()
        assert self.target is not None
        arguments.flatten_features("StyleLoss", features, "features")
        if self.scale == "l1grad":
            return self.of_gram(self._gram(features, pixel_weight))
        relative = self.scale == "relative"
        return gram_mse_loss(
            features,
            self.target,
            self._relative_weight(features, pixel_weight) if relative else self.weight,
            normalize=self.normalize,
            scale="sum" if relative else self.scale,
            pixel_weight=self._pixel_weight_of(pixel_weight),
            centered=self.centered,
        )

    def of_gram(self, gram: Tensor) -> Tensor:
        """The loss, a scalar, of features whose Gram matrix divided by Z is known; `forward` does the same faster.

        Args:
            gram: [B, C, C], or [B, R, C, C] for R regions.
        """
        self._require_target()
        assert self.target is not None
        target = arguments.loss_target("StyleLoss", self.target, gram[:, 0] if gram.dim() == 4 else gram, _count(gram))
        difference = gram.reshape(gram.shape[0], *target.shape[1:]) - target
        if self.scale == "l1grad":
            losses = l1_scaled(difference.square().sum((1, 2, 3)), difference.abs().sum((1, 2, 3)))
        elif self.scale == "relative":
            losses = difference.square().sum((1, 2, 3)) / target.square().sum((1, 2, 3))
        else:
            factor = arguments.loss_scale("StyleLoss", self.scale, gram.shape[-1])
            losses = factor * difference.square().sum((2, 3)).mean(1)
        return arguments.reduce_losses(self.weight * losses, "mean")

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"{super().extra_repr()}, normalize={self.normalize!r}, scale={self.scale!r}, centered={self.centered}"

    def _set_target(self, target: Tensor) -> None:
        if self.scale == "relative" and target.numel() and not bool(target.any()):
            raise ValueError("StyleLoss: expected a target that is not zero everywhere for scale 'relative', got zeros")
        self.target = self._placed(target)

    def _pixel_weight_of(self, pixel_weight: Tensor | None) -> Tensor | None:
        return self.pixel_weight if pixel_weight is None else pixel_weight

    def _gram(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        pixel_weight = self._pixel_weight_of(pixel_weight)
        return gram_matrix(features, self.normalize, pixel_weight=pixel_weight, centered=self.centered)

    def _target_for(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """The target as [B or 1, R, C, C]."""
        assert self.target is not None
        pixel_weight = self._pixel_weight_of(pixel_weight)
        regions = pixel_weight.shape[1] if pixel_weight is not None and pixel_weight.dim() == features.dim() else 1
        return arguments.loss_target("StyleLoss", self.target, features, regions if regions > 1 else None)

    def _relative_weight(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """Factor w / sum T^2 of each sample; with regions, both sums are means over them."""
        target = self._target_for(features, pixel_weight)
        return (self.weight * target.shape[1] / target.square().sum((1, 2, 3))).expand(features.shape[0])


def _check_target(target: Tensor) -> None:
    check_floating("StyleLoss", target, "target")
    if target.dim() not in (2, 3, 4) or target.shape[-1] != target.shape[-2]:
        raise ValueError(f"StyleLoss: expected target of shape [C,C], [B,C,C] or [B,R,C,C], got {list(target.shape)}")


def _count(gram: Tensor) -> int | None:
    return gram.shape[1] if gram.dim() == 4 else None
