"""Checks of the settings that texture synthesis and style transfer share, and the objects built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cnnfast._extension import fast_dtype
from cnnfast.arguments.checks import number
from cnnfast.features.choice import build_extractor, network_kind
from cnnfast.models.style.picture.adam import Adam
from cnnfast.models.style.picture.lbfgs import LBFGS
from cnnfast.models.style.picture.optimizer import Bounds, Evaluate, PictureOptimizer
from cnnfast.models.style.picture.preconditioner import picture_preconditioner

OPTIMIZERS = ("lbfgs", "adam")


def check_one_of(function: str, name: str, value: object, allowed: Sequence[object]) -> None:
    """Raises ValueError unless the value is allowed."""
    if value not in allowed:
        listed = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{function}: expected {name} to be one of {listed}, got {value!r}")


def check_positive(function: str, name: str, value: object, *, zero: bool = False) -> None:
    """Raises TypeError unless the value is a number, ValueError unless it is finite and above 0, or 0 with `zero`."""
    found = number(value)
    if found is None:
        raise TypeError(f"{function}: expected {name} as a number, got {value!r}")
    if not math.isfinite(found) or found < 0 or (found == 0 and not zero):
        raise ValueError(f"{function}: expected a finite {name} {'of at least' if zero else 'above'} 0, got {value}")


def check_tile(function: str, tile: object, unit: str = "px") -> None:
    """Raises ValueError unless the tile is "auto", None or a whole number of at least 1."""
    whole = isinstance(tile, int) and not isinstance(tile, bool) and tile >= 1
    if not (whole or tile is None or tile == "auto"):
        raise ValueError(f"{function}: expected tile to be 'auto', None or {unit}, got {tile!r}")


def choose_extractor(
    function: str,
    extractor: str | nn.Module,
    taps: Sequence[str] | None,
    device: torch.device,
    dtype: torch.dtype | None,
    **options: Any,
) -> nn.Module:
    """The feature network on its device; a module is returned unchanged.

    Args:
        function: name for messages.
        extractor: see :func:`~cnnfast.features.choice.build_extractor`.
        taps: layers to return.
        device: of the network.
        dtype: of its convolutions; None is bfloat16 for a VGG where that is fast, else float32.
        options: of `build_extractor`.

    Raises:
        ValueError: a dtype for a network that chooses its own.
    """
    if isinstance(extractor, nn.Module):
        if dtype not in (None, torch.float32):
            raise ValueError(f"{function}: expected dtype float32 with a module as extractor, got {dtype}")
        return extractor
    if dtype is None:
        random = network_kind(extractor, options.get("weights", "auto")) == "random"
        dtype = torch.float32 if random else fast_dtype(device)
    network = build_extractor(extractor, taps=taps, compute_dtype=dtype, device=device, **options)
    # Convolutions are a tenth faster in this layout, and the float32 convolutions by tiles on the CPU need it.
    return network.to(memory_format=torch.channels_last)


def choose_layers(
    function: str, name: str, layers: Sequence[str] | Mapping[str, float] | None, network: nn.Module
) -> dict[str, float]:
    """Layers with their weights, 1 where none is given; None stands for all taps of the network.

    Raises:
        ValueError: a layer that the network does not have, or a weight that is negative or not finite.
        TypeError: a bare string.
    """
    if isinstance(layers, str):
        raise TypeError(f"{function}: expected {name} as a sequence of names or a mapping, got {layers!r}")
    taps = tuple(network.taps)  # type: ignore[arg-type]
    if layers is None:
        return dict.fromkeys(taps, 1.0)
    chosen = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    missing = [layer for layer in chosen if layer not in taps]
    if missing:
        raise ValueError(f"{function}: expected {name} among {', '.join(taps)}, got {', '.join(missing)}")
    for layer, weight in chosen.items():
        check_positive(function, f"weight of {layer}", weight, zero=True)
    return chosen


class OptimizerSettings(Protocol):
    """How a picture is optimised."""

    @property
    def optimizer(self) -> str:
        """One of `OPTIMIZERS`."""

    @property
    def bounds(self) -> str | None:
        """Bounds of the picture: "sample", "unit" or None, see `build_optimizer`."""


def build_optimizer(
    settings: OptimizerSettings,
    start: Tensor,
    evaluate: Evaluate,
    describe_failure: Callable[[], str],
    *,
    sample: Tensor | None = None,
    periodic: bool = False,
    regions: Tensor | None = None,
) -> PictureOptimizer:
    """The optimiser of one level, which starts from a picture [C,h,w].

    With a sample [C,h',w'] the preconditioner of L-BFGS includes the sample's colours, and the bounds "sample" are the
    sample's range; "unit" is [0,1]. The spectral preconditioner does not reach across the borders of regions [R,h,w],
    nor, unless the picture is periodic, across opposite borders of the picture.
    """
    bounds: Bounds | None = None
    if settings.bounds == "unit":
        bounds = (0.0, 1.0)
    elif settings.bounds == "sample" and sample is not None:
        bounds = (sample.amin((1, 2), keepdim=True), sample.amax((1, 2), keepdim=True))
    if settings.optimizer == "adam":
        return Adam(start, evaluate, bounds=bounds, describe_failure=describe_failure)
    preconditioner = picture_preconditioner(start, sample, periodic=periodic, regions=regions)
    return LBFGS(start, evaluate, bounds=bounds, preconditioner=preconditioner, describe_failure=describe_failure)
