"""Any picture to RGB [3,H,W] float32 in [0,1]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnfast.images.errors import ImageError, check_pillow
from cnnfast.images.layout import resize
from cnnfast.images.limits import check_range

if TYPE_CHECKING:
    from PIL.Image import Image

    Source = str | os.PathLike[str] | Image | np.ndarray | Tensor

_UNIT = {np.dtype("uint8"): 255, np.dtype("uint16"): 65535, np.dtype("bool"): 1}


def load_image(
    source: Source,
    *,
    alpha: str = "white",
    size: int | Sequence[int] | None = None,
    upright: bool = True,
) -> Tensor:
    """A picture as RGB [3,H,W], float32 in [0,1].

    Files are read by Pillow: the first frame of an animation; turned as the EXIF orientation says; an embedded colour
    profile converted to sRGB; black and white, grey (8, 16 bit, float), palette, CMYK, YCbCr, Lab and HSV pictures all
    become RGB; of colours with 16 bits Pillow reads the upper 8. The size is checked before anything is decoded.

    Args:
        source: a file's path; a Pillow picture; an array [H,W], [H,W,1|2|3|4] or a tensor [H,W], [1|2|3|4,H,W] or
            [1,1|2|3|4,H,W] of bool, uint8, uint16, or floats in [0,1]. Two and four channels end with alpha.
        alpha: what to do with transparency: "white" composes on white, "drop" ignores it, "keep" returns four channels
            [4,H,W] whatever the picture has.
        size: longest side in px or (height, width) to resize to, None leaves the size.
        upright: turn files and Pillow pictures as their EXIF orientation says; False leaves the pixels as they are
            stored, which is what the annotations of data sets refer to.

    Returns:
        [3,H,W] (or [4,H,W]) float32 in [0,1], on the CPU; a tensor stays on its device.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, of an unsupported kind, no file, unreadable, or has
            more than `MAX_PIXELS`; or values or shape of an array are not as above. One line, with the path.
        TypeError: another kind of source.
        ValueError: unknown alpha.
        ImportError: Pillow is needed and not installed.

    Example:
        >>> import numpy as np
        >>> from cnnfast.images import load_image
        >>> load_image(np.zeros((30, 40), dtype=np.uint8), size=20).shape
        torch.Size([3, 15, 20])
    """
    if alpha not in ("white", "drop", "keep"):
        raise ValueError(f'load_image: expected alpha "white", "drop" or "keep", got {alpha!r}')
    if isinstance(source, Tensor):
        values = _from_tensor(source)
    elif isinstance(source, np.ndarray):
        values = _from_array(source)
    else:
        check_pillow("load_image")
        from cnnfast.images import _pillow

        if isinstance(source, _pillow.Image.Image):
            values = _pillow.from_picture(source, upright)
        elif isinstance(source, str | os.PathLike):
            values = _pillow.from_file(source, upright)
        else:
            raise TypeError(
                "load_image: expected a path, a Pillow picture, an array or a tensor, got " + type(source).__name__
            )
    picture = _apply_alpha(values, alpha)
    return picture if size is None else resize(picture, size)


def _apply_alpha(values: Tensor, alpha: str) -> Tensor:
    """[1..4,H,W] to [3,H,W], or to [4,H,W] when alpha is kept."""
    channels = values.shape[0]
    colour = values[: channels - 1] if channels in (2, 4) else values
    colour = colour.expand(3, *values.shape[1:])
    opacity = values[-1:] if channels in (2, 4) else None
    if alpha == "keep":
        return torch.cat([colour, torch.ones_like(colour[:1]) if opacity is None else opacity])
    if alpha == "white" and opacity is not None:
        colour = colour * opacity + (1 - opacity)
    return colour.contiguous()


def _from_array(array: np.ndarray) -> Tensor:
    shape = array.shape
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and shape[-1] in (1, 2, 3, 4):
        array = array.transpose(2, 0, 1)
    else:
        raise ImageError(f"load_image: expected an array [H,W] or [H,W,1|2|3|4], got {list(shape)}")
    if array.size == 0:
        raise ImageError(f"load_image: expected an array with at least one pixel, got {list(shape)}")
    if array.dtype in _UNIT:
        return torch.from_numpy(array.astype(np.float32)).div_(_UNIT[array.dtype])
    if array.dtype.kind != "f":
        raise TypeError(f"load_image: expected an array of bool, uint8, uint16 or floats, got {array.dtype}")
    return check_range(torch.from_numpy(array.astype(np.float32)), "an array of floating-point")


def _from_tensor(tensor: Tensor) -> Tensor:
    shape = list(tensor.shape)
    tensor = tensor.detach()
    if tensor.dim() == 4 and shape[0] == 1:
        tensor = tensor[0]
    if tensor.dim() == 2:
        tensor = tensor[None]
    if tensor.dim() != 3 or tensor.shape[0] not in (1, 2, 3, 4) or tensor.numel() == 0:
        raise ImageError(f"load_image: expected a tensor [H,W], [1|2|3|4,H,W] or [1,1|2|3|4,H,W], got {shape}")
    units = {torch.uint8: 255, torch.uint16: 65535, torch.bool: 1}
    if tensor.dtype in units:
        return tensor.float().div_(units[tensor.dtype])
    if not tensor.is_floating_point():
        raise TypeError(f"load_image: expected a tensor of bool, uint8, uint16 or floats, got {tensor.dtype}")
    return check_range(tensor.to(torch.float32, copy=True), "a tensor of floating-point")
