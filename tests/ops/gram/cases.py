"""Calls of the Gram functions that many tests share: a function, the shapes of its tensors, its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor

from tests.ops.tensors import random_tensor

WEIGHTS = ("pixel_weight", "weight")


@dataclass(frozen=True)
class Case:
    """One call: `function(**tensors, **options)`."""

    name: str
    function: str
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, object] = field(default_factory=dict)

    def tensors(self, dtype=torch.float64, device="cpu", requires_grad=()) -> dict[str, Tensor]:
        """Random tensors of the case's shapes; weights lie in [0.25, 1.25), so that they may be varied a little."""
        made = {}
        for seed, (name, shape) in enumerate(self.shapes.items()):
            values = random_tensor(*shape, device=device, seed=seed)
            if name in WEIGHTS:
                values = values.abs() % 1 + 0.25
            made[name] = values.to(dtype).requires_grad_(name in requires_grad or requires_grad == "all")
        return made

    def __call__(self, module: ModuleType, tensors: dict[str, Tensor]) -> Tensor:
        return self.apply(getattr(module, self.function), tensors)

    def apply(self, function: Callable[..., Tensor], tensors: dict[str, Tensor]) -> Tensor:
        return function(**tensors, **self.options)

    def __str__(self) -> str:
        return self.name


def _gram(name: str, pixel_weight: tuple[int, ...] | None = None, x: tuple[int, ...] = (2, 3, 3, 4), **options) -> Case:
    return Case(
        f"gram-{name}", "gram_matrix", {"x": x} | ({"pixel_weight": pixel_weight} if pixel_weight else {}), options
    )


def _cross(name: str, pixel_weight: tuple[int, ...] | None = None, **options) -> Case:
    shapes = {"x": (2, 3, 2, 3), "y": (2, 4, 2, 3)} | ({"pixel_weight": pixel_weight} if pixel_weight else {})
    return Case(f"cross-{name}", "cross_gram", shapes, options)


def _loss(name: str, target: tuple[int, ...] = (3, 3), x: tuple[int, ...] = (2, 3, 3, 4), **options) -> Case:
    shapes = {"x": x, "target": target} | {key: options.pop(key) for key in WEIGHTS if key in options}
    return Case(f"loss-{name}", "gram_mse_loss", shapes, options)


CASES = [
    _gram("hw"),
    _gram("none", normalize="none"),
    _gram("chw", normalize="chw"),
    _gram("number", normalize=2.5),
    _gram("positions", x=(2, 3, 5)),
    _gram("centered", centered=True),
    _gram("batch-of-one", x=(1, 2, 7)),
    _gram("weight-rows", pixel_weight=(2, 12)),
    _gram("weight-image", pixel_weight=(3, 4)),
    _gram("weight-maps", pixel_weight=(2, 1, 3, 4), normalize="chw"),
    _gram("weight-shared", pixel_weight=(1, 1, 3, 4), normalize="none"),
    _gram("weight-number", pixel_weight=(2, 1, 3, 4), normalize=2.5),
    _gram("weight-centered", pixel_weight=(2, 1, 3, 4), centered=True),
    _gram("regions", pixel_weight=(2, 2, 3, 4)),
    _gram("regions-shared", pixel_weight=(1, 3, 3, 4), normalize="chw"),
    _gram("regions-positions", pixel_weight=(2, 2, 5), x=(2, 3, 5), normalize="none"),
    _gram("regions-centered", pixel_weight=(2, 2, 3, 4), centered=True),
    _cross("hw"),
    _cross("none", normalize="none"),
    _cross("chw", normalize="chw"),
    _cross("number", normalize=2.5),
    _cross("weight", pixel_weight=(2, 1, 2, 3)),
    _cross("weight-chw", pixel_weight=(2, 6), normalize="chw"),
    _cross("regions", pixel_weight=(2, 2, 2, 3)),
    _loss("default"),
    _loss("target-one", target=(1, 3, 3), reduction="sum", scale="mean"),
    _loss("target-batch", target=(2, 3, 3), reduction="none", scale="sum"),
    _loss("positions", x=(2, 3, 5), normalize="chw"),
    _loss("weights", weight=(2,), normalize="none", reduction="none"),
    _loss("weight-scalar", weight=(), normalize=2.5),
    _loss("centered", centered=True),
    _loss("pixels", pixel_weight=(2, 1, 3, 4)),
    _loss("pixels-chw", pixel_weight=(3, 4), normalize="chw", weight=(2,)),
    _loss("pixels-none", pixel_weight=(2, 12), normalize="none"),
    _loss("pixels-centered", pixel_weight=(2, 1, 3, 4), centered=True),
    _loss("regions", pixel_weight=(2, 2, 3, 4), target=(2, 3, 3)),
    _loss("regions-batch", pixel_weight=(1, 3, 3, 4), target=(2, 3, 3, 3), weight=(2,), reduction="none"),
    _loss("regions-centered", pixel_weight=(2, 2, 3, 4), target=(2, 3, 3), centered=True),
]
FEW_CASES = [
    case
    for case in CASES
    if case.name
    in (
        "gram-hw",
        "gram-centered",
        "gram-regions",
        "cross-weight",
        "loss-default",
        "loss-weights",
        "loss-pixels",
        "loss-regions-batch",
        "loss-pixels-centered",
    )
]
