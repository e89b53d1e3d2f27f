"""The function that texture synthesis minimises: a picture against the Gram matrices of a sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnfast.layers import StyleLoss, TextureLoss
from cnnfast.models.style.tiling import TiledTextureLoss

# Keeps the first L-BFGS step and float32 gradients in a healthy range; relative losses themselves are below 1.
RELATIVE_FACTOR = 1e6


class TextureObjective:
    r"""Loss and gradient of a picture with one (grey) or three channels.

    With weights "relative" the loss is 1e6 times the mean over layers, weighted by w_l, of
    :math:`\sum (G_l - T_l)^2 / \sum T_l^2`, with "gatys" the sum of w_l E_l of Gatys et al. 2015.

    Args:
        extractor: [1,3,H,W] -> dict of features.
        layers: layer -> w_l.
        weights: "relative" or "gatys".
        padding: the extractor's padding for the picture, if it is not that for the sample; "circular" makes the
            picture wrap around.

    Source: Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015, equations 3, 4.
    """

    def __init__(
        self,
        extractor: nn.Module,
        layers: dict[str, float],
        *,
        weights: str = "relative",
        padding: str | None = None,
    ) -> None:
        factor = RELATIVE_FACTOR if weights == "relative" else 1.0
        self._loss = TextureLoss({name: factor * w for name, w in layers.items()}, extractor, weights=weights)
        self._extractor = extractor
        self._sample_padding: str | None = getattr(extractor, "padding", None)
        self._padding = padding or self._sample_padding
        # Convolutions take over the layout of the picture; it should be that of their weights.
        kernels = [p for p in extractor.parameters() if p.dim() == 4]
        wanted = bool(kernels) and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
        self._format = torch.channels_last if wanted else torch.contiguous_format
        self._tiled: TiledTextureLoss | None = None
        self._terms: dict[str, Tensor] = {}
        self._zero_loss = 1.0

    def restore(self) -> None:
        """Give the extractor back the padding that it came with."""
        self._pad(self._sample_padding)

    def _pad(self, mode: str | None) -> None:
        if mode is not None and mode != self._extractor.padding:
            self._extractor.set_padding(mode)  # type: ignore[operator]

    def capture(self, sample: Tensor, pixel_weight: Tensor | None = None) -> None:
        """Take the targets from a sample [3,h,w], its pixels weighted by [h,w] if given."""
        self._pad(self._sample_padding)
        self._loss.set_target(sample[None].contiguous(memory_format=self._format), pixel_weight)
        self._pad(self._padding)
        self._zero_loss = sum(map(self._zero_term, self._losses.values()))

    @staticmethod
    def _zero_term(loss: StyleLoss) -> float:
        """A layer's loss of a picture whose features are all zero."""
        assert loss.target is not None
        return float(loss(loss.target.new_zeros(1, loss.target.shape[-1], 1)))

    @property
    def _losses(self) -> dict[str, StyleLoss]:
        return dict(self._loss.losses.items())  # type: ignore[arg-type]

    def use_tiles(self, tile: int | None, *, halo: int = 0, stride: int = 1) -> None:
        """Evaluate in tiles of that many px, or (None) the whole picture at once."""
        if tile is None:
            self._tiled = None
            return
        self._tiled = TiledTextureLoss(
            self._extractor,
            self._losses,
            tile=tile,
            halo=halo,
            stride=stride,
            periodic=self._padding == "circular",
        )

    def __call__(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and gradient of a picture [1 or 3, H, W]; the gradient of a grey one is summed over RGB."""
        image = picture.detach().expand(3, -1, -1)[None].contiguous(memory_format=self._format)
        if self._tiled is not None:
            loss, gradient, self._terms = self._tiled(image)
        else:
            image.requires_grad_(True)
            loss = self._loss(image)
            self._terms = self._loss.last_terms
            (gradient,) = torch.autograd.grad(loss, image)
        summed = gradient[0] if picture.shape[0] == 3 else gradient[0].sum(0, keepdim=True)
        return loss.detach(), summed.contiguous()

    def relative(self, loss: float) -> float:
        """A loss divided by the loss of a picture without any features, so that 1 is bad and 0 is perfect."""
        return loss / self._zero_loss

    def describe_failure(self) -> str:
        """The layers whose term was not finite in the last evaluation."""
        bad = [name for name, term in self._terms.items() if not bool(torch.isfinite(term))]
        return f"layer {', '.join(bad)}" if bad else "the gradient"
