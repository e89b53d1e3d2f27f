"""`cnnfast texture`: its files and its words."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnfast._extension import fast_dtype
from cnnfast.features.choice import build_extractor
from cnnfast.images import is_grey, load_image, match_histogram, save_image
from cnnfast.models.style.picture import memory
from cnnfast.models.style.picture.memory import estimate_memory, optimizer_bytes
from cnnfast.models.style.texture.synthesis import synthesize_texture
from tests.cli.picture_cases import RANDOM, size_of


class TestPicture:
    def test_is_the_librarys(self, cnnfast, sample, tiny_vgg):
        result = cnnfast("texture", sample, "-o", "out.png", "--weights", tiny_vgg, "--iterations", 4, "--seed", 5)
        assert result.status == 0 and not result.err
        dtype = fast_dtype(torch.device("cpu"))
        network = build_extractor("vgg", weights=tiny_vgg, compute_dtype=dtype).to(memory_format=torch.channels_last)
        expected = synthesize_texture(sample, extractor=network, iterations=4, seed=5, device="cpu")
        assert torch.equal(load_image("out.png"), (expected * 255).round() / 255)

    @pytest.mark.parametrize(
        "arguments, size",
        [
            ([], (28, 24)),
            (["--size", "14"], (14, 12)),
            (["--size", "31x17"], (31, 17)),
            (["--scale", "1.5"], (42, 36)),
            (["--scale", "0.5"], (14, 12)),
            (["--crop", "16x10+2+3"], (16, 10)),
            (["--crop", "16x10", "--scale", "2"], (32, 20)),
            (["--tileable", "--size", "20"], (20, 17)),
        ],
    )
    def test_sizes(self, cnnfast, sample, arguments, size):
        assert cnnfast("texture", sample, "-o", "out.png", *RANDOM, *arguments).status == 0
        assert size_of("out.png") == size

    def test_scale_keeps_the_pixel_scale_of_the_statistics(self, cnnfast, tmp_path):
        """Twice the size has the sample's own histogram and its own frequency of stripes, not half of it."""
        stripes = (torch.arange(32) // 2 % 2).float().expand(3, 32, 32).clone()
        save_image(stripes, tmp_path / "stripes.png")
        fast = ("--weights", "random", "--iterations", 20)
        assert cnnfast("texture", "stripes.png", "-o", "out.png", *fast, "--scale", 2).status == 0
        picture = load_image("out.png")[0]
        assert picture.shape == (64, 64)
        spectrum = torch.fft.rfft(picture - picture.mean(), dim=1).abs().mean(0)
        assert spectrum.argmax().item() == 16  # one period in four pixels

    def test_crop_is_the_part_it_names(self, cnnfast, sample):
        part = load_image(sample)[:, 3:13, 2:18]
        arguments = ("--crop", "16x10+2+3", "--side-by-side", "both.png")
        assert cnnfast("texture", sample, "-o", "out.png", *RANDOM, *arguments).status == 0
        both = load_image("both.png")
        assert torch.equal(both[:, :, :16], part) and torch.equal(both[:, :, -16:], load_image("out.png"))

    def test_histogram_is_the_samples_unless_refused(self, cnnfast, sample):
        wanted = load_image(sample)
        cnnfast("texture", sample, "-o", "matched.png", *RANDOM)
        cnnfast("texture", sample, "-o", "free.png", *RANDOM, "--no-match-histogram")
        matched, free = load_image("matched.png"), load_image("free.png")
        assert torch.equal(matched.flatten(1).sort().values, wanted.flatten(1).sort().values)
        assert not torch.equal(free, matched)
        # In the mean: the file's 8 bits merge values of the flat picture, whose ranks decide about the matched ones.
        assert (match_histogram(free, wanted) - matched).abs().mean() < 0.02

    def test_grey_stays_grey(self, cnnfast, sample, tmp_path):
        save_image(load_image(sample)[:1], tmp_path / "grey.png")
        cnnfast("texture", "grey.png", "-o", "out.png", *RANDOM)
        assert is_grey(load_image("out.png"))

    def test_transparent_sample(self, cnnfast, sample, tmp_path):
        picture = load_image(sample, alpha="keep")
        picture[3, :, 14:] = 0
        save_image(picture, tmp_path / "alpha.png")
        for alpha, share in (("white", 0.3), ("drop", 0.0)):
            cnnfast("texture", "alpha.png", "-o", "out.png", *RANDOM, "--alpha", alpha)
            assert (load_image("out.png") == 1).float().mean() >= share
        assert (load_image("out.png") == 1).float().mean() < 0.3

    def test_seeds(self, cnnfast, sample):
        pictures = {}
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            cnnfast("texture", sample, "-o", f"{name}.png", *RANDOM, "--seed", seed)
            pictures[name] = Path(f"{name}.png").read_bytes()
        assert pictures["a"] == pictures["b"] != pictures["c"]

    @pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "bmp"])
    def test_formats(self, cnnfast, sample, suffix):
        assert cnnfast("texture", sample, "-o", f"out.{suffix}", *RANDOM).status == 0
        assert size_of(f"out.{suffix}") == (28, 24)

    def test_network_options(self, cnnfast, sample, tiny_vgg, vgg_state, tmp_path):
        def picture(*arguments):
            common = ("--iterations", 3, "--dtype", "float32")
            assert cnnfast("texture", sample, "-o", "out.png", *common, *arguments).status == 0
            return Path("out.png").read_bytes()

        usual = picture("--weights", tiny_vgg)
        others = [
            picture("--weights", tiny_vgg, "--layers", "relu1_1,pool2=0.5"),
            picture("--weights", tiny_vgg, "--optimizer", "adam"),
            picture("--weights", tiny_vgg, "--dtype", "bfloat16"),
            picture("--weights", tiny_vgg, "--preset", "good", "--tileable"),
        ]
        assert usual not in others
        torch.save(vgg_state, tmp_path / "bare.pth")
        assert picture("--weights", "bare.pth", "--preprocessing", "torchvision") == usual
        assert picture("--weights", "bare.pth", "--preprocessing", "caffe") != usual


class TestWords:
    def test_first_line_and_plain_progress(self, cnnfast, tmp_path, tiny_vgg):
        save_image(torch.rand(3, 130, 140, generator=torch.Generator().manual_seed(0)), tmp_path / "a.png")
        result = cnnfast("texture", "a.png", "-o", "out.png", "--weights", tiny_vgg, "--iterations", 12)
        lines = result.out.splitlines()
        assert re.search(r"^cpu \(\d+ threads\); .*tiny\.safetensors.*; levels 70x65, 140x130 px;", lines[0])
        assert re.search(r"; 6\+12 iterations; about \d+ MB of memory$", lines[0])
        progress = [line for line in lines if re.match(r" *\d+%  level", line)]
        shape = r" *(\d+)%  level [12]/2 \d+x\d+  iteration \d+/\d+  loss [\d.e-]+  [\d.e+]+ it/s  ETA \d+:\d\d"
        shares = [int(re.fullmatch(shape, line)[1]) for line in progress]
        assert 8 <= len(progress) <= 10 and shares == sorted(shares) and shares[-1] == 100
        assert re.fullmatch(r"out\.png: 140x130 px in \d+:\d\d, relative loss [\d.e-]+", lines[-1])
        assert "\x1b" not in result.out and not result.err

    def test_weights_are_chosen_and_named(self, cnnfast, sample, tiny_vgg, monkeypatch):
        assert "random filters" in cnnfast("texture", sample, "-o", "out.png", "--iterations", 1).out
        monkeypatch.setenv("CNNFAST_VGG", str(tiny_vgg))
        assert "VGG-16 from CNNFAST_VGG" in cnnfast("texture", sample, "-o", "out.png", "--iterations", 1).out

    def test_tiles_are_announced_once(self, cnnfast, sample, tiny_vgg, monkeypatch):
        network = build_extractor("vgg", weights=tiny_vgg, compute_dtype=fast_dtype(torch.device("cpu")))
        kept = optimizer_bytes("lbfgs", 3 * 274 * 320)
        evaluation = estimate_memory(network, 274, 320) - kept
        monkeypatch.setattr(memory, "available_memory", lambda: int((kept + 0.9 * evaluation) / memory.USABLE))
        arguments = ("--weights", tiny_vgg, "--iterations", 1, "--size", 320)
        result = cnnfast("texture", sample, "-o", "out.png", *arguments)
        assert result.status == 0, result
        assert result.err.count("\n") == 1 and "evaluated in tiles of" in result.err

    def test_live_line_on_a_terminal(self, sample, tmp_path, environment):
        terminal, end = pty.openpty()
        command = [sys.executable, "-m", "cnnfast", "texture", sample, "-o", tmp_path / "out.png", *RANDOM]
        environment = environment | {"TERM": "xterm", "COLUMNS": "160"}
        process = subprocess.Popen(command, stdout=end, stderr=subprocess.PIPE, stdin=end, env=environment)
        os.close(end)
        shown = b""
        try:
            while piece := os.read(terminal, 4096):
                shown += piece
        except OSError:  # the other end has been closed
            pass
        assert process.wait() == 0 and process.stderr.read() == b""
        text = shown.decode()
        assert "\x1b[" in text and "iteration 3/3" in text and "100%" in text and "ETA" in text


class TestFiles:
    def test_history_and_plot(self, cnnfast, tmp_path, sample, tiny_vgg):
        save_image(torch.rand(3, 130, 140, generator=torch.Generator().manual_seed(0)), tmp_path / "a.png")
        arguments = ("--weights", tiny_vgg, "--iterations", 6, "--history", "loss.json", "--plot", "loss.png")
        assert cnnfast("texture", "a.png", "-o", "out.png", *arguments).status == 0
        record = json.loads(Path("loss.json").read_text())
        assert record["levels"] == ["70x65", "140x130"] and record["iterations"] == [3, 6] and record["finished"]
        steps = [(entry["level"], entry["iteration"]) for entry in record["history"]]
        assert steps == [(1, 1), (1, 2), (1, 3)] + [(2, i) for i in range(1, 7)]
        losses = [entry["loss"] for entry in record["history"]]
        assert all(0 < loss < 10 for loss in losses) and losses[2] < losses[0] and losses[8] < losses[3]
        assert record["options"]["iterations"] == "6" and record["torch"] == torch.__version__
        picture = load_image("loss.png")
        assert picture.shape[1] > 200 and (picture < 0.5).any()

    @pytest.mark.parametrize("suffix", ["svg", "pdf"])
    def test_other_plots(self, cnnfast, sample, suffix):
        assert cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--plot", f"a.{suffix}").status == 0
        assert Path(f"a.{suffix}").stat().st_size > 1000

    def test_plot_without_matplotlib(self, cnnfast, sample, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        result = cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--plot", "a.png")
        assert result.status == 2 and "pip install matplotlib (or the extra cli)" in result.err
        assert not Path("out.png").exists()

    def test_previews_are_whole_pictures(self, cnnfast, sample, monkeypatch):
        seen = []

        def look(image, path, **options):
            save_image(image, path, **options)
            seen.append(load_image(path))

        monkeypatch.setattr("cnnfast.cli.style.session.save_image", look)
        arguments = ("--weights", "random", "--iterations", 7, "--preview-every", 2)
        assert cnnfast("texture", sample, "-o", "out.png", *arguments).status == 0
        assert len(seen) == 4 and all(image.shape == (3, 24, 28) for image in seen)
        assert not torch.equal(seen[0], seen[2])

    def test_previews_change_nothing(self, cnnfast, sample):
        cnnfast("texture", sample, "-o", "a.png", *RANDOM, "--preview-every", 1, "--checkpoint", "a.pt")
        cnnfast("texture", sample, "-o", "b.png", *RANDOM, "--preview-every", 0)
        assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
        assert not Path("a.pt").exists()  # three iterations are fewer than 25

    def test_nothing_else_is_left(self, cnnfast, sample, tmp_path):
        cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--preview-every", 1)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "sample.png"]


class TestFullDisk:
    def test_previews_that_fail_are_said_once_and_the_run_goes_on(self, cnnfast, sample, monkeypatch):
        real, calls = os.fsync, []

        def full_at_first(file):
            calls.append(file)
            if len(calls) <= 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(file)

        monkeypatch.setattr(os, "fsync", full_at_first)
        result = cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--preview-every", 1)
        assert result.status == 0 and size_of("out.png") == (28, 24)
        assert result.err.count("\n") == 1
        assert "out.png is not up to date, the run goes on" in result.err and "disk full" in result.err

    def test_end_on_a_full_disk_keeps_the_old_file(self, cnnfast, sample, tmp_path, monkeypatch):
        (tmp_path / "out.png").write_text("old")

        def full(_file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        result = cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--preview-every", 0)
        assert result.status == 2 and result.err.count("\n") == 1 and "disk full" in result.err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "sample.png"]
        assert (tmp_path / "out.png").read_text() == "old"

    def test_the_systems_own_refusal(self, sample, tmp_path, environment):
        (tmp_path / "out.png").write_text("old")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

        command = [sys.executable, "-m", "cnnfast", "texture", sample, "-o", tmp_path / "out.png", *RANDOM]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limit)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and "File too large" in result.stderr
        assert (tmp_path / "out.png").read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "sample.png"]
