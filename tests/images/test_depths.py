"""Every depth, byte order, photometric and planar layout of TIFF, and PNG's depths: read rightly, or refused.

The files are written by tifffile, and by hand where it has no such kind; the right values are those that were written.
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
from cnnfast.images.labels import load_labels

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


def packed(array: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Numbers of the rows of [H,...] one after another, each row in whole bytes."""
    if bits in (8, 16, 32):
        return array.astype(f"{order}u{bits // 8}").tobytes()
    digits = (np.reshape(array, (len(array), -1, 1)) >> np.arange(bits)[::-1] & 1).astype(np.uint8)
    return np.packbits(digits.reshape(len(array), -1), axis=1).tobytes()


def write_tiff(path: Path, strips: list[bytes], bits: int, photometric: int, order: str, **more: int) -> None:
    """A TIFF without compression: one strip, or one for each channel."""
    channels, kinds = more.get("channels", 1), {1: "B", 3: "H", 4: "I"}
    ends = np.cumsum([8, *map(len, strips)]).tolist()
    # Number of the tag -> type and values.
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [bits] * channels), 259: (3, [1]), 262: (3, [photometric])}
    tags |= {266: (3, [more.get("fill", 1)]), 273: (4, ends[:-1]), 277: (3, [channels]), 278: (4, [HEIGHT])}
    tags |= {279: (4, list(map(len, strips))), 284: (3, [more.get("planar", 1)])}
    body, entries = b"".join(strips), b""
    for tag, (kind, numbers) in tags.items():
        data = struct.pack(order + kinds[kind] * len(numbers), *numbers)
        if len(data) > 4:
            body, data = body + data, struct.pack(order + "I", 8 + len(body))
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + data.ljust(4, b"\0")
    start = struct.pack(order + "HI", 42, 8 + len(body))
    count = struct.pack(order + "H", len(tags))
    path.write_bytes((b"II" if order == "<" else b"MM") + start + body + count + entries + bytes(4))


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16, 24])
def test_grey_tiff_of_any_bits(tmp_path, bits):
    top, path = 2**bits - 1, tmp_path / "a.tif"
    array = np.random.default_rng(bits).integers(0, top + 1, (HEIGHT, WIDTH))
    opened = False
    for order, photometric, fill in itertools.product("<>", (0, 1), (1, 2)):
        data = packed(array, bits, order)
        if fill == 2:  # bits in a byte from the lowest up
            data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()
        write_tiff(path, [data], bits, photometric, order, fill=fill)
        expected = array / top if photometric else 1 - array / top
        right_or_refused(path, np.repeat(expected[None], 3, 0), refused=False, steps=min(top, 60000))
        try:
            labels = load_labels(path)
        except ImageError as error:
            assert path.name in str(error)
        else:
            opened = True
            assert torch.equal(labels, torch.from_numpy(array)) or (bits == 1 and not photometric)
    assert opened or bits in (6, 10, 14, 24)


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("photometric, channels", [(0, 3), (1, 3), (2, 3), (5, 3), (5, 4)])
def test_tiff_of_channels(tmp_path, photometric, channels, planar):
    path = tmp_path / "a.tif"
    for bits, order in itertools.product((1, 2, 4, 8, 16, 32), "<>"):
        top = 2**bits - 1
        array = np.random.default_rng(bits).integers(0, top + 1, (HEIGHT, WIDTH, channels))
        strips = [array] if planar == 1 else list(np.moveaxis(array, -1, 0))
        strips = [packed(strip, bits, order) for strip in strips]
        write_tiff(path, strips, bits, photometric, order, channels=channels, planar=planar)
        part = np.moveaxis(array / top, -1, 0)
        expected = part if channels == 3 else (1 - part[:3]) * (1 - part[3:])
        right_or_refused(path, expected, refused=(photometric, channels) not in ((2, 3), (5, 4)), steps=120)


def test_tiff_of_lab(tmp_path):
    path, array = tmp_path / "a.tif", np.zeros((HEIGHT, WIDTH, 3), dtype=int)
    array[..., 0] = 136  # L* = 53.3 without a colour: sRGB 0.5
    write_tiff(path, [packed(array, 8)], 8, 8, "<", channels=3)
    right_or_refused(path, np.full((3, HEIGHT, WIDTH), 0.5), refused=False, steps=200)
    load_image(path)
    write_tiff(path, [packed(plane, 8) for plane in np.moveaxis(array, -1, 0)], 8, 8, "<", channels=3, planar=2)
    with pytest.raises(ImageError, match="planes of Lab"):
        load_image(path)


def write_png(path: Path, array: np.ndarray, bits: int, transparent: list[int] | None) -> None:
    """A PNG of grey [H,W] or colours [H,W,3] that marks one of them as transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + packed(row[None], bits) for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, 2 if array.ndim == 3 else 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if transparent is not None:
        parts.insert(1, (b"tRNS", np.array(transparent, dtype=">u2").tobytes()))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_png(tmp_path, bits):
    top = 2**bits - 1
    key = top * 2 // 5
    array = np.array([[0, key, top], [key, top // 2, key]])
    write_png(tmp_path / "a.png", array, bits, [key])
    kept = load_image(tmp_path / "a.png", alpha="keep")
    assert torch.equal(kept[3], torch.from_numpy(array != key).float())
    torch.testing.assert_close(kept[0], torch.from_numpy(array / top).float())
    white = load_image(tmp_path / "a.png")
    assert torch.equal(white[0] == 1, torch.from_numpy((array == key) | (array == top)))


def test_a_transparent_colour_of_png(tmp_path):
    array = np.array([[[1, 2, 3], [1, 2, 4]], [[255, 2, 3], [0, 0, 0]]])
    write_png(tmp_path / "a.png", array, 8, [1, 2, 3])
    assert load_image(tmp_path / "a.png", alpha="keep")[3].tolist() == [[0, 1], [1, 1]]
    # Of 16 bits Pillow keeps 8, which do not tell the marked colour from its neighbours.
    write_png(tmp_path / "b.png", array * 257, 16, [257, 514, 771])
    with pytest.raises(ImageError, match=r"b\.png of 16-bit colours, one of them marked as transparent"):
        load_image(tmp_path / "b.png")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_labels_of_png(tmp_path, bits):
    array = np.arange(6).reshape(2, 3) % 2**bits
    write_png(tmp_path / "a.png", array, bits, None)
    assert torch.equal(load_labels(tmp_path / "a.png"), torch.from_numpy(array))
