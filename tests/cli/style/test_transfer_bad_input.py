"""`cnnfast style` and hostile input: it works, or it is one clear line, status 2, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnfast.images import save_image

FAST = ("--weights", "random", "--iterations", "1", "--preview-every", "0", "--size", "28")
VGG = ("--weights", "vgg.safetensors", "--content-layers", "relu2_2", "--style-layers", "relu1_1")


@pytest.fixture
def folder(tmp_path, sample, stripes, tiny_vgg) -> Path:
    """A content of 28x24 px, a style of 24x28 px, masks, and files that nobody wants."""
    save_image(stripes.transpose(1, 2).contiguous(), tmp_path / "style.png")
    for name, size, value in (("mask", (24, 28), 1.0), ("black", (24, 28), 0.0), ("of-style", (28, 24), 1.0)):
        save_image(torch.full((1, *size), value), tmp_path / f"{name}.png")
    save_image(torch.zeros(1, 28, 24), tmp_path / "black-style.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "truncated.png").write_bytes(sample.read_bytes()[:300])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    (tmp_path / "vgg.safetensors").write_bytes(tiny_vgg.read_bytes())
    torch.save({"layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3)}, tmp_path / "resnet.pth")
    torch.save({"format": "cnnfast texture 2"}, tmp_path / "texture.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


PAIR = ["sample.png", "style.png"]
MASK = ["--content-mask", "mask.png"]
REFUSED = {
    "no style": (["sample.png"], "Missing argument 'STYLE...'"),
    "missing content": (["none.png", "style.png"], "none.png which does not exist"),
    "missing style": (["sample.png", "none.png"], "none.png which does not exist"),
    "second style missing": ([*PAIR, "none.png"], "none.png which does not exist"),
    "zero-byte style": (["sample.png", "empty.png"], "empty.png which is empty"),
    "truncated style": (["sample.png", "truncated.png"], "truncated.png which is damaged"),
    "text as style": (["sample.png", "text.png"], "text.png which is of no known kind"),
    "directory as style": (["sample.png", "folder.png"], "folder.png which is a directory"),
    "style of NaN": (["sample.png", "nan.tif"], "nan.tif to hold values of 0..1, got nan"),
    "size 0": ([*PAIR, "--size", "0"], "--size: expected px"),
    "size beyond memory": ([*PAIR, "--size", "100000"], "fits into the memory, got"),
    "preset": ([*PAIR, "--preset", "best"], "--preset: expected cnnfast or gatys2016 or neural-style or crowson"),
    "optimizer": ([*PAIR, "--optimizer", "sgd"], "--optimizer: expected lbfgs or adam"),
    "dtype": ([*PAIR, "--dtype", "float16"], "--dtype: expected float32 or bfloat16 or auto"),
    "bfloat16 of random filters": ([*PAIR, "--dtype", "bfloat16"], "float32 for random filters"),
    "seed": ([*PAIR, "--seed=-1"], "--seed: expected a number of 0..2^63-1"),
    "iterations": ([*PAIR, "--iterations", "0"], "--iterations: expected at least 1"),
    "levels": ([*PAIR, "--levels", "0"], "--levels: expected at least 1, got 0"),
    "too many levels": ([*PAIR, *VGG, "--levels", "9"], "px on every level, got"),
    "content weight": ([*PAIR, "--content-weight=-1"], "--content-weight: expected a number of at least 0, got -1"),
    "style weight": ([*PAIR, "--style-weight", "nan"], "--style-weight: expected a number of at least 0, got nan"),
    "tv weight": ([*PAIR, "--tv-weight", "inf"], "--tv-weight: expected a number of at least 0, got inf"),
    "no weight": ([*PAIR, "--content-weight", "0", "--style-weight", "0"], "content_weight or style_weight above 0"),
    "style scale": ([*PAIR, "--style-scale", "0"], "--style-scale: expected a factor above 0, got 0"),
    "endless style scale": ([*PAIR, "--style-scale", "inf"], "--style-scale: expected a factor above 0, got inf"),
    "huge style scale": ([*PAIR, "--style-scale", "10000"], "fits into the memory, got"),
    "blend of another number": ([*PAIR, "--blend", "1,2"], "--blend: expected a number for each of 1 styles"),
    "blend of nothing": ([*PAIR, "--blend", "0"], "--blend: expected a number for each of 1 styles, not all 0"),
    "blend of words": ([*PAIR, "--blend", "much"], "--blend: expected numbers of at least 0 like 1,2, got 'much'"),
    "negative blend": ([*PAIR, "--blend=-1"], "--blend: expected numbers of at least 0"),
    "colour": ([*PAIR, "--preserve-color", "some"], "--preserve-color: expected luminance or match or"),
    "colour match": ([*PAIR, "--color-match", "mean"], "--color-match: expected pca or chol or sym"),
    "start": ([*PAIR, "--init", "none.png"], "none.png which does not exist"),
    "layers": ([*PAIR, *VGG, "--style-layers", "pool9"], "got 'pool9'"),
    "layers of words": ([*PAIR, "--content-layers", "pool1=much"], "--content-layers: expected different names"),
    "layers of random filters": ([*PAIR, "--style-layers", "relu1_1"], "no taps for random filters"),
    "style smaller than the network": (
        [*PAIR, *VGG, "--style-layers", "relu5_1", "--style-scale", "0.4"],
        "of at least 32 px on every level, got",
    ),
    "guides": ([*PAIR, *MASK, "--guides", "some"], "--guides: expected simple or inside or all, got 'some'"),
    "missing mask": ([*PAIR, "--content-mask", "none.png"], "none.png which does not exist"),
    "text as mask": ([*PAIR, "--content-mask", "text.png"], "text.png which is of no known kind"),
    "content mask of another size": (
        [*PAIR, "--content-mask", "of-style.png"],
        "--content-mask: expected 28x24 px as its picture has, got of-style.png of 24x28 px",
    ),
    "style mask of another size": (
        [*PAIR, *MASK, "--style-mask", "mask.png"],
        "--style-mask: expected 24x28 px as its picture has, got mask.png of 28x24 px",
    ),
    "empty content mask": ([*PAIR, "--content-mask", "black.png"], "a content mask that is not empty"),
    "empty style mask": (
        [*PAIR, *MASK, "--style-mask", "black-style.png"],
        "expected every region in a style mask, but region 1 is empty in it",
    ),
    "style mask without content mask": ([*PAIR, "--style-mask", "of-style.png"], "each of 0 content masks, got 1"),
    "more styles than masks": ([*PAIR, "style.png", "style.png", *MASK, *MASK], "one for each of 2 masks, got 3"),
    "missing weights": ([*PAIR, "--weights", "none.pth"], "none.pth which does not exist"),
    "weights of another network": ([*PAIR, "--weights", "resnet.pth"], "which no VGG-16 or VGG-19 has"),
    "missing checkpoint": ([*PAIR, "--resume", "none.pt"], "none.pt"),
    "picture as checkpoint": ([*PAIR, "--resume", "sample.png"], "expected a checkpoint of style transfer"),
    "checkpoint of a texture": ([*PAIR, "--resume", "texture.pt"], "expected a checkpoint of style transfer"),
    "list as checkpoint": ([*PAIR, "--resume", "list.pt"], "expected a checkpoint of style transfer"),
    "device": ([*PAIR, "--device", "tpu"], "--device: expected auto, cpu, cuda or cuda:N"),
    "plot": ([*PAIR, "--plot", "plot.xls"], "--plot: expected a path ending in"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_refused(cnnfast, folder, arguments, words):
    (folder / "out.png").write_text("precious")
    before = contents(folder)
    result = cnnfast("style", *FAST, "-o", "out.png", *arguments)
    assert result.status == 2, result
    assert result.err.count("\n") == 1 and result.err.startswith("cnnfast: "), result.err
    assert words in result.err
    assert contents(folder) == before


INPUTS = ["sample.png", "style.png", "mask.png", "of-style.png", "start.png"]
UNWRITABLE = ["folder.png", "none/out.png", "text.png/out.png", "/proc/out.png", "/dev/null"]


@pytest.mark.parametrize("option", ["--output", "--side-by-side", "--history", "--plot", "--checkpoint"])
@pytest.mark.parametrize("place", [*INPUTS, *UNWRITABLE])
def test_outputs_that_cannot_be_written_are_refused_before_the_work(cnnfast, folder, monkeypatch, option, place):
    monkeypatch.setattr("cnnfast.cli.style.transfer.prepare", lambda options: pytest.fail("began to work"))
    (folder / "start.png").write_bytes((folder / "sample.png").read_bytes())
    before = contents(folder)
    outputs = [option, place] if option == "--output" else ["-o", "out.png", option, place]
    masks = (*MASK, "--style-mask", "of-style.png")
    result = cnnfast("style", *PAIR, *FAST, *masks, "--init", "start.png", *outputs)
    assert result.status == 2 and result.err.count("\n") == 1, result
    words = "not also another file of this call" if place in INPUTS else "expected a"
    assert words in result.err
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["1x1", "3 px wide", "constant", "cmyk", "16 bit", "grey", "transparent"])
@pytest.mark.parametrize("whose", ["content", "style"])
def test_unusual_pictures_work(cnnfast, folder, kind, whose):
    values = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    colour = Image.fromarray(values)
    picture, suffix = {
        "1x1": (Image.new("RGB", (1, 1), "red"), "png"),
        "3 px wide": (colour.crop((0, 0, 3, 20)), "png"),
        "constant": (Image.new("RGB", (26, 20), "navy"), "png"),
        "cmyk": (colour.convert("CMYK"), "jpg"),
        "16 bit": (Image.fromarray(values[..., 0].astype(np.uint16) * 257), "png"),
        "grey": (colour.convert("L"), "png"),
        "transparent": (Image.merge("RGBA", [*colour.split(), colour.getchannel(0)]), "webp"),
    }[kind]
    picture.save(folder / f"in.{suffix}")
    pair = [f"in.{suffix}", "style.png"] if whose == "content" else ["sample.png", f"in.{suffix}"]
    result = cnnfast("style", *pair, *FAST, "-o", "out.png")
    assert result.status == 0 and not result.err, result
    with Image.open(folder / "out.png") as written:
        assert max(written.size) == 28 and written.mode == "RGB"


def test_colours_of_grey_pictures_are_no_error(cnnfast, folder):
    """A grey picture has a singular covariance of colours."""
    save_image(torch.rand(1, 20, 26, generator=torch.Generator().manual_seed(0)), folder / "grey.png")
    for pair in (["grey.png", "style.png"], ["sample.png", "grey.png"]):
        for kind in ("luminance", "match", "match_style", "original"):
            result = cnnfast("style", *pair, *FAST, "-o", "out.png", "--preserve-color", kind)
            assert result.status == 0 and not result.err, result
