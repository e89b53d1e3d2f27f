"""Masks and calls of the distance transforms that many tests share, and their definition by brute force."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor

BINARY_DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
UNSIGNED_DTYPES = [torch.uint16, torch.uint32, torch.uint64]


def random_mask(*shape: int, density: float = 0.7, dtype=torch.uint8, device="cpu", seed=0) -> Tensor:
    """Independent pixels, a share `density` of them foreground."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (values < density).to(device=device, dtype=dtype)


def blobs(*shape: int, scale: int = 8, dtype=torch.uint8, device="cpu", seed=0) -> Tensor:
    """Smooth shapes of about `scale` pixels."""
    *batch, height, width = shape
    coarse = torch.randn(
        (math.prod(batch), 1, height // scale + 2, width // scale + 2), generator=torch.Generator().manual_seed(seed)
    )
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=scale, mode="bilinear")[:, 0, :height, :width]
    return (smooth > 0).reshape(shape).to(device=device, dtype=dtype)


def random_labels(*shape: int, dtype=torch.int32, device="cpu", seed=0) -> Tensor:
    """Blocks of few labels, some of them large or negative where the dtype has such, sprinkled with single pixels."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.iinfo(dtype)
    known = torch.tensor([0, 0, 1, 2, max(limits.min, -3), min(limits.max, 70_000)])
    *batch, height, width = shape
    coarse = torch.randint(len(known), (*batch, height // 5 + 1, width // 6 + 1), generator=generator)
    chosen = coarse.repeat_interleave(5, -2).repeat_interleave(6, -1)[..., :height, :width]
    noise = torch.randint(len(known), shape, generator=generator)
    speckled = torch.where(torch.rand(shape, generator=generator) < 0.05, noise, chosen)
    return known[speckled].to(device=device, dtype=dtype)


def squared_distances(plane: Tensor, labels: bool = False, border: str = "none", spacing=(1.0, 1.0)) -> Tensor:
    """Of every foreground pixel of a plane [...,H,W] to the nearest site: all pairs, float64, infinity if none."""
    values = plane.to(torch.int64) if labels else (plane != 0).to(torch.int64)
    height, width = values.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    own = torch.stack([ys.flatten(), xs.flatten()], 1).to(values.device)
    theirs, sites = own, values.flatten(-2)
    if border == "background":
        frame = [(y, x) for y in (-1, height) for x in range(-1, width + 1)]
        frame += [(y, x) for x in (-1, width) for y in range(height)]
        theirs = torch.cat([own, torch.tensor(frame, device=own.device)])
        sites = torch.nn.functional.pad(sites, (0, len(frame)))
    steps = (own[:, None] - theirs[None]).double() * torch.tensor(spacing, dtype=torch.float64, device=own.device)
    squares = steps.square().sum(-1)
    differs = values.flatten(-2)[..., :, None] != sites[..., None, :]
    nearest = torch.where(differs, squares, math.inf).amin(-1)
    return torch.where(values.flatten(-2) != 0, nearest, 0.0).reshape(plane.shape)


def bins_of(squares: Tensor, R: int) -> Tensor:
    """min(ceil(d), R) as uint8 from exact squared distances."""
    return squares.sqrt().ceil().clamp(max=R).to(torch.uint8)


def union_of_discs(module: ModuleType, bins: Tensor, radii: list[int]) -> Tensor:
    """The pixels that are at most radii[n - 1] away from one of bin n."""
    covered = torch.zeros_like(bins, dtype=torch.bool)
    for n, radius in enumerate(radii, 1):
        squares = module.truncated_distance_transform(bins != n, radius + 1, output="squared")
        covered |= squares <= radius**2
    return covered


@dataclass(frozen=True)
class Case:
    """One call: `function(mask, *args, **options)`."""

    name: str
    function: str
    args: tuple[int | float | None, ...]
    options: dict[str, object] = field(default_factory=dict)

    def mask(self, *shape: int, device="cpu", seed=0) -> Tensor:
        """A label map where the options say so, else a mask."""
        if self.options.get("labels"):
            return random_labels(*shape, device=device, seed=seed)
        return random_mask(*shape, density=0.9, device=device, seed=seed)

    def __call__(self, module: ModuleType, mask: Tensor) -> Tensor:
        return getattr(module, self.function)(mask, *self.args, **self.options)

    def __str__(self) -> str:
        return self.name


def _transform(name: str, R: float | None, **options) -> Case:
    return Case(f"transform-{name}", "truncated_distance_transform", (R,), options)


def _bins(name: str, R: int, K: int, **options) -> Case:
    return Case(f"bins-{name}", "mask_to_bins", (R, K), options)


CASES = [
    _transform("bins", 9),
    _transform("bins-one", 1),
    _transform("bins-15", 15),
    _transform("bins-words", 16),
    _transform("bins-largest-tile", 64),
    _transform("bins-rows", 65, border="background"),
    _transform("bins-border", 5, border="background"),
    _transform("bins-labels", 9, labels=True),
    _transform("bins-labels-border", 20, labels=True, border="background"),
    _transform("bins-labels-rows", 255, labels=True, border="background"),
    _transform("bins-spacing", 7, spacing=(0.5, 0.5)),
    _transform("bins-fine-spacing", 200, spacing=(0.3, 0.7)),
    _transform("distance", 6.5, output="distance"),
    _transform("distance-labels", None, output="distance", labels=True),
    _transform("distance-spacing", 6.5, output="distance", spacing=(2, 0.7)),
    _transform("squared", 12, output="squared"),
    _transform("squared-large", 300, output="squared", border="background"),
    _transform("squared-none", None, output="squared"),
    _transform("squared-none-labels", None, output="squared", labels=True, border="background"),
    _transform("squared-spacing", 12, output="squared", spacing=(0.25, 0.25), labels=True),
    _transform("signed", 4, output="signed"),
    _transform("signed-half", 4.25, output="signed", zero="half", border="background"),
    _transform("signed-inner", None, output="signed", zero="inner"),
    _transform("signed-labels", 10, output="signed", zero="inner", labels=True),
    _transform("signed-spacing", None, output="signed", zero="half", spacing=(1, 3), labels=True, border="background"),
    _bins("labels", 9, 5),
    _bins("border", 13, 5, border="background"),
    _bins("label-map", 9, 9, labels=True),
    _bins("words", 40, 7),
    _bins("rows", 100, 10, labels=True, border="background"),
    _bins("one-hot", 9, 5, one_hot=True),
    _bins("one-hot-rows", 70, 4, one_hot=True, dtype=torch.float16, border="background"),
]
FEW_CASES = [
    case
    for case in CASES
    if case.name
    in ("transform-bins", "transform-bins-labels", "transform-squared-none", "transform-signed-half", "bins-one-hot")
]
