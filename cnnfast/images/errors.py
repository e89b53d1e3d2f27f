"""The error of pictures, and checks of a picture and of Pillow."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast._errors import InputError
from cnnfast._rooms import missing_package


class ImageError(InputError):
    """A picture cannot be read, written, or used; the message is one line and names the file where there is one."""


def check_pillow(function: str) -> None:
    """Raise an ImportError that says how to install Pillow, if it is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise missing_package(function, "Pillow", "to read and write pictures") from error


def check_picture(function: str, image: object, channels: tuple[int, ...] = (3,), *, name: str = "image") -> Tensor:
    """Returns `image` when it is a finite floating-point tensor [C,H,W] of at least one pixel.

    Raises:
        TypeError: no tensor, or not floating point.
        ImageError: another shape, no pixel, or values that are NaN or infinite.
    """
    wanted = f"[{'|'.join(str(c) for c in channels)},H,W]"
    if not isinstance(image, Tensor):
        raise TypeError(f"{function}: expected {name} as a tensor {wanted}, got {type(image).__name__}")
    if not image.is_floating_point():
        raise TypeError(f"{function}: expected {name} with floating-point values, got {image.dtype}")
    if image.dim() != 3 or image.shape[0] not in channels or image.numel() == 0:
        raise ImageError(f"{function}: expected {name} {wanted} with at least one pixel, got {list(image.shape)}")
    if not bool(torch.isfinite(image).all()):
        raise ImageError(f"{function}: expected {name} with finite values, got NaN or infinity")
    return image
