"""Small ready-to-call examples of every style layer, shared by the tests of what all layers promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnfast.layers import (
    ContentLoss,
    StyleLoss,
    TextureLoss,
    TVLoss,
    WassersteinStyleLoss,
)


class TinyFeatures(nn.Module):
    """Two convolutions with fixed weights, taps "first" and "second" (half the size)."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        first = self.first(image).relu()
        second = self.second(nn.functional.avg_pool2d(first, 2)).relu()
        return {"first": first, "second": second}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@dataclass(frozen=True)
class Case:
    """How to make a layer, how to give it its target, and what to call it with."""

    make: Callable[[], nn.Module]
    capture: Callable[[nn.Module, Tensor], None]
    input_shape: tuple[int, ...] = (2, 3, 3, 4)
    target_shape: tuple[int, ...] = (1, 3, 4, 6)

    def input(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return random(*self.input_shape, seed=1, dtype=torch.float64).to(dtype)

    def captured(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        layer = self.make().to(dtype)
        self.capture(layer, random(*self.target_shape, seed=2).to(dtype))
        return layer


def _capture(layer: nn.Module, features: Tensor) -> None:
    layer.capture(features)


def _set_target(layer: nn.Module, image: Tensor) -> None:
    layer.set_target(image)


def _none(layer: nn.Module, features: Tensor) -> None:
    pass


_texture = {"capture": _set_target, "input_shape": (2, 3, 4, 6), "target_shape": (1, 3, 8, 6)}
CASES = {
    **{
        f"style-{scale}": Case(lambda scale=scale: StyleLoss(weight=2.0, scale=scale), _capture)
        for scale in ("gatys", "mean", "sum", "relative", "l1grad")
    },
    "style-chw": Case(lambda: StyleLoss(weight=2.0, normalize="chw"), _capture),
    "style-centered": Case(lambda: StyleLoss(weight=2.0, centered=True), _capture),
    **{
        f"content-{scale}": Case(lambda scale=scale: ContentLoss(3.0, scale), _capture, target_shape=(1, 3, 3, 4))
        for scale in ("mean", "gatys", "l1grad")
    },
    "wasserstein": Case(lambda: WassersteinStyleLoss(3.0), _capture),
    **{
        f"tv-{kind}": Case(lambda kind=kind: TVLoss(3.0, kind), _none) for kind in ("l1mean", "l1", "l2", "iso", "nine")
    },
    "tv-iso-3": Case(lambda: TVLoss(3.0, "iso", exponent=3.0), _none),
    "texture": Case(lambda: TextureLoss({"first": 1.0, "second": 2.0}, TinyFeatures()), **_texture),
    "texture-relative": Case(
        lambda: TextureLoss({"first": 1.0, "second": 2.0}, TinyFeatures(), weights="relative"), **_texture
    ),
}
WITH_TARGET = {name: case for name, case in CASES.items() if not name.startswith("tv")}
