"""Pictures of every kind in, whole pictures out."""

from __future__ import annotations

import errno
import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from cnnfast import images
from cnnfast.images import ImageError, is_grey, load_image, match_histogram, resize, save_image, side_by_side, size_for

HEIGHT, WIDTH = 6, 9


def noise(*shape: int, dtype=np.uint8, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def rgb() -> np.ndarray:
    return noise(HEIGHT, WIDTH, 3)


def bytes_of(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


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


class TestBadFiles:
    def refused(self, path: os.PathLike | str, words: str) -> None:
        with pytest.raises(ImageError, match=words) as caught:
            load_image(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_missing_directory_empty_pipe(self, tmp_path):
        self.refused(tmp_path / "none.png", "does not exist")
        self.refused(tmp_path, "a directory")
        (tmp_path / "empty.png").touch()
        self.refused(tmp_path / "empty.png", "empty")
        os.mkfifo(tmp_path / "pipe.png")
        self.refused(tmp_path / "pipe.png", "no regular file")
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
        self.refused(tmp_path / "loop.png", "loop.png")
        self.refused(tmp_path / ("x" * 300), "name too long")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"x")
        (tmp_path / "a.png").chmod(0)
        self.refused(tmp_path / "a.png", "Permission denied")

    def test_permission_error_of_the_system(self, tmp_path, monkeypatch):
        (tmp_path / "a.png").write_bytes(b"x")

        def refuse(*_args, **_options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
        self.refused(tmp_path / "a.png", "Permission denied")

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
    def test_cut_off_anywhere(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(noise(40, 40, 3)).save(path)
        whole = path.read_bytes()
        for share in (0.002, 0.05, 0.3, 0.8):
            path.write_bytes(whole[: max(1, int(len(whole) * share))])
            self.refused(path, "damaged|no known kind")

    def test_other_contents(self, tmp_path):
        for content in (b"text, and no picture\n", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(64), b"GIF89a"):
            (tmp_path / "a.png").write_bytes(content)
            self.refused(tmp_path / "a.png", "damaged|no known kind")

    def test_postscript_starts_no_program(self, tmp_path):
        (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
        self.refused(tmp_path / "a.eps", "no known kind")

    @pytest.mark.parametrize("width, height", [(100_000, 100_000), (40_000, 30_000), (2**31 - 1, 2**31 - 1)])
    def test_decompression_bomb_is_refused_before_decoding(self, tmp_path, width, height):
        (tmp_path / "bomb.png").write_bytes(png_header(width, height))
        self.refused(tmp_path / "bomb.png", r"at most 1e\+09 pixels, got ")

    def test_more_than_memory_is_refused_before_decoding(self, tmp_path, monkeypatch):
        monkeypatch.setattr("cnnfast.images._pillow.available_memory", lambda: 10**9)
        (tmp_path / "big.png").write_bytes(png_header(20_000, 20_000))
        self.refused(tmp_path / "big.png", r"1\.0 GB of free memory, got .* of 20000x20000 which needs 9\.6 GB")

    def test_pillows_own_limit_is_left_alone(self, tmp_path, monkeypatch, recwarn):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        Image.fromarray(noise(20, 20, 3)).save(tmp_path / "a.png")
        assert load_image(tmp_path / "a.png").shape == (3, 20, 20)
        assert Image.MAX_IMAGE_PIXELS == 10 and not recwarn.list

    def test_from_several_threads(self, tmp_path):
        Image.fromarray(noise(30, 30, 3)).save(tmp_path / "a.png")
        loaded = []
        threads = [threading.Thread(target=lambda: loaded.append(load_image(tmp_path / "a.png"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(loaded) == 8 and all(torch.equal(image, loaded[0]) for image in loaded)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


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

    def test_disk_full_leaves_the_old_file(self, tmp_path, monkeypatch):
        save_image(torch.zeros(3, 4, 4), tmp_path / "a.png")
        before = (tmp_path / "a.png").read_bytes()

        def full(_picture, path, **_options):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(ImageError, match="No space left on device"):
            save_image(torch.ones(3, 4, 4), tmp_path / "a.png")
        assert (tmp_path / "a.png").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def read_sixteen_bits(path: Path, channels: int) -> np.ndarray:
    """[H,W,C] of uint16, by other code than wrote it."""
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


class TestResize:
    def test_sizes(self):
        image = torch.rand(3, 30, 40)
        assert resize(image, 20).shape == (3, 15, 20)
        assert resize(image, (7, 50)).shape == (3, 7, 50)
        assert resize(image[None], 80).shape == (1, 3, 60, 80)
        assert resize(torch.rand(3, 1, 1000), 10).shape == (3, 1, 10)
        assert size_for((1000, 1), 10) == (10, 1)

    def test_same_size_is_the_same_picture_but_no_alias(self):
        image = torch.rand(3, 5, 6)
        same = resize(image, 6)
        assert torch.equal(same, image) and same.data_ptr() != image.data_ptr()

    @pytest.mark.parametrize("mode", ["bicubic", "bilinear", "area"])
    def test_constant_stays_and_checkerboard_becomes_grey(self, mode):
        torch.testing.assert_close(
            resize(torch.full((3, 20, 30), 0.3), (9, 41), mode=mode), torch.full((3, 9, 41), 0.3)
        )
        checkerboard = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float().expand(3, 64, 64)
        small = resize(checkerboard, 16, mode=mode)
        torch.testing.assert_close(small, torch.full((3, 16, 16), 0.5), atol=0.03, rtol=0)

    def test_area_is_the_mean_of_blocks(self):
        image = torch.rand(3, 8, 12, dtype=torch.float64)
        expected = image.reshape(3, 4, 2, 6, 2).mean((2, 4))
        torch.testing.assert_close(resize(image, (4, 6), mode="area"), expected)

    def test_bicubic_overshoot_is_clamped(self):
        edge = torch.zeros(3, 8, 8)
        edge[:, :, 4:] = 1
        big = resize(edge, 32)
        assert big.min() == 0 and big.max() == 1

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtypes(self, dtype):
        image = torch.rand(3, 12, 12).to(dtype)
        small = resize(image, 5)
        assert small.dtype == dtype
        torch.testing.assert_close(small.double(), resize(image.double(), 5), atol=4e-3, rtol=0)

    def test_gradient_flows(self):
        image = torch.rand(3, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: resize(x, 6, mode="bilinear"), image)

    @pytest.mark.parametrize("size", [0, -3, (4, 0), (0, 4)])
    def test_not_positive(self, size):
        with pytest.raises(ImageError, match="at least 1 px, got"):
            resize(torch.rand(3, 4, 4), size)

    @pytest.mark.parametrize("size", [True, 2.5, "8", (1, 2, 3), (2.0, 3), None, ()])
    def test_no_size(self, size):
        with pytest.raises(TypeError, match="whole number or \\(height, width\\), got"):
            resize(torch.rand(3, 4, 4), size)

    def test_wrong_pictures(self):
        with pytest.raises(TypeError, match="floating-point tensor"):
            resize(torch.zeros(3, 4, 4, dtype=torch.uint8), 2)
        with pytest.raises(ImageError, match=r"got \[4, 4\]"):
            resize(torch.zeros(4, 4), 2)
        with pytest.raises(ValueError, match="expected mode"):
            resize(torch.zeros(3, 4, 4), 2, mode="nearest")


class TestHistogram:
    def test_parity_with_bins(self, parity):
        arrays = parity("colour_a")
        target, source = (torch.from_numpy(arrays[name]).permute(2, 0, 1) for name in ("target", "source"))
        matched = match_histogram(target, source, mode="bins").permute(1, 2, 0)
        np.testing.assert_allclose(matched, arrays["hist_match_100bins"], rtol=1e-9, atol=1e-12)
        grey = match_histogram(target[:1], source[:1], mode="bins")[0]
        np.testing.assert_allclose(grey, arrays["hist_match_grey"], rtol=1e-9, atol=1e-12)
        in_float = match_histogram(target.float(), source.float(), mode="bins").permute(1, 2, 0)
        assert in_float.dtype == torch.float32
        # A value in float32 may fall on the other side of the edge of a bin: a few 1/100 of the histogram, rarely.
        assert np.quantile(np.abs(in_float.numpy() - arrays["hist_match_100bins"]), 0.9) < 2e-5

    def test_exact_with_equal_sizes_is_a_permutation(self):
        image, reference = torch.rand(3, 9, 8), torch.rand(3, 12, 6)
        matched = match_histogram(image, reference)
        for before, after, wanted in zip(image, matched, reference, strict=True):
            assert torch.equal(after.flatten().sort().values, wanted.flatten().sort().values)
            assert torch.equal(after.flatten().argsort(), before.flatten().argsort())

    @pytest.mark.parametrize("pixels", [2, 10, 57, 200])
    def test_exact_quantiles_are_those_of_numpy(self, pixels):
        image, reference = torch.rand(1, 1, pixels, dtype=torch.float64), torch.rand(1, 5, 11, dtype=torch.float64)
        expected = np.quantile(reference.numpy(), np.linspace(0, 1, pixels))
        torch.testing.assert_close(
            match_histogram(image, reference).flatten().sort().values, torch.from_numpy(expected)
        )

    def test_one_pixel_gets_the_median(self):
        assert match_histogram(torch.tensor([[[0.9]]]), torch.tensor([[[0.0, 0.2, 1.0]]])).item() == pytest.approx(0.2)

    @pytest.mark.parametrize("mode", ["exact", "bins"])
    def test_constant_reference_and_grey(self, mode):
        image = torch.rand(1, 6, 7).expand(3, 6, 7)
        assert torch.equal(match_histogram(image, torch.full((3, 4, 4), 0.25), mode), torch.full((3, 6, 7), 0.25))
        reference = torch.rand(1, 8, 8).expand(3, 8, 8)
        matched = match_histogram(image, reference, mode)
        assert is_grey(matched) and matched.min() >= reference.min() and matched.max() <= reference.max()

    @pytest.mark.parametrize("mode", ["exact", "bins"])
    def test_half_precision(self, mode):
        image, reference = torch.rand(3, 6, 7).bfloat16(), torch.rand(3, 8, 8).bfloat16()
        matched = match_histogram(image, reference, mode)
        assert matched.dtype == torch.bfloat16
        expected = match_histogram(image.double(), reference.double(), mode)
        torch.testing.assert_close(matched.double(), expected, atol=4e-3, rtol=0)

    def test_wrong_ones(self):
        image = torch.rand(3, 4, 4)
        with pytest.raises(ImageError, match="reference with 3 channels, got 1"):
            match_histogram(image, image[:1])
        with pytest.raises(ValueError, match="expected mode"):
            match_histogram(image, image, "rank")
        with pytest.raises(ImageError, match="finite"):
            match_histogram(image, image / 0)
        with pytest.raises(TypeError, match="reference as a tensor"):
            match_histogram(image, np.zeros((3, 4, 4)))


class TestArrangement:
    def test_side_by_side(self):
        row = side_by_side([torch.zeros(3, 4, 5), torch.full((3, 8, 2), 0.5)], gap=3)
        assert row.shape == (3, 8, 10)
        assert (row[:, 2:6, :5] == 0).all() and (row[:, :2, :5] == 1).all() and (row[:, :, 5:8] == 1).all()
        assert (row[:, :, 8:] == 0.5).all()
        with pytest.raises(ImageError, match="expected pictures"):
            side_by_side([])
        with pytest.raises(ImageError, match=r"\[3,H,W\]"):
            side_by_side([torch.zeros(1, 4, 5)])

    def test_is_grey(self):
        image = torch.rand(1, 4, 4).repeat(3, 1, 1)
        assert is_grey(image)
        image[2, 3, 3] += 1 / 255
        assert not is_grey(image)
        with pytest.raises(ImageError, match="is_grey"):
            is_grey(torch.rand(2, 4, 4))


def test_without_pillow_only_files_are_out_of_reach(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    assert images.load_image(torch.zeros(3, 2, 2)).shape == (3, 2, 2)
    for call in (lambda: images.load_image("a.png"), lambda: images.save_image(torch.zeros(3, 2, 2), "a.png")):
        with pytest.raises(ImportError, match=r"pip install 'cnnfast\[models\]'"):
            call()
