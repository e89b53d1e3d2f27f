"""A trained feed-forward network applied to pictures of any size."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.models.style.feed_forward.blocks import border_index
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.models.style.feed_forward.strips import StripEvaluation, kept_bytes, peak_bytes
from cnnfast.models.style.picture.memory import USABLE, free_memory
from cnnfast.models.style.picture.settings import check_tile

logger = logging.getLogger(__name__)

# Px of a strip: few enough for the caches, many enough that its borders, which are computed twice, cost little.
_STRIP_PIXELS = 1 << 17
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@torch.no_grad()
def apply_style(
    network: TransformerNet | JohnsonNet,
    image: Tensor,
    *,
    exact_size: bool = True,
    tile: int | str | None = "auto",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Pictures in the style of a network.

    Where the network would round up the sides, the picture is padded by reflection at the right and lower edge and the
    result is cropped, so that pictures of any size from 1x1 px keep it.

    Where the memory is too small, the network is evaluated in strips of rows, with the same result up to rounding:
    instance norms get the statistics of the whole picture. That takes up to 1.5 times the time, and about 220 bytes of
    memory per pixel instead of 620.

    Args:
        network: a `TransformerNet` or `JohnsonNet`.
        image: [3,H,W] or [B,3,H,W], RGB in [0,1].
        exact_size: False returns the unchanged output of the network, with sides rounded up to its `multiple`; pictures
            below its `minimum_size` are errors then.
        tile: evaluate in strips of that many rows; "auto": only if the memory is too small for the whole picture; None:
            never.
        dtype: of the convolutions; torch.bfloat16 is fast on hardware that has it.
        progress: called with the finished share, from 0 to 1, after every strip.

    Returns:
        [3,H,W] or [B,3,H,W], float32 in [0,1], on the network's device.

    Raises:
        ValueError: a wrong shape, values outside [0,1], a network in training mode, or a picture beyond the memory.
        TypeError: not a floating-point tensor, or not one of our networks.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.feed_forward.apply import apply_style
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet
        >>> apply_style(TransformerNet((4, 6, 8)).eval(), torch.rand(3, 7, 13)).shape
        torch.Size([3, 7, 13])
    """
    _check(network, image, tile, dtype)
    batch = image if image.dim() == 4 else image[None]
    device = next(network.parameters()).device
    fitted = _fit(batch.to(device), network) if exact_size else batch.to(device)
    x = network.preprocess(fitted.float()).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    strip = plan_strip(network, x, tile)
    if strip is None:
        result = _unit(network, network(x))
        progress is None or progress(1.0)
    else:
        parts = StripEvaluation(network.stages(), strip, progress)(x)
        result = torch.cat([_unit(network, network.finish(rows)) for _, rows in parts], 2)
    if exact_size:
        result = result[:, :, : batch.shape[2], : batch.shape[3]]
    return (result if image.dim() == 4 else result[0]).contiguous()


def _check(network: nn.Module, image: object, tile: object, dtype: torch.dtype) -> None:
    if not (isinstance(network, nn.Module) and hasattr(network, "stages")):
        raise TypeError(f"apply_style: expected network a TransformerNet or JohnsonNet, got {type(network).__name__}")
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"apply_style: expected image a floating-point tensor, got {got}")
    if image.dim() not in (3, 4) or image.shape[-3] != 3 or image.numel() == 0:
        raise ValueError(f"apply_style: expected image [3,H,W] or [B,3,H,W] with a pixel, got {list(image.shape)}")
    low, high = (float(value) for value in torch.aminmax(image))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"apply_style: expected image with values of 0..1, got {low:g} to {high:g}")
    check_tile("apply_style", tile, "rows")
    if dtype not in _DTYPES:
        raise TypeError(f"apply_style: expected a floating dtype, got {dtype}")
    if network.training and any(isinstance(part, nn.BatchNorm2d) for part in network.modules()):
        raise ValueError("apply_style: expected a network with batch norms in evaluation mode, got training mode")


def _fit(image: Tensor, network: TransformerNet | JohnsonNet) -> Tensor:
    """The pictures, padded by reflection to sides that the network accepts and does not round."""
    multiple, least = network.multiple, network.minimum_size
    for axis in (2, 3):
        side = image.shape[axis]
        wanted = -(-max(side, least) // multiple) * multiple
        if wanted != side:
            image = image.index_select(axis, border_index(0, wanted, side, "reflect").to(image.device))
    return image


def _unit(network: TransformerNet | JohnsonNet, output: Tensor) -> Tensor:
    return network.postprocess(output.float()).clamp(0, 1)


def plan_strip(network: TransformerNet | JohnsonNet, x: Tensor, tile: int | str | None) -> int | None:
    """Rows of a strip for input pictures x [B,3,H,W], None for all at once; with "auto" decided by the free memory.

    Raises:
        ValueError: not even strips fit into the memory.
    """
    if isinstance(tile, int):
        return min(tile, x.shape[2])
    stages = network.stages()
    free = free_memory(x.device)
    if tile is None or free is None:
        return None
    needed = peak_bytes(stages, x)
    if needed <= USABLE * free:
        return None
    height, width = x.shape[2:]
    strip = max(16, _STRIP_PIXELS // (x.shape[0] * width) // 4 * 4)
    least = kept_bytes(stages, x) + peak_bytes(stages, x[:, :, : strip + 16])
    if least > USABLE * free:
        raise InputError(
            f"apply_style: expected pictures that fit into the memory, got {x.shape[0]} of {height}x{width} px, which "
            f"take {least / 1e9:.3g} GB of {free / 1e9:.3g} GB"
        )
    logger.warning(
        "%dx%d px would need %.1f GB of %.1f GB free memory: evaluated in strips of %d rows, exact but slower",
        height,
        width,
        needed / 1e9,
        free / 1e9,
        strip,
    )
    return min(strip, height)
