"""Memory that an evaluation of a loss over a picture takes, the free memory, and the choice of tiles."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast._memory import available_memory
from cnnfast.models.style.picture.lbfgs import HISTORY

logger = logging.getLogger(__name__)

# Share of the free memory that a run may use; the rest covers workspaces of convolutions and fragmentation.
USABLE = 0.7
SMALLEST_PROBE = 64


class Cost(NamedTuple):
    """Bytes of one loss and gradient: a constant part and a part per pixel."""

    fixed: int
    per_pixel: float

    def of(self, pixels: int) -> int:
        """Bytes for a picture of that many pixels."""
        return self.fixed + math.ceil(self.per_pixel * pixels)


def measure_cost(extractor: nn.Module, *, side: int = 64) -> Cost:
    """Cost of an extractor's forward and backward pass, from the tensors that a small picture keeps for backward.

    The peak is all saved activations and two gradients of the widest layer; the weights are the fixed part.

    Args:
        extractor: [1,3,H,W] -> dict of features.
        side: px of the square probe, at least the extractor's minimum size.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.memory import measure_cost
        >>> class Net(torch.nn.Module):
        ...     def forward(self, image):
        ...         return {"a": image.exp()}
        >>> measure_cost(Net()).per_pixel
        36.0
    """
    weights = [*extractor.parameters(), *extractor.buffers()]
    known = {w.untyped_storage().data_ptr() for w in weights}
    shapes = {w.shape for w in weights if w.dim() > 1}
    sizes: dict[int, int] = {}
    copies: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            # Copies of weights in another dtype do not grow with the picture.
            (copies if tensor.shape in shapes else sizes)[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a node that keeps its own result would otherwise keep itself alive

    device = weights[0].device if weights else torch.device("cpu")
    probe = torch.full((1, 3, side, side), 0.5, device=device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = extractor(probe)
    for tensor in features.values():
        keep(tensor)
    largest = max(sizes.values(), default=0)
    fixed = sum(w.numel() * w.element_size() for w in weights) + sum(copies.values())
    return Cost(fixed, (sum(sizes.values()) + 2 * largest) / side**2)


def optimizer_bytes(kind: str, values: int, history: int = HISTORY) -> int:
    """Bytes of optimiser tensors over that many float32 values: L-BFGS 2 (history + 1) + 12 vectors, Adam 10."""
    vectors = 2 * (history + 1) + 12 if kind == "lbfgs" else 10
    return 4 * vectors * values


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated, or None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory() if device.type == "cpu" else None


def estimate_memory(
    extractor: nn.Module,
    height: int,
    width: int,
    *,
    optimizer: str = "lbfgs",
    channels: int = 3,
    tile: int | None = None,
) -> int:
    """Bytes that one level takes: weights, activations, gradients (of one tile) and optimiser."""
    pixels = height * width
    at_once = pixels if tile is None else min(pixels, (tile + 2 * getattr(extractor, "halo", 0)) ** 2)
    return _cost(extractor).of(at_once) + optimizer_bytes(optimizer, channels * pixels)


_KNOWN_COSTS: WeakKeyDictionary[nn.Module, dict[Hashable, Cost]] = WeakKeyDictionary()


def _cost(extractor: nn.Module) -> Cost:
    """The cost of an extractor, measured once for each configuration of it."""
    stride = getattr(extractor, "stride", 1)
    smallest = max(SMALLEST_PROBE, getattr(extractor, "minimum_size", 1))
    side = -(-smallest // stride) * stride
    weights = [*extractor.parameters(), *extractor.buffers()]
    layout = tuple((weight.dtype, weight.device, weight.shape, weight.stride()) for weight in weights)
    options = tuple(str(getattr(extractor, name, None)) for name in ("padding", "compute_dtype", "taps"))
    key = (side, layout, options)
    known = _KNOWN_COSTS.setdefault(extractor, {})
    if key not in known:
        known[key] = measure_cost(extractor, side=side)
    return known[key]


def plan_tile(
    function: str,
    extractor: nn.Module,
    size: tuple[int, int],
    tile: int | str | None,
    optimizer: str,
    *,
    channels: int,
) -> int | None:
    """Px of a tile for a picture of that size, None for no tiles; with "auto" decided by the free memory.

    `function` is the name in error messages.

    Raises:
        ValueError: a picture that is too large for the memory even in tiles, or tiles with an extractor that has no
            attributes `halo` and `stride`.
    """
    has_geometry = hasattr(extractor, "halo") and hasattr(extractor, "stride")
    if tile is None or (tile == "auto" and not has_geometry):
        return None
    if not has_geometry:
        raise ValueError(f"{function}: expected an extractor with halo and stride for tiles, got {extractor}")
    if tile != "auto":
        return int(tile)
    weights = [*extractor.parameters(), *extractor.buffers()]
    free = free_memory(weights[0].device if weights else torch.device("cpu"))
    if free is None:
        return None
    height, width = size
    budget = int(USABLE * free) - optimizer_bytes(optimizer, channels * height * width)
    halo, stride = extractor.halo, extractor.stride
    chosen = choose_tile(function, _cost(extractor), height, width, budget=budget, halo=halo, stride=stride)  # type: ignore[arg-type]
    if chosen is not None:
        needed = estimate_memory(extractor, height, width, optimizer=optimizer, channels=channels)
        logger.warning(
            "%dx%d px would need %.1f GB of %.1f GB free memory: evaluated in tiles of %d px, exact but slower",
            height,
            width,
            needed / 1e9,
            free / 1e9,
            chosen,
        )
    return chosen


def choose_tile(
    function: str, cost: Cost, height: int, width: int, *, budget: int, halo: int, stride: int
) -> int | None:
    """Interior of a tile in px so that one evaluation fits into `budget` bytes; None when the whole picture does.

    Raises:
        ValueError: not even the smallest tile with its halo fits.

    Example:
        >>> from cnnfast.models.style.picture.memory import Cost, choose_tile
        >>> cost = Cost(fixed=0, per_pixel=1000.0)
        >>> choose_tile("f", cost, 512, 512, budget=10**9, halo=32, stride=16)
        >>> choose_tile("f", cost, 512, 512, budget=10**8, halo=32, stride=16)
        240
    """
    if cost.of(height * width) <= budget:
        return None
    side = math.isqrt(max(0, int((budget - cost.fixed) / cost.per_pixel))) - 2 * halo
    tile = side // stride * stride
    if tile < stride:
        needed = cost.of((stride + 2 * halo) ** 2)
        raise InputError(
            f"{function}: expected a picture that fits into the memory, got {height}x{width} px, whose "
            f"smallest tile takes {needed / 1e9:.3g} GB of {max(0, budget) / 1e9:.3g} GB that the optimiser leaves"
        )
    return tile
