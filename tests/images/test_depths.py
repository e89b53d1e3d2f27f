"""Every depth, byte order, photometric and planar layout of TIFF, and PNG's depths: read rightly, or refused.

The files are written by tifffile and, for PNG, by hand; the right values are those that were written.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("tifffile")

import tifffile

from cnnfast.images import ImageError, load_image

HEIGHT, WIDTH = 7, 9
# Kinds of numbers that TIFF readers do not agree about, or that Pillow does not know.
REFUSED = {"int8", "int16", "float16", "float64"}
GREY = ["bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]


def values(dtype: str, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Random numbers of a type, and what they mean in [0,1]: whole numbers above 16 bits count up to 65535."""
    part, kind = np.random.default_rng(0).random(shape), np.dtype(dtype)
    if kind.kind == "f":
        return part.astype(kind), part
    if kind.kind == "b":
        return part < 0.5, (part < 0.5).astype(float)
    top = min(int(np.iinfo(kind).max), 65535)
    array = (part * top).astype(kind)
    return array, array / top


def right_or_refused(path: Path, expected: np.ndarray, *, refused: bool, steps: int = 65535) -> None:
    """The picture equals expected [3,H,W] to half a step, or is refused in one line that names it."""
    try:
        picture = load_image(path).numpy()
    except ImageError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return
    assert not refused
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1.01 / steps)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", GREY)
def test_grey_tiff(tmp_path, dtype, photometric):
    array, right = values(dtype, HEIGHT, WIDTH)
    expected = np.repeat((right if photometric == "minisblack" else 1 - right)[None], 3, 0)
    for order, compression in itertools.product("<>", (None, "zlib")):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, array, byteorder=order, compression=compression, photometric=photometric)
        right_or_refused(path, expected, refused=dtype in REFUSED, steps=255 if dtype in ("bool", "uint8") else 60000)
    # The usual kinds are read, not refused.
    if dtype in ("bool", "uint8") or (dtype in ("uint16", "float32") and photometric == "minisblack"):
        tifffile.imwrite(path, array, photometric=photometric)
        load_image(path)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("alpha", [False, True])
def test_colour_tiff(tmp_path, dtype, planar, alpha):
    array, right = values(dtype, HEIGHT, WIDTH, 4 if alpha else 3)
    expected = right[..., :3] * right[..., 3:] + (1 - right[..., 3:]) if alpha else right
    data = array if planar == "contig" else np.ascontiguousarray(array.transpose(2, 0, 1))
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    for order, compression in itertools.product("<>", (None, "zlib")):
        path = tmp_path / "a.tif"
        options = {"byteorder": order, "compression": compression, "planarconfig": planar, **extra}
        tifffile.imwrite(path, data, photometric="rgb", **options)
        # Of 16 bits a colour Pillow keeps 8.
        right_or_refused(path, expected.transpose(2, 0, 1), refused=dtype == "float32", steps=120)
    if dtype == "uint8":
        load_image(path)


def write_png(path: Path, array: np.ndarray, bits: int, transparent: int) -> None:
    """A grey PNG of 8 or 16 bits that marks a grey as transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_of_png(tmp_path, bits):
    top = 2**bits - 1
    array = np.array([[0, 100, top], [100, 200, 100]])
    write_png(tmp_path / "a.png", array, bits, 100)
    kept = load_image(tmp_path / "a.png", alpha="keep")
    assert torch.equal(kept[3], torch.from_numpy(array != 100).float())
    torch.testing.assert_close(kept[0], torch.from_numpy(array / top).float())
    white = load_image(tmp_path / "a.png")
    assert torch.equal(white[0] == 1, torch.from_numpy((array == 100) | (array == top)))
