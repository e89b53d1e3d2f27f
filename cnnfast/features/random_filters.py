"""One layer of random filters of many sizes, a feature network without training.

Ustyuzhaninov, Brendel, Gatys and Bethge, What does it take to generate natural textures?, ICLR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnfast.features.preprocessing import InputConvention, check_image, check_padding
from cnnfast.weights import Preprocessing

FILTER_SIZES = (3, 5, 7, 11, 15, 23, 37, 55)
"""Sides of the filters in px."""

_CONVENTION = Preprocessing("random", "BGR", 255.0, (104.0, 117.0, 123.0))


class RandomFilterFeatures(nn.Module):
    """ReLU of one convolution with random filters of several sizes.

    ``y_n(p) = max(0, sum_{c,q} w_n(c,q) x_c(p + q))`` with x in BGR, 0..255, minus (104,117,123), and
    ``w ~ U(-a,a)``, ``a = sqrt(3) * sqrt(2 / ((N + 3) f^2))`` for N filters of f x f px (Glorot-uniform). All sizes are
    convolved at once by a real FFT on the torus, whose cost does not depend on the filter size; a filter larger than
    the picture wraps around it. The transformed filters of the last picture size are kept:
    ``8 * 3 * filters * H * (W // 2 + 1)`` bytes in float32.

    Shape:
        - image: [B,3,H,W], RGB in [0,1].
        - result: {"random": [B,N * sizes,H,W]}.

    Args:
        filters_per_scale: N, filters of each size.
        sizes: sides of the filters in px, odd.
        seed: of the filters; the same on every device.
        padding: "circular", or "zeros", "reflect" or "replicate", which extend the picture by the largest filter's
            radius first.
        device: of the filters.
        dtype: of the filters and features, torch.float32 or torch.float64.

    Raises:
        ValueError: an option out of range, or a picture that is too small.
        TypeError: an option or picture of a wrong kind or dtype.

    Example:
        >>> network = RandomFilterFeatures(filters_per_scale=4, sizes=(3, 5))
        >>> network(torch.rand(1, 3, 16, 20))["random"].shape
        torch.Size([1, 8, 16, 20])
    """

    def __init__(
        self,
        filters_per_scale: int = 128,
        sizes: Sequence[int] = FILTER_SIZES,
        *,
        seed: int = 0,
        padding: str = "circular",
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_options(filters_per_scale, sizes, dtype)
        self.filters_per_scale = filters_per_scale
        self.sizes = tuple(sizes)
        self.taps = ("random",)
        self.stride = 1
        self.halo = max(self.sizes) // 2
        count = filters_per_scale * len(self.sizes)
        self.description = (
            f"{count} random filters of {min(self.sizes)} to {max(self.sizes)} px (no weights), seed {seed}"
        )
        self.preprocessing = InputConvention(_CONVENTION, device=device, dtype=dtype)
        generator = torch.Generator().manual_seed(seed)
        for size in self.sizes:
            bound = math.sqrt(3) * math.sqrt(2 / ((filters_per_scale + 3) * size**2))
            uniform = torch.rand(filters_per_scale, 3, size, size, generator=generator)
            self.register_buffer(f"filters_{size}", ((2 * uniform - 1) * bound).to(device, dtype))
        self._spectrum: tuple[tuple[int, int], Tensor] | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())
        self.set_padding(padding)
        self.eval()

    @property
    def minimum_size(self) -> int:
        """Smallest side of a picture in px."""
        return self.halo + 1 if self.padding == "reflect" else 1

    def set_padding(self, mode: str) -> None:
        """Change how the picture is padded.

        Args:
            mode: "zeros", "reflect", "replicate" or "circular".

        Raises:
            ValueError: unknown mode.
        """
        self.padding = check_padding("RandomFilterFeatures", mode)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of image [B,3,H,W] by tap."""
        check_image("RandomFilterFeatures", image, self.minimum_size, f"{max(self.sizes)} px filters")
        x = self.preprocessing(image.to(self.preprocessing.mean.dtype))
        if self.padding == "circular":
            features = self._correlate(x).relu_()
        else:
            mode = "constant" if self.padding == "zeros" else self.padding
            padded = self._correlate(F.pad(x, [self.halo] * 4, mode)).relu_()
            features = padded[..., self.halo : self.halo + x.shape[2], self.halo : self.halo + x.shape[3]]
        return {"random": features}

    def _correlate(self, x: Tensor) -> Tensor:
        """Circular cross-correlation of x [B,3,H,W] with all filters: [B,N,H,W]."""
        height, width = x.shape[2:]
        spectrum = torch.fft.rfft2(x)
        filters = self._filter_spectrum(height, width)
        product = sum(spectrum[:, c, None] * filters[c] for c in range(3))
        return torch.fft.irfft2(product, s=(height, width))

    def _filter_spectrum(self, height: int, width: int) -> Tensor:
        """Conjugate transform of all filters on a torus of height x width px: [3,N,height,width // 2 + 1]."""
        kept = self._spectrum
        if kept is not None and kept[0] == (height, width):
            return kept[1]
        # Cached for later calls that may need a gradient, so it must not be an inference tensor.
        with torch.inference_mode(False), torch.no_grad():
            parts = [self._transform(getattr(self, f"filters_{size}"), height, width) for size in self.sizes]
            spectrum = torch.cat(parts, dim=1)
        self._spectrum = (height, width), spectrum
        return spectrum

    @staticmethod
    def _transform(filters: Tensor, height: int, width: int) -> Tensor:
        count, channels, size, _ = filters.shape
        offsets = torch.arange(size, device=filters.device) - size // 2
        rows = filters.new_zeros(count, channels, height, size).index_add_(2, offsets % height, filters)
        torus = filters.new_zeros(count, channels, height, width).index_add_(3, offsets % width, rows)
        return torch.fft.rfft2(torus.transpose(0, 1)).conj_physical()

    def _forget(self) -> None:
        self._spectrum = None

    def _apply(self, *args: object, **kwargs: object) -> RandomFilterFeatures:
        self._forget()
        return super()._apply(*args, **kwargs)

    def extra_repr(self) -> str:
        """Settings."""
        return f"filters_per_scale={self.filters_per_scale}, sizes={self.sizes}, padding={self.padding}"


def _check_options(filters_per_scale: int, sizes: Sequence[int], dtype: torch.dtype) -> None:
    if not isinstance(filters_per_scale, int) or filters_per_scale < 1:
        raise ValueError(
            f"RandomFilterFeatures: expected filters_per_scale a positive integer, got {filters_per_scale!r}"
        )
    odd = all(isinstance(size, int) and size > 0 and size % 2 == 1 for size in sizes)
    if not sizes or not odd or len(set(sizes)) < len(sizes):
        raise ValueError(f"RandomFilterFeatures: expected different odd sizes, got {sizes!r}")
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"RandomFilterFeatures: expected dtype torch.float32 or torch.float64, got {dtype}")
