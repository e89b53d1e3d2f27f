"""Texture as Gram matrices of several layers of a network.

Paper: Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnfast.arguments.checks import check_word, finite_number
from cnnfast.layers.style.gram import StyleLoss

_WEIGHTS = ("gatys", "relative")


class TextureLoss(nn.Module):
    r"""Weighted sum over layers of the distance between Gram matrices of an image and of a texture sample.

    With ``weights="gatys"`` the loss is :math:`\sum_l w_l E_l`, each :math:`E_l` a `StyleLoss` with the given scale.
    With ``weights="relative"`` it is :math:`\frac1L \sum_l w_l \sum D_l^2 / \sum T_l^2` for L layers: every layer
    counts by its relative error, whatever the size of its activations, and `scale` is not used.

    Paper:
        Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015, equations 3 and 4.

    Shape:
        - image: [B, 3, H, W], any size that the extractor takes, not necessarily that of the sample.
        - output: scalar, float64 for float64 features, else float32.

    Args:
        layers: Name of a layer -> its weight.
        extractor: Module that maps an image to a dict of features with at least these names.
        normalize: Divisor of the Gram matrices, see `StyleLoss`.
        scale: Scale of the loss of one layer, see `StyleLoss`.
        weights: "gatys" or "relative".
        centered: Compare covariances instead of second moments.
        device: Device of the targets.
        dtype: Dtype of the targets.

    Raises:
        TypeError: If layers is no mapping to numbers, or extractor no module.
        ValueError: If layers is empty or names a layer that the extractor does not have, a weight is not finite, or an
            option is unknown.
        RuntimeError: If called before there is a target.

    Attributes:
        last_terms: Layer -> its weighted term in the last call, a detached scalar on the device of the loss.

    Example:
        >>> import torch
        >>> from cnnfast.layers import TextureLoss
        >>> class Edges(torch.nn.Module):
        ...     def forward(self, image):
        ...         return {"image": image, "edges": (image[..., 1:] - image[..., :-1]).abs()}
        >>> loss = TextureLoss({"image": 1.0, "edges": 2.0}, Edges(), weights="relative")
        >>> loss.set_target(torch.rand(1, 3, 32, 32))
        >>> image = torch.rand(1, 3, 48, 40, requires_grad=True)
        >>> loss(image).backward()
        >>> list(loss.last_terms)
        ['image', 'edges']
    """

    def __init__(
        self,
        layers: Mapping[str, float],
        extractor: nn.Module,
        *,
        normalize: str | float = "hw",
        scale: str = "gatys",
        weights: str = "gatys",
        centered: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(layers, Mapping):
            raise TypeError(f"TextureLoss: expected layers a dict of names and weights, got {type(layers).__name__}")
        if not layers:
            raise ValueError("TextureLoss: expected at least one layer, got none")
        if not isinstance(extractor, nn.Module):
            raise TypeError(f"TextureLoss: expected extractor a module, got {type(extractor).__name__}")
        check_word("TextureLoss", "weights", weights, _WEIGHTS)
        factors = {name: finite_number("TextureLoss", f"weight of {name}", factor) for name, factor in layers.items()}
        relative = weights == "relative"
        self.extractor = extractor
        self.losses = nn.ModuleDict(
            {
                name: StyleLoss(
                    weight=factor / len(factors) if relative else factor,
                    normalize=normalize,
                    scale="relative" if relative else scale,
                    centered=centered,
                    device=device,
                    dtype=dtype,
                )
                for name, factor in factors.items()
            }
        )
        self.last_terms: dict[str, Tensor] = {}

    @torch.no_grad()
    def set_target(self, image: Tensor, pixel_weight: Tensor | None = None) -> None:
        """Replace the targets by the Gram matrices of a texture sample.

        Args:
            image: [B, 3, H, W].
            pixel_weight: Non-negative weight of every pixel, [H, W], [B, 1, H, W], or [B, R, H, W] for R regions;
                it is averaged down to the size of every layer.
        """
        features = self._features(image)
        for name, loss in self._losses():
            loss.reset_parameters()
            loss.capture(features[name], pixel_weight=_resized(pixel_weight, features[name]))

    def forward(self, image: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
        """The loss of the image, a scalar.

        Args:
            image: [B, 3, H, W].
            pixel_weight: Weight of every pixel of this image as in `set_target`, with as many regions.
        """
        features = self._features(image)
        terms = {
            name: loss(features[name], pixel_weight=_resized(pixel_weight, features[name]))
            for name, loss in self._losses()
        }
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def _losses(self) -> list[tuple[str, StyleLoss]]:
        return list(self.losses.items())  # type: ignore[arg-type]

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        features = self.extractor(image)
        for name in self.losses:
            if name not in features:
                raise ValueError(f"TextureLoss: expected layers among {', '.join(features)}, got {name!r}")
        return features


def _resized(pixel_weight: Tensor | None, features: Tensor) -> Tensor | None:
    """The pixel weight averaged to the size of the features, [B, R, h, w]."""
    if pixel_weight is None:
        return None
    if pixel_weight.dim() not in (2, 4):
        raise ValueError(
            f"TextureLoss: expected pixel_weight of shape [H,W] or [B,R,H,W], got {list(pixel_weight.shape)}"
        )
    stacked = pixel_weight[None, None] if pixel_weight.dim() == 2 else pixel_weight
    return functional.adaptive_avg_pool2d(stacked, (features.shape[-2], features.shape[-1]))
