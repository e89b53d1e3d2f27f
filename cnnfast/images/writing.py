"""Pictures to files, written atomically."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from cnnfast._atomic import atomic_write
from cnnfast._rooms import missing_package
from cnnfast.images.errors import ImageError, check_picture, check_pillow
from cnnfast.images.srgb import srgb_profile, with_srgb_chunk

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = {
    ".png": "PNG",
    "": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}


def picture_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that the ending of `path` asks for.

    Raises:
        ImageError: an ending that is not one of ours.

    Example:
        >>> from cnnfast.images.writing import picture_format
        >>> picture_format("a.jpg"), picture_format("a")
        ('JPEG', 'PNG')
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(name for name in _FORMATS if name)
        raise ImageError(f"save_image: expected a path ending in {known}, got {os.fspath(path)}")
    return _FORMATS[suffix]


def save_image(image: Tensor, path: str | os.PathLike[str], *, quality: int = 95, bits: int = 8) -> None:
    """Write a picture; the file is replaced as a whole or stays as it was.

    Values are clamped to [0,1] and rounded to the nearest of 2^bits - 1 steps. The file says that its colours are sRGB:
    PNG by its chunk of that name, JPEG, WebP and TIFF of colours by an ICC profile. JPEG keeps full colour resolution
    (4:4:4).

    Args:
        image: [1|3|4,H,W] or [1,1|3|4,H,W] floating point: grey, RGB, or RGB and alpha.
        path: file whose ending chooses the format: .png, .jpg, .jpeg, .tif, .tiff, .webp, .bmp; without one it is PNG.
        quality: of JPEG and WebP, 1..100.
        bits: 8, or 16 for PNG and TIFF.

    Raises:
        ImageError: NaN or infinite values, a wrong shape, an unknown ending, alpha in a format without it, or the file
            cannot be written (folder missing or not writable, disk full).
        TypeError: not a floating-point tensor.
        ValueError: quality or bits out of range.
        ImportError: Pillow, or numpngw for 16-bit PNG, or tifffile for 16-bit TIFF, is not installed.

    Example:
        >>> import tempfile, torch
        >>> from cnnfast.images import load_image, save_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(torch.full((3, 4, 5), 0.2), f"{folder}/a.png")
        ...     load_image(f"{folder}/a.png")[0, 0, 0]
        tensor(0.2000)
    """
    check_pillow("save_image")
    if isinstance(image, Tensor) and image.dim() == 4 and image.shape[0] == 1:
        image = image[0]
    check_picture("save_image", image, (1, 3, 4))
    kind = picture_format(path)
    if not 1 <= quality <= 100:
        raise ValueError(f"save_image: expected quality in 1..100, got {quality}")
    if bits != 8 and (bits != 16 or kind not in ("PNG", "TIFF")):
        raise ValueError(f"save_image: expected bits 8, or 16 for PNG and TIFF, got {bits} for {kind}")
    if image.shape[0] == 4 and kind in ("JPEG", "BMP"):
        raise ImageError(f"save_image: expected three channels for {kind}, which has no alpha, got four")
    write = _encoder(_to_integers(image, bits), kind, quality)
    try:
        with atomic_write(path) as temporary:
            write(temporary)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ImageError(f"save_image: expected to write {os.fspath(path)}, got: {reason}") from error


def _to_integers(image: Tensor, bits: int) -> np.ndarray:
    """[C,H,W] to an array [H,W] or [H,W,C] of uint8 or uint16."""
    top = 2**bits - 1
    whole = image.detach().cpu().double().clamp(0, 1).mul(top).round()
    array = whole.permute(1, 2, 0).contiguous().numpy().astype(np.uint8 if bits == 8 else np.uint16)
    return array[..., 0] if array.shape[2] == 1 else array


def _encoder(array: np.ndarray, kind: str, quality: int) -> Callable[[Path], Any]:
    if array.dtype == np.uint8:
        from PIL import Image

        # Grey pictures have no profile, for this one is of three channels.
        profile = {"icc_profile": srgb_profile()} if array.ndim == 3 else {}
        options: dict[str, dict[str, Any]] = {
            "JPEG": {"quality": quality, "subsampling": 0, **profile},
            "WEBP": {"quality": quality, **profile},
            "TIFF": {"compression": "tiff_adobe_deflate", **profile},
        }
        return lambda path: _save(Image.fromarray(array), path, kind, options.get(kind, {}))
    # Pillow writes 16 bits a channel for grey pictures only.
    if kind == "PNG":
        return partial(_write_png16, _import_writer("numpngw", kind).write_png, array)
    grey = array.ndim == 2
    options16 = {"photometric": "minisblack"} if grey else {"photometric": "rgb", "iccprofile": srgb_profile()}
    imwrite = _import_writer("tifffile", kind).imwrite
    return lambda path: imwrite(path, array, compression="zlib", **options16)


def _save(image: Image.Image, path: Path, kind: str, options: dict[str, Any]) -> None:
    """By way of memory, since Pillow does not notice when a disk takes only a part of the last bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    path.write_bytes(with_srgb_chunk(buffer.getvalue()) if kind == "PNG" else buffer.getbuffer())


def _write_png16(write_png: Callable[..., Any], array: np.ndarray, path: Path) -> None:
    buffer = io.BytesIO()
    write_png(buffer, array, filter_type=0)  # by default it compresses six times, to find the best filter
    path.write_bytes(with_srgb_chunk(buffer.getvalue()))


def _import_writer(package: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise missing_package("save_image", package, f"to write 16-bit {kind}") from error
