"""Sizes and arrangements of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnfast.arguments.checks import whole_number
from cnnfast.images.errors import ImageError, check_picture


def size_for(shape: Sequence[int], size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) that `size` means for a picture of (height, width) `shape`.

    Args:
        shape: (height, width) in px, each at least 1.
        size: the longest side in px, which keeps the aspect ratio; or (height, width) itself.

    Raises:
        ImageError: a side below 1 px.
        TypeError: neither a whole number nor two of them.

    Example:
        >>> from cnnfast.images import size_for
        >>> size_for((300, 400), 200), size_for((300, 400), (64, 80))
        ((150, 200), (64, 80))
    """
    given = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size,)
    numbers = [number for number in map(whole_number, given) if number is not None]
    if len(given) not in (1, 2) or len(numbers) != len(given):
        raise TypeError(f"size_for: expected size as a whole number or (height, width), got {size!r}")
    if min(numbers) < 1:
        raise ImageError(f"size_for: expected a size of at least 1 px, got {size!r}")
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    longest = max(shape)
    height, width = (max(1, round(side * numbers[0] / longest)) for side in shape)
    return height, width


def resize(image: Tensor, size: int | Sequence[int], *, mode: str = "bicubic") -> Tensor:
    """Resize a picture, antialiased when it shrinks.

    Args:
        image: [C,H,W] or [B,C,H,W], floating point, values in [0,1].
        size: longest side in px (aspect kept) or (height, width).
        mode: "bicubic" or "bilinear" (both with a filter as wide as the reduction), or "area" (mean of the covered
            pixels; enlarging repeats pixels).

    Returns:
        Same dtype and number of axes; bicubic overshoot is clamped to [0,1]. The same size gives the same values.

    Raises:
        ImageError: wrong number of axes, an empty picture, or a size below 1 px.
        ValueError: unknown mode.
        TypeError: not floating point.

    Example:
        >>> import torch
        >>> from cnnfast.images import resize
        >>> resize(torch.rand(3, 30, 40), 20).shape
        torch.Size([3, 15, 20])
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"resize: expected a floating-point tensor [C,H,W] or [B,C,H,W], got {got}")
    if image.dim() not in (3, 4) or image.numel() == 0:
        raise ImageError(
            f"resize: expected a picture [C,H,W] or [B,C,H,W] with at least one pixel, got {list(image.shape)}"
        )
    if mode not in ("bicubic", "bilinear", "area"):
        raise ValueError(f'resize: expected mode "bicubic", "bilinear" or "area", got {mode!r}')
    height, width = size_for(image.shape[-2:], size)
    if (height, width) == image.shape[-2:]:
        return image.clone()
    batch = image.reshape(-1, *image.shape[-3:])
    if batch.dtype in (torch.float16, torch.bfloat16):  # the antialiased kernels want full precision
        batch = batch.float()
    if mode == "area":
        resized = F.interpolate(batch, (height, width), mode="area")
    else:
        resized = F.interpolate(batch, (height, width), mode=mode, align_corners=False, antialias=True)
    if mode == "bicubic":
        resized = resized.clamp(0, 1)
    return resized.to(image.dtype).reshape(*image.shape[:-2], height, width)


def is_grey(image: Tensor) -> bool:
    """Whether red, green and blue of [3,H,W] are equal in every pixel; a picture [1,H,W] is grey.

    Example:
        >>> import torch
        >>> from cnnfast.images import is_grey
        >>> is_grey(torch.rand(1, 4, 4).expand(3, 4, 4)), is_grey(torch.rand(3, 4, 4))
        (True, False)
    """
    if image.dim() != 3 or image.shape[0] not in (1, 3):
        raise ImageError(f"is_grey: expected image [1|3,H,W], got {list(image.shape)}")
    return bool((image == image[:1]).all())


def side_by_side(images: Sequence[Tensor], *, gap: int = 8, background: float = 1.0) -> Tensor:
    """Pictures in one row, centred vertically.

    Args:
        images: at least one [3,H,W], sizes may differ.
        gap: px between neighbours.
        background: value of the gaps and of the space above and below lower pictures.

    Returns:
        [3, largest height, sum of widths and gaps], on the CPU, float32.

    Raises:
        ImageError: no picture, one of another shape, or a negative gap.
        TypeError: an entry that is no floating-point tensor.

    Example:
        >>> import torch
        >>> from cnnfast.images import side_by_side
        >>> side_by_side([torch.zeros(3, 4, 5), torch.zeros(3, 6, 7)], gap=2).shape
        torch.Size([3, 6, 14])
    """
    pictures = [check_picture("side_by_side", image).detach().cpu().float() for image in images]
    if not pictures or gap < 0:
        raise ImageError(f"side_by_side: expected pictures and a gap of at least 0, got {len(pictures)} and {gap}")
    height = max(p.shape[1] for p in pictures)
    width = sum(p.shape[2] for p in pictures) + gap * (len(pictures) - 1)
    row = torch.full((3, height, width), background)
    left = 0
    for picture in pictures:
        top = (height - picture.shape[1]) // 2
        row[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
        left += picture.shape[2] + gap
    return row
