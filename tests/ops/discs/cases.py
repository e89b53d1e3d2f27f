"""Calls of the disc functions that many tests share: a function, the shapes of its tensors, its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from tests.ops.tensors import random_tensor
from tests.parity import PARITY


def load_parity(name: str) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of tests/parity/bais/<name>.npz, by case and field."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(PARITY / "bais" / f"{name}.npz") as arrays:
        for key in arrays.files:
            case, _, part = key.partition("/")
            if part:
                found.setdefault(case, {})[part] = arrays[key]
    return found


def probabilities(*shape: int, dtype=torch.float64, device="cpu", seed=0, most=1.0) -> Tensor:
    """Distinct values between 0.05 and 0.95 times `most`, the same ones for every dtype up to rounding."""
    count = int(np.prod(shape))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).double()
    return ((0.05 + 0.9 * (order + 0.5) / max(count, 1)) * most).view(shape).to(device=device, dtype=dtype)


@dataclass(frozen=True)
class Case:
    """One call: `function(**tensors, radii=..., **options)`."""

    name: str
    function: str
    radii: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, object] = field(default_factory=dict)

    def tensors(self, dtype=torch.float64, device="cpu", requires_grad=()) -> dict[str, Tensor]:
        """Tensors of the case's shapes; B holds distinct probabilities, so small that few results saturate."""
        made = {}
        for seed, (name, shape) in enumerate(self.shapes.items()):
            if name == "B":
                most = 0.9 if self.options.get("union") == "max" else 0.3
                values = probabilities(*shape, device=device, seed=seed, most=most)
            else:
                values = random_tensor(*shape, device=device, seed=seed)
            made[name] = values.to(dtype).requires_grad_(name in requires_grad or requires_grad == "all")
        return made

    def __call__(self, module: ModuleType, tensors: dict[str, Tensor]) -> Tensor:
        return self.apply(getattr(module, self.function), tensors)

    def apply(self, function: Callable[..., Tensor], tensors: dict[str, Tensor]) -> Tensor:
        return function(**tensors, radii=self.radii, **self.options)

    @property
    def is_max(self) -> bool:
        return self.options.get("union") == "max"

    def __str__(self) -> str:
        return self.name


def _sum(name: str, radii=(0, 1, 3), size=(5, 4), weight=False, **options) -> Case:
    shapes = {"B": (2, len(radii), *size)} | ({"weight": (len(radii),)} if weight else {})
    return Case(f"sum-{name}", "disc_sum", radii, shapes, options)


def _mask(name: str, radii=(0, 1, 3), size=(5, 4), weight=False, bias=False, **options) -> Case:
    shapes = {"B": (2, len(radii), *size)}
    shapes |= ({"weight": (len(radii),)} if weight else {}) | ({"bias": ()} if bias else {})
    return Case(f"mask-{name}", "inverse_distance_transform", radii, shapes, options)


CASES = [
    _sum("plain"),
    _sum("weight", weight=True),
    _sum("pad-0", weight=True, pad=0),
    _sum("pad-less", weight=True, pad=1),
    _sum("pad-more", weight=True, pad=5),
    _sum("repeated-radii", radii=(2, 0, 2, 0), weight=True),
    _sum("one-bin", radii=(2,), size=(3, 6)),
    _sum("only-zeros", radii=(0, 0), weight=True),
    _sum("low-plane", radii=(4, 2), size=(1, 6), weight=True),
    _sum("narrow-plane", radii=(4, 2), size=(6, 1), weight=True, pad=2),
    _sum("larger-than-the-plane", radii=(9, 1), size=(2, 3), weight=True, pad=3),
    _mask("plain"),
    _mask("weight", weight=True),
    _mask("weight-bias", weight=True, bias=True),
    _mask("bias", bias=True, pad=0),
    _mask("logits", weight=True, bias=True, return_logits=True, pad=1),
    _mask("noisy-or", union="noisy_or"),
    _mask("noisy-or-pad-0", union="noisy_or", pad=0),
    _mask("noisy-or-pad-less", union="noisy_or", pad=2),
    _mask("noisy-or-repeated", radii=(1, 1, 0), union="noisy_or", pad=3),
    _mask("noisy-or-low-plane", radii=(3, 2), size=(1, 5), union="noisy_or"),
    # Without a disc the logit is cut off: pad 0 keeps every pixel covered.
    _mask("noisy-or-logits", union="noisy_or", return_logits=True, pad=0),
    _mask("max", union="max"),
    _mask("max-pad-0", union="max", pad=0),
    _mask("max-repeated", radii=(2, 0, 2), size=(4, 7), union="max", pad=1),
    _mask("max-low-plane", radii=(4, 2), size=(1, 6), union="max", pad=5),
    _mask("max-logits", union="max", return_logits=True, pad=0),
]
_FEW = ["sum-weight", "sum-pad-less", "mask-weight-bias", "mask-logits"]
_FEW += ["mask-noisy-or", "mask-noisy-or-logits", "mask-max"]
FEW_CASES = [case for case in CASES if case.name in _FEW]
SMOOTH_CASES = [case for case in CASES if not case.is_max]


def random_labels(*shape: int, kinds: int, density=0.1, seed=0, device="cpu") -> Tensor:
    """Labels 0..kinds, uint8, most of them 0."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(1, kinds + 1, shape, generator=generator)
    return (labels * (torch.rand(shape, generator=generator) < density)).to(torch.uint8).to(device)
