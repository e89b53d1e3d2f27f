"""Hostile input: it works, or it is one clear line, status 2, and nothing is overwritten."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

FAST = ("--weights", "random", "--iterations", "1", "--preview-every", "0")


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size and holds no pixels."""
    chunks = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture
def folder(tmp_path, sample, tiny_vgg, vgg_state) -> Path:
    """A folder full of files that nobody wants."""
    whole = sample.read_bytes()
    (tmp_path / "empty.png").touch()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    torch.save({"layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3)}, tmp_path / "resnet.pth")
    torch.save(vgg_state, tmp_path / "unknown-convention.pth")
    damaged = vgg_state | {"features.5.weight": torch.full((3, 3, 3, 3), float("nan"))}
    torch.save(damaged, tmp_path / "nan.pth")
    (tmp_path / "vgg.safetensors").write_bytes(tiny_vgg.read_bytes())
    (tmp_path / "damaged.safetensors").write_bytes(tiny_vgg.read_bytes()[:100])
    torch.save({"format": "another program"}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


REFUSED = {
    "missing sample": (["none.png"], "none.png which does not exist"),
    "zero-byte sample": (["empty.png"], "empty.png which is empty"),
    "truncated sample": (["truncated.png"], "truncated.png which is damaged"),
    "text as sample": (["text.png"], "text.png which is of no known kind"),
    "huge sample": (["bomb.png"], "at most 1e+09 pixels, got bomb.png of 60000x60000"),
    "directory as sample": (["folder.png"], "folder.png which is a directory"),
    "sample of NaN": (["nan.tif"], "nan.tif to hold values of 0..1, got nan"),
    "device as sample": (["/dev/zero"], "/dev/zero which is no regular file"),
    "crop outside": (["sample.png", "--crop", "20x20+10+0"], "--crop: expected a part of 28x24 px, got 20x20+10+0"),
    "crop too large": (["sample.png", "--crop", "29x10"], "--crop: expected a part of 28x24 px"),
    "crop of nothing": (["sample.png", "--crop", "0x10"], "--crop: expected WxH"),
    "crop of words": (["sample.png", "--crop", "all"], "--crop: expected WxH"),
    "size 0": (["sample.png", "--size", "0"], "--size: expected px"),
    "negative size": (["sample.png", "--size=-5"], "--size: expected px"),
    "size 100000": (["sample.png", "--size", "100000"], "fits into the memory, got"),
    "size in words": (["sample.png", "--size", "big"], "--size: expected px"),
    "size 0 by 5": (["sample.png", "--size", "0x5"], "--size: expected px"),
    "size of three": (["sample.png", "--size", "3x4x5"], "--size: expected px"),
    "empty size": (["sample.png", "--size", ""], "--size: expected px"),
    "size and scale": (["sample.png", "--size", "9", "--scale", "2"], "expected one of them, got both"),
    "scale 0": (["sample.png", "--scale", "0"], "--scale: expected a factor above 0"),
    "scale of NaN": (["sample.png", "--scale", "nan"], "--scale: expected a factor above 0"),
    "scale without end": (["sample.png", "--scale", "inf"], "--scale: expected a factor above 0"),
    "scale to nothing": (["sample.png", "--scale", "0.001"], "--scale: expected at least 1 px"),
    "scale beyond memory": (["sample.png", "--scale", "3000"], "fits into the memory, got"),
    "scale beyond numbers": (["sample.png", "--scale", "1e300"], "--scale: expected sides of at most"),
    "no iterations": (["sample.png", "--iterations", "0"], "--iterations: expected at least 1, got 0"),
    "negative preview": (["sample.png", "--preview-every=-1"], "--preview-every: expected at least 0"),
    "negative checkpoints": (["sample.png", "--checkpoint-every=-1"], "--checkpoint-every: expected at least 0"),
    "negative seed": (["sample.png", "--seed=-1"], "--seed: expected a number of 0..2^63-1"),
    "endless seed": (["sample.png", "--seed", "9" * 30], "--seed: expected a number of 0..2^63-1"),
    "preset": (["sample.png", "--preset", "best"], "--preset: expected fast or good, got 'best'"),
    "optimizer": (["sample.png", "--optimizer", "sgd"], "--optimizer: expected lbfgs or adam, got 'sgd'"),
    "dtype": (["sample.png", "--dtype", "float16"], "--dtype: expected float32 or bfloat16"),
    "alpha": (["sample.png", "--alpha", "keep"], "--alpha: expected white or drop"),
    "device": (["sample.png", "--device", "tpu"], "--device: expected auto, cpu, cuda or cuda:N"),
    "absent device": (["sample.png", "--device", "cuda:99"], "CUDA devices, got cuda:99"),
    "layers": (["sample.png", "--weights", "vgg.safetensors", "--layers", "pool9"], "got 'pool9'"),
    "layers of words": (["sample.png", "--layers", "pool1=much"], "--layers: expected different names"),
    "layers twice": (["sample.png", "--layers", "pool1,pool1"], "--layers: expected different names"),
    "layers of random filters": (["sample.png", "--layers", "pool1"], "no taps for random filters"),
    "sample smaller than the network": (
        ["sample.png", "--weights", "vgg.safetensors", "--crop", "3x20"],
        "a sample of at least 16 px on every level, got 20x3 px",
    ),
    "missing weights": (["sample.png", "--weights", "none.pth"], "none.pth which does not exist"),
    "weights of another network": (["sample.png", "--weights", "resnet.pth"], "which no VGG-16 or VGG-19 has"),
    "weights of unknown convention": (["sample.png", "--weights", "unknown-convention.pth"], "pass preprocessing="),
    "weights of NaN": (
        ["sample.png", "--weights", "nan.pth", "--preprocessing", "caffe"],
        "values that are not finite",
    ),
    "damaged weights": (["sample.png", "--weights", "damaged.safetensors"], "damaged.safetensors which is damaged"),
    "picture as weights": (["sample.png", "--weights", "sample.png"], "weights file ending in"),
    "directory as weights": (["sample.png", "--weights", "."], "a directory"),
    "absent VGG": (["sample.png", "--weights", "vgg19"], "vgg19"),
    "missing checkpoint": (["sample.png", "--resume", "none.pt"], "none.pt"),
    "directory as checkpoint": (["sample.png", "--resume", "folder.png"], "folder.png which is a directory"),
    "picture as checkpoint": (["sample.png", "--resume", "sample.png"], "expected a checkpoint of texture synthesis"),
    "another program's checkpoint": (["sample.png", "--resume", "other.pt"], "expected a checkpoint of texture"),
    "list as checkpoint": (["sample.png", "--resume", "list.pt"], "expected a checkpoint of texture synthesis"),
    "plot": (["sample.png", "--plot", "plot.xls"], "--plot: expected a path ending in .png, .pdf, .svg"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_refused(cnnfast, folder, arguments, words):
    (folder / "out.png").write_text("precious")
    before = contents(folder)
    result = cnnfast("texture", *FAST, "-o", "out.png", *arguments)
    assert result.status == 2, result
    assert result.err.count("\n") == 1 and result.err.startswith("cnnfast: "), result.err
    assert words in result.err
    assert contents(folder) == before


PLACES = {
    "directory": ("folder.png", "folder.png: expected a file that can be written, got: Is a directory"),
    "this directory": (".", "Is a directory"),
    "missing folder": ("none/out.png", "none/out.png: expected a file that can be written, got: No such folder"),
    "through a file": ("text.png/out.png", "Not a directory"),
    "system": ("/proc/out.png", "/proc/out.png: expected a file that can be written, got: "),
    "device": ("/dev/null", "/dev/null: expected a file that can be written, got: Not a regular file"),
    "the sample": ("sample.png", "not also another file of this call"),
    "the sample by another name": ("./folder.png/../sample.png", "not also another file of this call"),
    "the weights": ("vgg.safetensors", "not also another file of this call"),
}


@pytest.mark.parametrize("option", ["--output", "--side-by-side", "--history", "--plot", "--checkpoint"])
@pytest.mark.parametrize("place, words", PLACES.values(), ids=PLACES)
def test_outputs_that_cannot_be_written_are_refused_before_the_work(cnnfast, folder, monkeypatch, option, place, words):
    monkeypatch.setattr("cnnfast.cli.style.texture.prepare", lambda options: pytest.fail("began to work"))
    before = contents(folder)
    arguments = ["-o", "out.png"] if option != "--output" else []
    result = cnnfast("texture", "sample.png", *FAST, "--weights", "vgg.safetensors", *arguments, option, place)
    assert result.status == 2 and result.err.count("\n") == 1
    other_ending = option in ("--output", "--side-by-side", "--plot") and "expected a path ending in" in result.err
    assert words in result.err or (other_ending and not place.endswith(".png"))
    assert contents(folder) == before


@pytest.mark.parametrize("other", ["--side-by-side", "--history", "--plot", "--checkpoint"])
def test_two_outputs_in_one_file(cnnfast, sample, other):
    result = cnnfast("texture", sample, *FAST, "-o", "out.png", other, "./out.png")
    assert result.status == 2 and "not also another file of this call" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_read_only_folder(cnnfast, sample, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = cnnfast("texture", sample, *FAST, "-o", "locked/out.png")
    assert result.status == 2 and "Permission denied" in result.err


def picture(kind: str) -> tuple[Image.Image, dict[str, object]]:
    values = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    colour = Image.fromarray(values)
    if kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        return colour, {"exif": exif}
    if kind == "animated":
        return colour, {"save_all": True, "append_images": [colour.rotate(180)]}
    return {
        "1x1": Image.new("RGB", (1, 1), "red"),
        "3 px wide": colour.crop((0, 0, 3, 20)),
        "3 px high": colour.crop((0, 0, 26, 3)),
        "constant": Image.new("RGB", (26, 20), "navy"),
        "cmyk": colour.convert("CMYK"),
        "16 bit": Image.fromarray(values[..., 0].astype(np.uint16) * 257),
        "grey": colour.convert("L"),
        "palette": colour.quantize(8),
        "bilevel": colour.convert("1"),
        "transparent": Image.merge("RGBA", [*colour.split(), colour.getchannel(0)]),
    }[kind], {}


@pytest.mark.parametrize(
    "kind, suffix, size",
    [
        ("1x1", "png", (1, 1)),
        ("3 px wide", "png", (3, 20)),
        ("3 px high", "bmp", (26, 3)),
        ("constant", "png", (26, 20)),
        ("cmyk", "jpg", (26, 20)),
        ("cmyk", "tif", (26, 20)),
        ("16 bit", "png", (26, 20)),
        ("16 bit", "tif", (26, 20)),
        ("grey", "png", (26, 20)),
        ("palette", "gif", (26, 20)),
        ("bilevel", "png", (26, 20)),
        ("transparent", "webp", (26, 20)),
        ("animated", "gif", (26, 20)),
        ("animated", "webp", (26, 20)),
        ("rotated", "jpg", (20, 26)),
    ],
)
def test_unusual_pictures_work(cnnfast, tmp_path, kind, suffix, size):
    image, options = picture(kind)
    image.save(tmp_path / f"in.{suffix}", **options)
    result = cnnfast("texture", f"in.{suffix}", *FAST, "-o", "out.png")
    assert result.status == 0
    notice = f"cnnfast: in.{suffix}: the first of its 2 frames is taken\n" if kind == "animated" else ""
    assert result.err == notice
    with Image.open(tmp_path / "out.png") as written:
        assert written.size == size and written.mode == "RGB"
        if kind in ("16 bit", "grey", "bilevel"):
            assert len({band.tobytes() for band in written.split()}) == 1


def test_damaged_metadata_are_no_error_and_no_noise(cnnfast, sample, tmp_path):
    with Image.open(sample) as image:
        exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00\x01"
        image.save(tmp_path / "in.png", exif=exif, icc_profile=b"not a profile")
    result = cnnfast("texture", "in.png", *FAST, "-o", "out.png")
    assert result.status == 0
    assert result.err.count("\n") == 1 and "in.png: its colour profile is ignored" in result.err
