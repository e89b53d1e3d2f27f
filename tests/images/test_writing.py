"""Saving: formats, rounding, and files that are whole or not there."""

from __future__ import annotations

import errno
import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnfast.images import ImageError, load_image, save_image
from tests.images.image_cases import bytes_of, noise


def read_sixteen_bits(path: Path, channels: int) -> np.ndarray:
    """[H,W,C] of uint16; a PNG is parsed here, not by the library that wrote it."""
    if path.suffix == ".tif":
        import tifffile

        return tifffile.imread(path).reshape(5, 4, channels)
    content, parts = io.BytesIO(path.read_bytes()[8:]), {}
    while head := content.read(8):
        length, name = struct.unpack(">I4s", head)
        parts[name] = content.read(length)
        assert struct.unpack(">I", content.read(4))[0] == zlib.crc32(name + parts[name])
    assert struct.unpack(">IIBB", parts[b"IHDR"][:10]) == (4, 5, 16, {1: 0, 3: 2, 4: 6}[channels])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(5, -1)
    assert (rows[:, 0] == 0).all()
    return np.frombuffer(rows[:, 1:].tobytes(), ">u2").reshape(5, 4, channels)


class TestSaving:
    @pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "bmp", "PNG"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_lossless_round_trip(self, tmp_path, suffix, channels):
        image = torch.from_numpy(noise(channels, 7, 5)).float() / 255
        save_image(image, tmp_path / f"a.{suffix}")
        assert torch.equal(load_image(tmp_path / f"a.{suffix}"), image.expand(3, 7, 5))

    def test_clamps_and_rounds(self, tmp_path):
        values = torch.tensor([-3.0, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 7.0]).expand(3, 1, 6)
        save_image(values, tmp_path / "a.png")
        assert bytes_of(load_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]

    def test_png_without_ending(self, tmp_path):
        save_image(torch.rand(3, 4, 4), tmp_path / "picture")
        assert Image.open(tmp_path / "picture").format == "PNG"

    def test_jpeg_keeps_full_colour_resolution(self, tmp_path):
        save_image(torch.rand(3, 16, 16), tmp_path / "a.jpg")
        with Image.open(tmp_path / "a.jpg") as picture:
            assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3
        smooth = torch.linspace(0.2, 0.8, 16).expand(3, 16, 16)
        save_image(smooth, tmp_path / "b.jpg")
        torch.testing.assert_close(load_image(tmp_path / "b.jpg"), smooth, atol=0.012, rtol=0)

    def test_alpha(self, tmp_path):
        image = torch.from_numpy(noise(4, 5, 6)).float() / 255
        save_image(image, tmp_path / "a.png")
        assert torch.equal(load_image(tmp_path / "a.png", alpha="keep"), image)
        with pytest.raises(ImageError, match="three channels for JPEG"):
            save_image(image, tmp_path / "a.jpg")

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_sixteen_bits(self, tmp_path, suffix, channels):
        deep = noise(channels, 5, 4, dtype=np.uint16)
        save_image(torch.from_numpy(deep).double() / 65535, tmp_path / f"a.{suffix}", bits=16)
        stored = read_sixteen_bits(tmp_path / f"a.{suffix}", channels)
        np.testing.assert_array_equal(stored, deep.transpose(1, 2, 0))
        image = load_image(tmp_path / f"a.{suffix}", alpha="keep" if channels == 4 else "white")
        np.testing.assert_allclose(image, np.broadcast_to(deep / 65535, image.shape), atol=1 / 255)

    @pytest.mark.parametrize("package, suffix", [("numpngw", "png"), ("tifffile", "tif")])
    def test_without_the_library_for_sixteen_bits(self, tmp_path, monkeypatch, package, suffix):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"the package {package} to write 16-bit .*pip install"):
            save_image(torch.zeros(3, 4, 4), tmp_path / f"a.{suffix}", bits=16)
        assert not list(tmp_path.iterdir())

    def test_disk_full_leaves_the_old_file_of_sixteen_bits(self, tmp_path, monkeypatch):
        save_image(torch.zeros(3, 4, 4), tmp_path / "a.png", bits=16)
        before = (tmp_path / "a.png").read_bytes()

        def full(file, _array, **_options):
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("numpngw.write_png", full)
        with pytest.raises(ImageError, match="disk full"):
            save_image(torch.ones(3, 4, 4), tmp_path / "a.png", bits=16)
        assert (tmp_path / "a.png").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_values_that_are_not_finite(self, tmp_path, value):
        image = torch.rand(3, 4, 4)
        image[1, 2, 3] = value
        with pytest.raises(ImageError, match="finite values, got NaN or infinity"):
            save_image(image, tmp_path / "a.png")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "image, options, error",
        [
            (torch.zeros(2, 4, 4), {}, ImageError),
            (torch.zeros(4, 4), {}, ImageError),
            (torch.zeros(3, 0, 4), {}, ImageError),
            (torch.zeros(2, 3, 4, 4), {}, ImageError),
            (torch.zeros(3, 4, 4, dtype=torch.uint8), {}, TypeError),
            (np.zeros((3, 4, 4)), {}, TypeError),
            (torch.zeros(3, 4, 4), {"quality": 0}, ValueError),
            (torch.zeros(3, 4, 4), {"bits": 12}, ValueError),
        ],
    )
    def test_wrong_ones(self, tmp_path, image, options, error):
        with pytest.raises(error, match=r"^save_image: expected .*, got "):
            save_image(image, tmp_path / "a.png", **options)
        assert not list(tmp_path.iterdir())

    def test_unknown_ending_and_depth(self, tmp_path):
        with pytest.raises(ImageError, match=r"ending in \.png, .*, got .*a\.xyz"):
            save_image(torch.zeros(3, 4, 4), tmp_path / "a.xyz")
        with pytest.raises(ValueError, match="16 for PNG and TIFF, got 16 for JPEG"):
            save_image(torch.zeros(3, 4, 4), tmp_path / "a.jpg", bits=16)

    def test_places_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        for path in (tmp_path, tmp_path / "none" / "a.png", tmp_path / "file" / "a.png", "/proc/a.png"):
            if path is tmp_path:
                path = tmp_path / "folder.png"
                path.mkdir()
            with pytest.raises(ImageError, match=f"expected to write {path}, got: "):
                save_image(torch.zeros(3, 4, 4), path)
