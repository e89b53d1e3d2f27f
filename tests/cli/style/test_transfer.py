"""`cnnfast style`: its files and its words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from cnnfast._extension import fast_dtype
from cnnfast.images import load_image, resize, save_image
from cnnfast.models.style.transfer.regions import StyleRegions
from cnnfast.models.style.transfer.transfer import style_network, stylize
from tests.cli.picture_cases import RANDOM, size_of

LAYERS = ("--content-layers", "relu2_2", "--style-layers", "relu1_1,relu2_1=0.5")


@pytest.fixture
def pictures(sample, stripes, tmp_path) -> tuple[Path, Path, Path]:
    """A content of 28x24 px, a style of 40x30 px, and another one of 24x28 px."""
    save_image(resize(1 - stripes, (30, 40)), tmp_path / "style.png")
    save_image(stripes.transpose(1, 2).contiguous(), tmp_path / "other.png")
    return sample, tmp_path / "style.png", tmp_path / "other.png"


def shown(picture: torch.Tensor) -> torch.Tensor:
    return (picture * 255).round() / 255


class TestPicture:
    def test_is_the_librarys(self, cnnfast, pictures, tiny_vgg):
        content, style, _ = pictures
        arguments = ("--weights", tiny_vgg, *LAYERS, "--iterations", 4, "--size", 28, "--dtype", "float32")
        more = ("--style-weight", 300, "--content-weight", 2, "--tv-weight", 0.5, "--style-scale", 0.75, "--levels", 2)
        result = cnnfast("style", content, style, "-o", "out.png", *arguments, *more)
        assert result.status == 0 and not result.err, result
        layers = {"content_layers": ["relu2_2"], "style_layers": {"relu1_1": 1.0, "relu2_1": 0.5}}
        expected = stylize(
            content,
            style,
            extractor=style_network("vgg", weights=tiny_vgg, **layers),
            size=28,
            style_weight=300.0,
            content_weight=2.0,
            tv_weight=0.5,
            style_scale=0.75,
            levels=2,
            iterations=4,
            device="cpu",
            **layers,
        )
        assert torch.equal(load_image("out.png"), shown(expected))

    @pytest.mark.parametrize(
        "arguments, size", [([], (512, 439)), (["--size", "14"], (14, 12)), (["--size", "31x17"], (31, 17))]
    )
    def test_sizes(self, cnnfast, pictures, tiny_vgg, arguments, size):
        tiny = ("--weights", tiny_vgg, *LAYERS, "--iterations", 1)
        assert cnnfast("style", *pictures[:2], "-o", "out.png", *tiny, *arguments).status == 0
        assert size_of("out.png") == size

    def test_options_matter(self, cnnfast, pictures, tiny_vgg, tmp_path):
        content, style, other = pictures
        usual = (content, style, "--weights", tiny_vgg, *LAYERS, "--iterations", 3, "--size", 28)

        def picture(*arguments):
            result = cnnfast("style", *usual, *arguments, "-o", "out.png")
            assert result.status == 0 and not result.err, result
            return Path("out.png").read_bytes()

        changes = [
            ("--preset", "gatys2016"),
            ("--preset", "neural-style"),
            ("--preset", "crowson"),
            ("--optimizer", "adam"),
            ("--init", "noise"),
            ("--init", other),
            ("--levels", 2),
            ("--dtype", "bfloat16"),
            *(("--preserve-color", kind) for kind in ("luminance", "match", "match_style", "original")),
            ("--preserve-color", "match", "--color-match", "chol"),
        ]
        pictures = [picture("--dtype", "float32"), *(picture("--dtype", "float32", *change) for change in changes)]
        assert len(set(pictures)) == len(pictures)
        assert picture("--init", "noise", "--seed", 1) != picture("--init", "noise", "--seed", 2)

    def test_several_styles(self, cnnfast, pictures):
        content, style, other = pictures
        arguments = (*RANDOM, "--size", 28)

        def picture(*words):
            assert cnnfast("style", content, *words, "-o", "out.png", *arguments).status == 0
            return load_image("out.png")

        both = picture(style, other)
        assert torch.equal(both, picture(style, other, "--blend", "2,2"))
        assert not torch.equal(both, picture(style, other, "--blend", "1,3"))
        assert (picture(style, other, "--blend", "1,0") - picture(style)).abs().max() < 0.01

    def test_side_by_side_shows_all_pictures_as_they_were_used(self, cnnfast, pictures):
        result = cnnfast("style", *pictures, "-o", "out.png", *RANDOM, "--size", 28, "--side-by-side", "all.png")
        assert result.status == 0
        assert size_of("all.png") == (28 + 28 + 24 + 28 + 3 * 8, 28)


class TestMasks:
    @pytest.fixture
    def masks(self, tmp_path) -> dict[str, Path]:
        paths = {}
        for name, (height, width) in {"content": (24, 28), "style": (30, 40), "other": (28, 24)}.items():
            left = torch.zeros(1, height, width)
            left[..., : width // 2] = 1
            for side, mask in (("left", left), ("right", 1 - left)):
                paths[f"{name} {side}"] = tmp_path / f"{name}-{side}.png"
                save_image(mask, paths[f"{name} {side}"])
        return paths

    def library(self, content, styles, regions):
        network = style_network("random")
        options = {"size": 28, "iterations": 3, "regions": regions, "extractor": network, "device": "cpu"}
        return shown(stylize(content, styles, **options))

    def test_two_regions_of_one_style(self, cnnfast, pictures, masks):
        words = [word for side in ("left", "right") for word in ("--content-mask", masks[f"content {side}"])]
        words += [word for side in ("right", "left") for word in ("--style-mask", masks[f"style {side}"])]
        result = cnnfast("style", *pictures[:2], "-o", "out.png", *RANDOM, "--size", 28, *words)
        assert result.status == 0, result
        of_content, of_style = (
            torch.stack([load_image(masks[f"{name} {side}"])[0] for side in sides])
            for name, sides in (("content", ("left", "right")), ("style", ("right", "left")))
        )
        expected = self.library(*pictures[:2], StyleRegions(of_content, [of_style]))
        assert torch.equal(load_image("out.png"), expected)

    def test_every_region_from_its_own_style(self, cnnfast, pictures, masks):
        content, style, other = pictures
        words = ("--content-mask", masks["content left"], "--content-mask", masks["content right"])
        result = cnnfast("style", content, style, other, "-o", "out.png", *RANDOM, "--size", 28, *words)
        assert result.status == 0, result
        of_content = torch.stack([load_image(masks[f"content {side}"])[0] for side in ("left", "right")])
        first, second = torch.zeros(2, 30, 40), torch.zeros(2, 28, 24)
        first[0], second[1] = 1, 1
        expected = self.library(content, [style, other], StyleRegions(of_content, [first, second]))
        assert torch.equal(load_image("out.png"), expected)

    def test_guides(self, cnnfast, pictures, masks, tiny_vgg):
        words = (
            "--weights",
            tiny_vgg,
            *LAYERS,
            "--size",
            28,
            "--iterations",
            3,
            "--content-mask",
            masks["content left"],
        )
        seen = set()
        for guides in ("simple", "inside", "all"):
            assert cnnfast("style", *pictures[:2], "-o", "out.png", *words, "--guides", guides).status == 0
            seen.add(Path("out.png").read_bytes())
        assert len(seen) == 3


class TestWords:
    def test_first_and_last_line(self, cnnfast, pictures, tiny_vgg):
        arguments = ("--weights", tiny_vgg, *LAYERS, "--size", 56, "--levels", 2, "--iterations", 10)
        result = cnnfast("style", *pictures[:2], "-o", "out.png", *arguments)
        lines = result.out.splitlines()
        dtype = " in bfloat16" if fast_dtype(torch.device("cpu")) == torch.bfloat16 else ""
        assert re.search(rf"^cpu \(\d+ threads\); .*tiny\.safetensors.*{dtype}; levels 28x24, 56x48 px;", lines[0])
        assert re.search(r"; 20\+10 iterations; about \d+ MB of memory$", lines[0])
        assert re.fullmatch(r"out\.png: 56x48 px in \d+:\d\d, relative loss [\d.e-]+", lines[-1])
        assert "\x1b" not in result.out and not result.err

    def test_random_filters_stay_float32(self, cnnfast, pictures):
        result = cnnfast("style", *pictures[:2], "-o", "out.png", *RANDOM, "--size", 28)
        assert result.status == 0 and "random filters" in result.out and "bfloat16" not in result.out

    def test_history_and_plot(self, cnnfast, pictures, tiny_vgg):
        arguments = ("--weights", tiny_vgg, *LAYERS, "--size", 28, "--iterations", 5)
        files = ("--history", "loss.json", "--plot", "loss.png")
        assert cnnfast("style", *pictures[:2], "-o", "out.png", *arguments, *files).status == 0
        record = json.loads(Path("loss.json").read_text())
        losses = [entry["loss"] for entry in record["history"]]
        assert len(losses) == 5 and losses[-1] < losses[0] and record["finished"]
        assert record["options"]["style_scale"] == "1.0"
        assert Path("loss.png").stat().st_size > 1000

    def test_help_names_the_presets(self, cnnfast):
        result = cnnfast("style", "--help")
        assert result.status == 0
        for word in ("gatys2016", "neural-style", "crowson", "--preserve-color", "--content-mask"):
            assert word in result.out
