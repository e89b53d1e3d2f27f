"""Pillow pictures and files to tensors. Imported only where Pillow is known to be there."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnfast._files import is_url, problem_of
from cnnfast._memory import available_memory
from cnnfast.images.errors import ImageError
from cnnfast.images.limits import MAX_PIXELS, check_range
from cnnfast.images.srgb import srgb_profile

logger = logging.getLogger(__name__)

_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_TRANSPARENT = ("La", "PA", "RGBa")
# Greys of 2 and 4 bits, as Pillow begins their names in files, and the factor by which it brings them to 8 bits.
_FEW_BITS = {"L;2": 85, "L;4": 17}
# Numbers of TIFF's tags.
_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 259, 262, 284, 339
_LAB = 8  # as the tag "photometric"
_RUN_PROGRAMS = ("EPS",)  # read by Ghostscript, which a picture of unknown origin should not start
# Decoded and converted picture of Pillow (4 + 4), one channel (1), the tensor (12), and what composing alpha adds.
_BYTES_PER_PIXEL = 24
# EXIF orientation -> what undoes the turn that it asks for.
_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# What helps for kinds of pictures that Pillow does not read.
_CURES = dict.fromkeys((".heic", ".heif", ".hif"), ": convert it to JPEG or PNG, say with heif-convert")
_CURES |= dict.fromkeys((".svg", ".svgz", ".pdf", ".ai"), ": export the drawing as PNG, in the size that you want")
_CURES |= dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf"), ": develop the raw picture to TIFF or JPEG")
_lock = threading.Lock()


def from_file(path: str | os.PathLike[str], upright: bool = True) -> Tensor:
    """The picture in a file as [C,H,W] float32 in [0,1]: grey, grey and alpha, RGB, or RGB and alpha."""
    path = Path(path)
    _check_file(path)
    with _one_line_errors(str(path)), _open(path) as image:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            logger.warning("%s: the first of its %d frames is taken", path, frames)
        return _to_tensor(image, str(path), upright)


def labels_from_file(path: str | os.PathLike[str]) -> Tensor:
    """The numbers in a file of one channel as [H,W] int64: of a palette the indices, not the colours."""
    path = Path(path)
    _check_file(path)
    with _one_line_errors(str(path)), _open(path) as image:
        _check_pixels(*image.size, str(path))
        if image.mode not in ("1", "L", "P", "I", *_SIXTEEN_BIT):
            raise ImageError(f"load_labels: expected one channel of whole numbers, got {path} of {image.mode}")
        tags = dict(getattr(image, "tag_v2", {}))
        _check_tiff(tags, str(path), "load_labels")
        if image.mode != "1" and tags.get(_PHOTOMETRIC, 1) == 0:
            raise ImageError(f"load_labels: expected a TIFF whose zero is black, got {path} whose zero is white")
        factor = _FEW_BITS.get(_raw_mode(image)[:3], 1)
        return torch.from_numpy(np.asarray(_as_stored(image)).astype(np.int64) // factor)


def from_picture(image: Image.Image, upright: bool = True) -> Tensor:
    """A Pillow picture, likewise."""
    with _one_line_errors("the given picture"):
        return _to_tensor(image, "the given picture", upright)


@contextmanager
def _one_line_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        cure = _CURES.get(Path(name).suffix.lower(), "")
        raise ImageError(f"load_image: expected a picture, got {name} which is of no known kind{cure}") from error
    except MemoryError as error:
        raise ImageError(f"load_image: expected a picture that fits into memory, got {name}") from error
    except Exception as error:  # for damaged files decoders raise nearly every type there is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"load_image: expected a whole picture, got {name} which is damaged: {reason}") from error


def _to_tensor(image: Image.Image, name: str, upright: bool) -> Tensor:
    _check_pixels(*image.size, name)
    profile, tags = image.info.get("icc_profile"), dict(getattr(image, "tag_v2", {}))
    _check_tiff(tags, name, "load_image")
    raw = _raw_mode(image)
    image = ImageOps.exif_transpose(image) if upright else _as_stored(image)
    if image.mode in _SIXTEEN_BIT or image.mode in ("I", "F"):
        top = 4095 if raw == "I;12" else 65535
        return _deep_grey(image, name, top, white_is_zero=tags.get(_PHOTOMETRIC, 1) == 0)
    image = _to_srgb(_plain_mode(_with_key(image, raw, name), name), profile, name)
    bands = torch.empty(len(image.getbands()), image.height, image.width)
    for index, band in enumerate(bands):
        band.copy_(torch.from_numpy(np.array(image.getchannel(index))))
    return bands.div_(255)


def _check_file(path: Path) -> None:
    """Raise for anything but a readable file before Pillow opens it: reading from a pipe would block."""
    if is_url(path):
        raise ImageError(f"load_image: expected a file, got the address {path}: download it first")
    if problem := problem_of(path):
        if problem.startswith("may not be read"):
            raise ImageError(f"load_image: expected a readable file, got {path} which {problem}")
        raise ImageError(f"load_image: expected a picture, got {path} which {problem}")


def _open(path: Path) -> Image.Image:
    """Read a file's header, without Pillow's own limit of pixels, for `_check_pixels` is called before decoding."""
    Image.init()
    kinds = [kind for kind in Image.ID if kind not in _RUN_PROGRAMS]
    with _lock:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=kinds)
        finally:
            Image.MAX_IMAGE_PIXELS = usual
    if isinstance(image, ImageFile.ImageFile) and image.format == "TIFF":
        # Pillow (13.0) maps a file that has a name into memory, with the sides of the turned picture: nonsense for EXIF
        # orientations of 5 and more.
        image.filename = ""
    return image


def _check_pixels(width: int, height: int, name: str) -> None:
    """Raise, before anything is decoded, for a picture without pixels, or with too many for the limit or for memory."""
    pixels = width * height
    if pixels == 0:
        raise ImageError(f"load_image: expected a picture with at least one pixel, got {name} of {width}x{height}")
    if pixels > MAX_PIXELS:
        limit = f"{MAX_PIXELS:.0e}"
        raise ImageError(f"load_image: expected at most {limit} pixels, got {name} of {width}x{height}")
    free = available_memory()
    if free is not None and pixels * _BYTES_PER_PIXEL > free:
        needed, left = (f"{amount / 1e9:.1f} GB" for amount in (pixels * _BYTES_PER_PIXEL, free))
        raise ImageError(
            f"load_image: expected a picture that fits into {left} of free memory, "
            f"got {name} of {width}x{height} which needs {needed}"
        )


def _as_stored(image: Image.Image) -> Image.Image:
    """The pixels in the order of the file: Pillow turns TIFFs when it loads them, other pictures only when asked to."""
    if image.format != "TIFF":
        return image
    method = _TURNED_BACK.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image.load()
    return image if method is None else image.transpose(method)


def _raw_mode(image: Image.Image) -> str:
    """The arrangement of the numbers in a file that is not decoded yet, in Pillow's words, say "L;4"; else ""."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _with_key(image: Image.Image, raw: str, name: str) -> Image.Image:
    """A PNG whose transparent colour is in the units of its pixels: Pillow (13.0) leaves it in those of the file."""
    key = image.info.get("transparency")
    if raw == "RGB;16B" and isinstance(key, tuple):
        raise ImageError(
            f"load_image: expected a picture that Pillow reads rightly, got {name} of 16-bit colours, one of them "
            "marked as transparent, of which Pillow keeps 8 bits; convert it first"
        )
    if raw not in _FEW_BITS or not isinstance(key, int):
        return image
    image = image.copy()
    image.info["transparency"] = key * _FEW_BITS[raw]
    return image


def _check_tiff(tags: dict[int, Any], name: str, function: str) -> None:
    """Refuse what Pillow (13.0) opens and reads wrongly.

    That is signed numbers of 8 and 16 bits, 16-bit colours plane by plane without compression, Lab plane by plane, and
    32 bits whose zero is white.
    """
    bits = tags.get(_BITS, (1,))
    kinds = tags.get(_SAMPLE_FORMAT, (1,))
    deepest = max(bits if isinstance(bits, tuple) else (bits,))
    signed = 2 in (kinds if isinstance(kinds, tuple) else (kinds,))
    if signed and deepest <= 16:
        got = f"signed numbers of {deepest} bits"
    elif deepest == 16 and tags.get(_PLANAR, 1) == 2 and tags.get(_COMPRESSION, 1) == 1:
        got = "uncompressed planes of 16 bits"
    elif tags.get(_PHOTOMETRIC) == _LAB and tags.get(_PLANAR, 1) == 2:
        got = "planes of Lab"
    elif deepest == 32 and tags.get(_PHOTOMETRIC, 1) == 0:
        got = "32 bits whose zero is white"
    else:
        return
    raise ImageError(f"{function}: expected a TIFF that Pillow reads rightly, got {name} of {got}; convert it first")


def _deep_grey(image: Image.Image, name: str, top: int, *, white_is_zero: bool) -> Tensor:
    """One channel of whole numbers up to top, or of floats, and alpha where a grey is marked as transparent.

    Colour profiles of such depth are not supported.
    """
    values = torch.from_numpy(np.asarray(image).astype(np.float64 if image.mode == "I" else np.float32))[None]
    transparent = image.info.get("transparency")
    marked = isinstance(transparent, int) and image.mode in _SIXTEEN_BIT
    opacity = values.ne(float(transparent or 0)).float() if marked else None
    result = check_range(values, f"{name} to hold", unit=1 if image.mode == "F" else top).float()
    if white_is_zero:
        result = 1 - result
    return result if opacity is None else torch.cat([result, opacity])


def _plain_mode(image: Image.Image, name: str) -> Image.Image:
    """A picture of mode L, LA, RGB, RGBA or CMYK."""
    if image.has_transparency_data or image.mode in _TRANSPARENT:
        return image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode == "1":
        return image.convert("L")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"load_image: expected a picture of a known mode, got {name} of {image.mode}") from error


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Colours brought from the embedded profile to sRGB; alpha is carried over untouched."""
    opacity = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colour = image if opacity is None else image.convert(image.mode[:-1])
    if profile and profile != srgb_profile():  # what save_image embeds needs no conversion, which rounds
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(colour, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImportError, OSError, ImageCms.PyCMSError) as error:
            logger.warning("%s: its colour profile is ignored: %s", name, " ".join(str(error).split()))
        else:
            colour = converted or colour
    if colour.mode == "CMYK":
        colour = colour.convert("RGB")
    if opacity is not None:
        colour = colour.copy()
        colour.putalpha(opacity)
    return colour
