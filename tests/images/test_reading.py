"""Pictures of every kind become float32 [3,H,W] in [0,1]."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from cnnfast.images import ImageError, is_grey, load_image
from cnnfast.images.labels import load_labels
from tests.images.image_cases import HEIGHT, WIDTH, bytes_of, noise


class TestModes:
    """Every mode of Pillow, through a file where some format holds it."""

    @pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp", "ppm"])
    def test_rgb_is_exact(self, tmp_path, rgb, suffix):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(rgb).save(path, **({"lossless": True} if suffix == "webp" else {}))
        image = load_image(path)
        assert image.dtype == torch.float32 and image.is_contiguous() and image.shape == (3, HEIGHT, WIDTH)
        np.testing.assert_array_equal(bytes_of(image), rgb)

    def test_grey_and_bilevel(self, tmp_path, rgb):
        Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
        image = load_image(tmp_path / "grey.png")
        assert is_grey(image)
        np.testing.assert_array_equal(bytes_of(image)[..., 0], rgb[..., 0])
        Image.fromarray(rgb[..., 0] > 127).save(tmp_path / "bilevel.png")
        np.testing.assert_array_equal(load_image(tmp_path / "bilevel.png")[0].numpy(), rgb[..., 0] > 127)

    def test_sixteen_bit_grey_keeps_its_depth(self, tmp_path):
        deep = noise(HEIGHT, WIDTH, dtype=np.uint16)
        for name in ("a.png", "a.tif"):
            Image.fromarray(deep).save(tmp_path / name)
            np.testing.assert_allclose(load_image(tmp_path / name)[1], deep / 65535, atol=1e-7)
        big_endian = Image.frombytes("I;16B", (WIDTH, HEIGHT), deep.astype(">u2").tobytes())
        np.testing.assert_allclose(load_image(big_endian)[2], deep / 65535, atol=1e-7)

    def test_whole_numbers_of_32_bit(self):
        values = np.array([[0, 65535, 32768]], dtype=np.int32)
        np.testing.assert_allclose(load_image(Image.fromarray(values))[0], values / 65535, atol=1e-7)
        with pytest.raises(ImageError, match=r"values of 0\.\.65535, got -1 to 7"):
            load_image(Image.fromarray(np.array([[-1, 7]], dtype=np.int32)))

    def test_float_tiff(self, tmp_path):
        values = np.random.default_rng(1).random((HEIGHT, WIDTH), dtype=np.float32)
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(load_image(tmp_path / "a.tif")[0].numpy(), values)
        for wrong in (300.0, -0.5, np.nan):
            values[0, 0] = wrong
            Image.fromarray(values).save(tmp_path / "b.tif")
            with pytest.raises(ImageError, match=r"b\.tif to hold values of 0\.\.1, got"):
                load_image(tmp_path / "b.tif")

    def test_cmyk(self, tmp_path):
        Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tif")
        torch.testing.assert_close(load_image(tmp_path / "a.tif")[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
        torch.testing.assert_close(
            load_image(tmp_path / "a.jpg")[:, 0, 0], torch.tensor([1.0, 0, 0]), atol=0.02, rtol=0
        )

    @pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX"])
    def test_other_colour_spaces(self, mode):
        colour = Image.new("RGB", (3, 3), (200, 60, 30))
        if mode == "LAB":
            to_lab = ImageCms.buildTransform(
                ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
            )
            picture = ImageCms.applyTransform(colour, to_lab)
        else:
            picture = colour.convert(mode)
        expected = torch.tensor([200, 60, 30]) / 255
        torch.testing.assert_close(load_image(picture)[:, 1, 1], expected, atol=0.03, rtol=0)

    def test_palette(self, tmp_path):
        picture = Image.new("P", (2, 1))
        picture.putpalette([10, 20, 30, 200, 100, 50])
        picture.putdata([0, 1])
        picture.save(tmp_path / "a.png")
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png")), [[[10, 20, 30], [200, 100, 50]]])

    @pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
    def test_animation_gives_its_first_frame(self, tmp_path, suffix):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
        image = load_image(tmp_path / f"a.{suffix}")
        torch.testing.assert_close(image[:, 4, 4], torch.tensor([1.0, 0.0, 0.0]))


class TestTransparency:
    def test_white_drop_keep(self, tmp_path):
        picture = Image.new("RGBA", (2, 2), (255, 0, 51, 102))
        picture.save(tmp_path / "a.png")
        opacity = 102 / 255
        white = load_image(tmp_path / "a.png")[:, 0, 0]
        torch.testing.assert_close(white, torch.tensor([1.0, 1 - opacity, 0.2 * opacity + 1 - opacity]))
        drop = load_image(tmp_path / "a.png", alpha="drop")
        torch.testing.assert_close(drop[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))
        keep = load_image(tmp_path / "a.png", alpha="keep")
        torch.testing.assert_close(keep[:, 1, 1], torch.tensor([1.0, 0.0, 0.2, opacity]))

    def test_keep_without_alpha_is_opaque(self, rgb):
        assert (load_image(rgb, alpha="keep")[3] == 1).all()

    @pytest.mark.parametrize("mode", ["LA", "PA", "RGBa", "La"])
    def test_other_modes_with_alpha(self, mode):
        half = Image.new("RGBA", (2, 2), (80, 80, 80, 128))
        picture = half.convert("P").convert("PA") if mode == "PA" else half.convert(mode[:-1] + "A").convert(mode)
        if mode == "PA":
            picture.putalpha(128)
        expected = 80 / 255 * 128 / 255 + 1 - 128 / 255
        torch.testing.assert_close(load_image(picture), torch.full((3, 2, 2), expected), atol=0.005, rtol=0)

    @pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
    def test_one_transparent_colour(self, tmp_path, mode):
        dark = {"P": 0, "L": 40, "RGB": (40, 40, 40), "1": 0}[mode]
        picture = Image.new(mode, (2, 1), dark)
        if mode == "P":
            picture.putpalette([40, 40, 40, 90, 90, 90])
        picture.putpixel((1, 0), {"P": 1, "L": 90, "RGB": (90, 90, 90), "1": 1}[mode])
        picture.save(tmp_path / "a.png", transparency=dark)
        image = load_image(tmp_path / "a.png")
        torch.testing.assert_close(image[:, 0, 0], torch.ones(3))
        torch.testing.assert_close(image[:, 0, 1], torch.full((3,), 1.0 if mode == "1" else 90 / 255))
        assert load_image(tmp_path / "a.png", alpha="keep")[3].tolist() == [[0.0, 1.0]]

    def test_unknown_choice(self, rgb):
        with pytest.raises(ValueError, match='expected alpha "white", "drop" or "keep", got \'black\''):
            load_image(rgb, alpha="black")


def linear_light_profile() -> bytes:
    """An RGB profile with sRGB's primaries and a linear curve: the curves of the built-in one replaced by gamma 1."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", profile[128:132])[0]):
        start = 132 + 12 * index
        if profile[start + 1 : start + 4] == b"TRC":
            offset = struct.unpack(">I", profile[start + 4 : start + 8])[0]
            profile[offset : offset + 12] = b"curv" + bytes(4) + struct.pack(">I", 0)
            profile[start + 8 : start + 12] = struct.pack(">I", 12)
    return bytes(profile)


class TestOrientationAndProfiles:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif(self, tmp_path, rgb, orientation):
        picture = Image.fromarray(rgb)
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(tmp_path / "a.png", exif=exif)
        upright = [
            rgb, rgb[:, ::-1], rgb[::-1, ::-1], rgb[::-1], rgb.transpose(1, 0, 2),
            rgb[::-1].transpose(1, 0, 2), rgb[::-1, ::-1].transpose(1, 0, 2), rgb[:, ::-1].transpose(1, 0, 2),
        ]  # fmt: skip
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png")), upright[orientation - 1])

    @pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_pixels_as_they_are_stored(self, tmp_path, rgb, kind, orientation):
        """Pillow turns TIFFs when it loads them."""
        path = tmp_path / f"a.{kind}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(rgb).save(path, quality=100, subsampling=0)
        expected = load_image(path)
        Image.fromarray(rgb).save(path, quality=100, subsampling=0, exif=exif)
        assert torch.equal(load_image(path, upright=False), expected)
        assert load_image(path).shape[1:] == expected.shape[1:][:: 1 if orientation < 5 else -1]
        if kind != "jpg":
            Image.fromarray(rgb[..., 0]).save(path, exif=exif)
            np.testing.assert_array_equal(load_labels(path).numpy(), rgb[..., 0])
            np.testing.assert_array_equal(bytes_of(load_image(path, upright=False)), rgb[..., [0, 0, 0]])

    def test_srgb_profile_changes_nothing(self, tmp_path, rgb):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png")), rgb)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_other_profile_is_converted(self, tmp_path, mode):
        picture = Image.new(mode, (4, 4), (128, 128, 128) + (77,) * (mode == "RGBA"))
        picture.save(tmp_path / "a.png", icc_profile=linear_light_profile())
        image = load_image(tmp_path / "a.png", alpha="keep")
        # A linear 128/255 is 0.7353 in sRGB: 1.055 x^(1/2.4) - 0.055.
        torch.testing.assert_close(image[:3], torch.full((3, 4, 4), 0.7353), atol=0.006, rtol=0)
        torch.testing.assert_close(image[3], torch.full((4, 4), 77 / 255 if mode == "RGBA" else 1.0))

    def test_damaged_profile_is_named_and_ignored(self, tmp_path, rgb, caplog):
        Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=b"no profile at all")
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png")), rgb)
        assert "a.png: its colour profile is ignored" in caplog.text

    def test_profile_of_another_mode_is_ignored(self, tmp_path, rgb, caplog):
        Image.fromarray(rgb[..., 0]).save(tmp_path / "a.png", icc_profile=linear_light_profile())
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png"))[..., 0], rgb[..., 0])
        assert "ignored" in caplog.text

    def test_damaged_exif_still_gives_the_picture(self, tmp_path, rgb):
        Image.fromarray(rgb).save(tmp_path / "a.png", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00\x01")
        np.testing.assert_array_equal(bytes_of(load_image(tmp_path / "a.png")), rgb)


class TestArraysAndTensors:
    @pytest.mark.parametrize(
        "dtype, top", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1), (bool, 1)]
    )
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
    def test_arrays(self, dtype, top, shape):
        values = np.random.default_rng(2).random(shape)
        array = values > 0.5 if dtype is bool else (values * top).astype(dtype)
        expected = np.broadcast_to(np.atleast_3d(array / top).transpose(2, 0, 1), (3, 4, 5))
        np.testing.assert_allclose(load_image(array), expected, atol=1e-6)
        channels_first = np.atleast_3d(array).transpose(2, 0, 1)
        np.testing.assert_allclose(load_image(torch.from_numpy(channels_first.copy())), expected, atol=1e-6)

    def test_input_is_never_changed_and_never_shared(self):
        tensor = torch.rand(3, 4, 5)
        before = tensor.clone()
        load_image(tensor).zero_()
        assert torch.equal(tensor, before)
        array = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
        kept = array.copy()
        load_image(array).zero_()
        np.testing.assert_array_equal(array, kept)

    def test_strided_read_only_and_batch_of_one(self, rgb):
        flipped = rgb[::-1, ::2]
        flipped.flags.writeable = False
        np.testing.assert_array_equal(bytes_of(load_image(flipped)), flipped)
        assert load_image(torch.rand(1, 3, 4, 5, requires_grad=True)).shape == (3, 4, 5)

    @pytest.mark.parametrize(
        "source, error",
        [
            (np.zeros((2, 3, 5)), ImageError),
            (np.zeros((0, 3, 3)), ImageError),
            (np.zeros(3), ImageError),
            (np.full((2, 2), 1.5), ImageError),
            (np.full((2, 2), -0.1), ImageError),
            (np.full((2, 2), np.nan), ImageError),
            (np.zeros((2, 2), dtype=np.int64), TypeError),
            (np.zeros((2, 2), dtype=complex), TypeError),
            (np.array(["a"]).reshape(1, 1), TypeError),
            (torch.zeros(5, 4, 4), ImageError),
            (torch.zeros(2, 3, 4, 4), ImageError),
            (torch.zeros(3, 0, 4), ImageError),
            (torch.full((3, 2, 2), float("inf")), ImageError),
            (torch.full((3, 2, 2), 255.0), ImageError),
            (torch.zeros(3, 2, 2, dtype=torch.int32), TypeError),
            (b"bytes", TypeError),
            (None, TypeError),
            (7, TypeError),
        ],
    )
    def test_wrong_ones(self, source, error):
        with pytest.raises(error, match=r"^load_image: expected .*, got ") as caught:
            load_image(source)
        assert "\n" not in str(caught.value)
