"""Files say that their colours are sRGB, in the same bytes at every time, and are read as they were written."""

from __future__ import annotations

import io

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("tifffile")

from PIL import Image, ImageCms

from cnnfast.images import load_image, save_image
from cnnfast.images.srgb import srgb_profile

PICTURE = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.tif", 8), ("a.tif", 16)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_files(tmp_path, name, bits, channels):
    picture = torch.cat([PICTURE, PICTURE[:1]])[:channels]
    save_image(picture, tmp_path / name, bits=bits)
    steps = 255 if bits == 8 or name == "a.png" or channels > 1 else 65535
    read = load_image(tmp_path / name, alpha="keep")
    expected = picture if channels == 4 else torch.cat([picture.expand(3, -1, -1), torch.ones(1, 12, 10)])
    torch.testing.assert_close(read, expected, rtol=0, atol=1.01 / steps)
    with Image.open(tmp_path / name) as image:
        if name == "a.png":
            assert image.info["srgb"] == 0
        else:
            assert (image.info.get("icc_profile") == srgb_profile()) == (channels > 1)
    before = (tmp_path / name).read_bytes()
    save_image(picture, tmp_path / name, bits=bits)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_files(tmp_path, name):
    save_image(PICTURE, tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.info["icc_profile"] == srgb_profile()


def test_the_profile_does_not_tell_the_time():
    assert srgb_profile()[24:36] == bytes.fromhex("07ea 0001 0001 0000 0000 0000")


def test_the_profile_is_one():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    grey = Image.new("RGB", (2, 2), (10, 128, 200))
    back = ImageCms.profileToProfile(grey, profile, ImageCms.createProfile("sRGB"))
    assert back.getpixel((0, 0)) == (10, 128, 200)
