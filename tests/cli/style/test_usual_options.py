"""Options that users of other style transfer programs rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("tifffile")

import tifffile

from cnnfast.images import load_image, save_image
from cnnfast.models.style.picture.checkpoint import load_checkpoint


@pytest.fixture
def style(cnnfast, stripes, tiny_vgg, tmp_path):
    """`cnnfast style` on a tiny VGG; the picture that it writes."""

    square = stripes[:, :20, :20].repeat(1, 4, 4)  # 80x80 px
    save_image(square, tmp_path / "content.png")
    save_image(square.flip(2) ** 2, tmp_path / "style.png")

    def call(*words: object, output: str = "out.png", status: int = 0):
        options = ("--weights", tiny_vgg, "--dtype", "float32", "--size", 48, "--iterations", 2, "--levels", 1)
        result = cnnfast("style", "content.png", "style.png", "-o", output, *options, *words)
        assert result.status == status, result
        return load_image(output) if status == 0 else result.err

    return call


def test_numbered_pictures(style):
    picture = style("--iterations", 6, "--save-every", 2)
    assert sorted(path.name for path in Path().glob("out_*.png")) == [f"out_00000{n}.png" for n in (2, 4, 6)]
    assert torch.equal(load_image("out_000006.png"), picture)


def test_numbered_pictures_replace_no_input(style):
    save_image(torch.rand(3, 80, 80), "out_000002.png")
    words = ("--init", "out_000002.png", "--save-every", 2)
    assert "--save-every: expected inputs of other names" in style(*words, status=2)


def test_pooling_is_part_of_the_settings(style):
    pictures = {kind: style("--pooling", kind, "--init", "noise") for kind in ("max", "avg", "l2")}
    assert not torch.equal(pictures["max"], pictures["avg"]) and not torch.equal(pictures["l2"], pictures["avg"])
    assert torch.equal(style("--init", "noise"), pictures["max"])  # the preset's own
    style("--pooling", "avg", "--checkpoint", "c.pt", "--checkpoint-every", 1)
    assert load_checkpoint("c.pt", "style")["settings"]["pooling"] == "avg"
    assert "pooling" in style("--resume", "c.pt", status=2)


def test_size_of_the_styles(style):
    assert not torch.equal(style("--style-size", 40), style())
    assert torch.equal(style("--style-size", 500), style("--style-size", 80))  # a style is not enlarged
    assert "style_size or style_scale" in style("--style-size", 40, "--style-scale", 2, status=2)


def test_iterations_of_the_coarsest_level(style, cnnfast):
    style("--size", 80, "--levels", 2, "--initial-iterations", 5, "--checkpoint", "c.pt", "--checkpoint-every", 1)
    levels = [level for level, _, _ in load_checkpoint("c.pt", "style")["history"]]
    assert levels.count(1) == 5 and levels.count(2) == 2


def test_starts(style):
    pictures = [style("--init", word) for word in ("content", "noise", "grey", "style_stats")]
    assert len({picture.sum().item() for picture in pictures}) == 4
    assert torch.equal(pictures[3], style("--init", "style_stats"))
    assert not torch.equal(pictures[3], style("--init", "style_stats", "--seed", 1))


@pytest.mark.parametrize("name", ["out.tif", "out.png"])
def test_sixteen_bits(style, name):
    style("--bits", 16, output=name)
    assert "--bits: expected 8, or 16 for PNG and TIFF, got 16" in style("--bits", 16, output="out.jpg", status=2)
    assert "--bits" in style("--bits", 12, status=2)
    if name == "out.tif":
        assert (tifffile.imread(name).astype(int) % 257 != 0).any()  # values that eight bits do not have
    else:
        assert Path(name).read_bytes()[24] == 16  # the depth in the header
