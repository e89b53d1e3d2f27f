"""Settings of texture synthesis, checked once, and what is built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnfast.models.style.adam import Adam
from cnnfast.models.style.lbfgs import LBFGS
from cnnfast.models.style.network import build_extractor
from cnnfast.models.style.optimizer import Bounds, Evaluate, PictureOptimizer

OPTIMIZERS = ("lbfgs", "adam")
BOUNDS = ("sample", "unit", None)
WEIGHTS = ("relative", "gatys")
COLOUR_FLOOR = 1e-3


@dataclass(frozen=True)
class TextureSettings:
    """Choices of a run that are plain values; see :func:`~cnnfast.models.style.texture.synthesize_texture`."""

    optimizer: str
    noise_std: float
    bounds: str | None
    tileable: bool
    seed: int
    weights: str
    tile: int | str | None

    def __post_init__(self) -> None:
        """Raises ValueError for a value outside its range."""
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("bounds", self.bounds, BOUNDS)
        _one_of("weights", self.weights, WEIGHTS)
        if not (math.isfinite(self.noise_std) and self.noise_std >= 0):
            raise ValueError(f"synthesize_texture: expected a finite noise_std of at least 0, got {self.noise_std}")
        whole = isinstance(self.tile, int) and not isinstance(self.tile, bool) and self.tile >= 1
        if not (whole or self.tile is None or self.tile == "auto"):
            raise ValueError(f"synthesize_texture: expected tile to be 'auto', None or px, got {self.tile!r}")


def _one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        listed = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"synthesize_texture: expected {name} to be one of {listed}, got {value!r}")


def choose_extractor(
    extractor: str | nn.Module,
    layers: Sequence[str] | Mapping[str, float] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[nn.Module, dict[str, float]]:
    """The feature network on its device, and its layers with their weights (1 where none is given).

    Raises:
        ValueError: a layer that the network does not have, or a dtype for a network that chooses its own.
    """
    if isinstance(layers, str):
        raise TypeError(f"synthesize_texture: expected layers as a sequence of names or a mapping, got {layers!r}")
    if isinstance(extractor, nn.Module):
        if dtype is not torch.float32:
            raise ValueError(f"synthesize_texture: expected dtype float32 with a module as extractor, got {dtype}")
        network = extractor
    else:
        taps = None if layers is None else tuple(layers)
        network = build_extractor(extractor, taps=taps, compute_dtype=dtype, device=device)
        # Convolutions are a tenth faster on this layout, on CPUs and on tensor cores.
        network.to(memory_format=torch.channels_last)
    taps = tuple(network.taps)  # type: ignore[arg-type]
    chosen = dict.fromkeys(taps, 1.0)
    if layers is not None:
        chosen = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
        missing = [name for name in chosen if name not in taps]
        if missing:
            raise ValueError(f"synthesize_texture: expected layers among {', '.join(taps)}, got {', '.join(missing)}")
    return network, chosen


def build_optimizer(
    settings: TextureSettings, start: Tensor, evaluate: Evaluate, sample: Tensor, describe_failure: Callable[[], str]
) -> PictureOptimizer:
    """The optimiser of one level, which starts from a picture [C,h,w] and keeps it inside the sample's range."""
    bounds: Bounds | None = None
    if settings.bounds == "unit":
        bounds = (0.0, 1.0)
    elif settings.bounds == "sample":
        bounds = (sample.amin((1, 2), keepdim=True), sample.amax((1, 2), keepdim=True))
    if settings.optimizer == "adam":
        return Adam(start, evaluate, bounds=bounds, describe_failure=describe_failure)
    metric = colour_metric(sample) if sample.shape[0] == 3 else None
    return LBFGS(start, evaluate, bounds=bounds, metric=metric, describe_failure=describe_failure)


def colour_metric(sample: Tensor) -> Callable[[Tensor], Tensor]:
    """The covariance of the sample's colours, largest eigenvalue 1, as a map of pictures [3,H,W].

    As the metric of L-BFGS it lets a picture move fast along the colours that the sample varies in and slowly along
    others, which otherwise keep the noise of early steps. No direction is slower than a thousandth.
    """
    covariance = torch.cov(sample.double().flatten(1).cpu(), correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    largest = values[-1]
    values = (values / largest).clamp_min(COLOUR_FLOOR) if largest > 0 else torch.ones_like(values)
    matrix = ((vectors * values) @ vectors.T).to(sample)
    return lambda picture: (matrix @ picture.reshape(3, -1)).view_as(picture)
