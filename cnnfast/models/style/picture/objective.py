"""Base of the losses that texture synthesis and style transfer minimise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnfast.models.style.picture.terms import Term
from cnnfast.models.style.picture.tiling import PixelWeights, TiledPicture, equal_weights, size_of, streamed

# Relative losses are below 1; the factor avoids tiny float32 gradients and a tiny first step of L-BFGS.
RELATIVE_FACTOR = 1e6


class PictureObjective:
    """Loss and gradient of a picture with one (grey) or three channels: a sum of terms over features and over pixels.

    Args:
        extractor: [1,3,H,W] -> dict of features.
        terms: name -> term over the features of a layer.
        padding: padding of the extractor for the picture, where it differs from that for samples; with "circular" the
            picture wraps around.
    """

    def __init__(self, extractor: nn.Module, terms: dict[str, Term], *, padding: str | None = None) -> None:
        self._extractor = extractor
        self._terms = terms
        self._pixel_weights: PixelWeights = equal_weights
        # Terms of the picture itself.
        self._pixel_terms: dict[str, Callable[[Tensor], Tensor]] = {}
        self._sample_padding: str | None = getattr(extractor, "padding", None)
        self._padding = padding or self._sample_padding
        # A convolution computes in the layout of its input, which should be that of its weights.
        kernels = [p for p in extractor.parameters() if p.dim() == 4]
        wanted = bool(kernels) and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
        self._format = torch.channels_last if wanted else torch.contiguous_format
        self._tile: int | None = None
        self._halo, self._stride = 0, 1
        self._values: dict[str, Tensor] = {}
        self._loss_of_zeros = 1.0

    @property
    def periodic(self) -> bool:
        """Whether the picture wraps around at its borders, by the padding of the extractor."""
        return self._padding == "circular"

    def restore(self) -> None:
        """Give the extractor its original padding."""
        self._pad(self._sample_padding)

    def _pad(self, mode: str | None) -> None:
        if mode is not None and mode != self._extractor.padding:
            self._extractor.set_padding(mode)  # type: ignore[operator]

    def use_tiles(self, tile: int | None, *, halo: int = 0, stride: int = 1) -> None:
        """Evaluate in tiles of that many px, or (None) the whole picture at once."""
        self._tile, self._halo, self._stride = tile, halo, stride

    def _tiled(self, *, periodic: bool = False) -> TiledPicture:
        return TiledPicture(self._extractor, tile=self._tile, halo=self._halo, stride=self._stride, periodic=periodic)

    def _sample(self, picture: Tensor) -> Tensor:
        """A sample [3,h,w] as input of the extractor."""
        return picture[None].contiguous(memory_format=self._format)

    def _captured(self) -> None:
        """Must be called when every term has its target."""
        self._loss_of_zeros = sum(term.of_zeros() for term in self._terms.values()) or 1.0

    def __call__(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and gradient of a picture [1 or 3, H, W]; the gradient of a grey one is summed over RGB."""
        image = picture.detach().expand(3, -1, -1)[None].contiguous(memory_format=self._format)
        loss, gradient = self._of_features(image)
        if self._pixel_terms:
            more, slope = self._of_pixels(image)
            loss, gradient = loss + more, gradient + slope
        summed = gradient[0] if picture.shape[0] == 3 else gradient[0].sum(0, keepdim=True)
        return loss.detach(), summed.contiguous()

    def _of_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        if self._tile is not None:
            tiled = self._tiled(periodic=self.periodic)
            loss, gradient, self._values = tiled.evaluate(image, self._terms, self._pixel_weights)
            return loss, gradient
        leaf = image.detach().requires_grad_(True)
        found = {}
        for layer, maps in streamed(self._extractor, leaf):
            for name, term in self._terms.items():
                if term.layer == layer:
                    found[name] = term.whole(maps, self._pixel_weights(layer, size_of(maps)))
        values = {name: found[name] for name in self._terms}
        self._values = {name: value.detach() for name, value in values.items()}
        loss = torch.stack(list(values.values())).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss, gradient

    def _of_pixels(self, image: Tensor) -> tuple[Tensor, Tensor]:
        leaf = image.detach().requires_grad_(True)
        values = {name: term(leaf) for name, term in self._pixel_terms.items()}
        self._values |= {name: value.detach() for name, value in values.items()}
        loss = torch.stack(list(values.values())).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss, gradient

    @property
    def values(self) -> dict[str, Tensor]:
        """Name -> value of every term in the last evaluation."""
        return dict(self._values)

    def relative(self, loss: float) -> float:
        """A loss divided by that of a picture whose features are all zero; 0 is a perfect match."""
        return loss / self._loss_of_zeros

    def describe_failure(self) -> str:
        """The terms that were not finite in the last evaluation."""
        labels = {name: term.label for name, term in self._terms.items()}
        bad = [labels.get(name, name) for name, value in self._values.items() if not bool(torch.isfinite(value))]
        return ", ".join(bad) or "the gradient"
