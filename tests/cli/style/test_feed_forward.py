"""`cnnfast fast-style`: train, apply, export, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cnnfast.images import load_image, save_image
from cnnfast.models.style.feed_forward.apply import apply_style
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import load_style_network, save_style_network
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from tests.cli.picture_cases import size_of

STEPS = 8


@pytest.fixture
def model(tmp_path) -> Path:
    torch.manual_seed(0)
    network = TransformerNet((4, 6, 8))
    torch.nn.init.normal_(network.deconv3.conv2d.bias, 128, 30)
    save_style_network(network, tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of frames of one size, another picture deeper down, and files that are no pictures."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for index in range(3):
        save_image(torch.rand(3, 20, 30, generator=generator), folder / f"frame_{index}.png")
    save_image(torch.rand(3, 33, 17, generator=generator), folder / "more" / "other.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def names(folder: Path | str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


class TestApply:
    def test_one_picture(self, cnnfast, model, pictures):
        result = cnnfast("fast-style", "apply", model, pictures / "frame_0.png", "-o", "out.png")
        assert result.status == 0 and not result.err
        assert result.out.splitlines()[-1].startswith("out.png: 1 of 1 pictures in ")
        expected = apply_style(load_style_network(model).network, load_image(pictures / "frame_0.png"))
        torch.testing.assert_close(load_image("out.png"), expected, rtol=0, atol=0.51 / 255)

    def test_folder(self, cnnfast, model, pictures):
        assert cnnfast("fast-style", "apply", model, pictures, "-o", "new/out").status == 0
        assert names("new/out") == ["frame_0.png", "frame_1.png", "frame_2.png", "more/other.jpg"]
        assert size_of("new/out/frame_1.png") == (30, 20) and size_of("new/out/more/other.jpg") == (17, 33)

    @pytest.mark.parametrize("options", [("--batch", 2), ("--batch", 5), ("--tile", 8), ("--tile", "off")])
    def test_batches_and_strips_change_nothing(self, cnnfast, model, pictures, options):
        cnnfast("fast-style", "apply", model, pictures, "-o", "one", "--format", "png")
        cnnfast("fast-style", "apply", model, pictures, "-o", "two", "--format", "png", *options)
        assert names("one") == names("two") and "more/other.png" in names("two")
        for name in names("one"):
            difference = (load_image(Path("one", name)) - load_image(Path("two", name))).abs().max()
            assert difference < 1.01 / 255

    def test_pattern_and_several_inputs(self, cnnfast, model, pictures):
        words = (f"{pictures}/frame_[02].png", pictures / "more/other.jpg")
        assert cnnfast("fast-style", "apply", model, *words, "-o", "out").status == 0
        assert names("out") == ["frame_0.png", "frame_2.png", "other.jpg"]

    def test_a_slash_means_a_folder(self, cnnfast, model, pictures):
        result = cnnfast("fast-style", "apply", model, pictures / "frame_0.png", "-o", "styled/")
        assert result.status == 0 and names("styled") == ["frame_0.png"]
        again = cnnfast(
            "fast-style", "apply", model, pictures / "frame_0.png", pictures / "frame_1.png", "-o", "x.png/"
        )
        assert again.status == 0 and names("x.png") == ["frame_0.png", "frame_1.png"]

    def test_the_folder_of_one_picture_is_made(self, cnnfast, model, pictures):
        assert cnnfast("fast-style", "apply", model, pictures / "frame_0.png", "-o", "new/deep/out.png").status == 0
        assert names("new") == ["deep/out.png"]

    def test_its_own_results_are_no_inputs(self, cnnfast, model, pictures):
        words = ("fast-style", "apply", model, pictures, "-o", pictures / "out")
        first, second = cnnfast(*words), cnnfast(*words)
        assert first.status == second.status == 0 and "4 of 4 pictures" in second.out
        assert len(names(pictures / "out")) == 4
        alone = cnnfast("fast-style", "apply", model, pictures / "out", "-o", pictures)
        assert alone.status == 0, alone

    def test_size(self, cnnfast, model, pictures):
        cnnfast("fast-style", "apply", model, pictures / "frame_0.png", "-o", "a.png", "--size", 61)
        cnnfast("fast-style", "apply", model, pictures / "frame_0.png", "-o", "b.png", "--size", "13x7")
        assert size_of("a.png") == (61, 41) and size_of("b.png") == (13, 7)

    def test_one_pixel(self, cnnfast, model, tmp_path):
        save_image(torch.rand(3, 1, 1), tmp_path / "dot.png")
        assert cnnfast("fast-style", "apply", model, "dot.png", "-o", "out.png").status == 0
        assert size_of("out.png") == (1, 1)

    def test_bad_pictures_are_named_and_the_others_done(self, cnnfast, model, pictures):
        (pictures / "bad.png").write_text("no picture")
        result = cnnfast("fast-style", "apply", model, pictures, "-o", "out")
        assert result.status == 2 and result.err.count("\n") == 1 and "skipped: " in result.err
        assert "bad.png which is of no known kind" in result.err and "4 of 5 pictures" in result.out
        assert len(names("out")) == 4

    def test_skip_existing(self, cnnfast, model, pictures):
        Path("out").mkdir()
        Path("out/frame_1.png").write_text("old")
        assert cnnfast("fast-style", "apply", model, pictures, "-o", "out", "--skip-existing").status == 0
        assert Path("out/frame_1.png").read_text() == "old" and len(names("out")) == 4

    def test_ctrl_c_keeps_what_is_done(self, cnnfast, model, pictures, monkeypatch):
        def stop(self, done, text):
            if done == 2:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop)
        # A shell that runs the tests in the background has Ctrl-C ignored.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            result = cnnfast("fast-style", "apply", model, pictures, "-o", "out")
        finally:
            signal.signal(signal.SIGINT, previous)
        assert result.status == 130 and "1 of 4 pictures are written" in result.err
        assert names("out") == ["frame_0.png"]

    def test_johnson(self, cnnfast, pictures, tmp_path):
        save_style_network(JohnsonNet("instance", arch="c9s1-4,d6,R6,u4,c9s1-3"), tmp_path / "model.pt")
        assert cnnfast("fast-style", "apply", "model.pt", pictures, "-o", "out").status == 0
        assert size_of("out/more/other.jpg") == (17, 33)


REFUSED = {
    "no model": (["none.pth", "a.png", "-o", "out.png"], "none.pth which does not exist"),
    "another network": (["vgg.pth", "a.png", "-o", "out.png"], "without conv1.conv2d.weight, but with features.0"),
    "no weights": (["list.pth", "a.png", "-o", "out.png"], "is damaged or holds objects other than tensors"),
    "malicious": (["malicious.pth", "a.png", "-o", "out.png"], "is damaged or holds objects other than tensors"),
    "truncated": (["truncated.pth", "a.png", "-o", "out.png"], "is damaged or holds objects other than tensors"),
    "no picture": (["model.pth", "none.png", "-o", "out.png"], "none.png which does not exist"),
    "damaged picture": (["model.pth", "text.png", "-o", "out.png"], "text.png which is of no known kind"),
    "no match": (["model.pth", "x*.png", "-o", "out"], "expected a pattern that matches pictures, got none"),
    "empty folder": (["model.pth", "empty", "-o", "out"], "expected pictures in empty, got none"),
    "over itself": (["model.pth", "a.png", "-o", "a.png"], "a.png: expected an output that is not also an input"),
    "into its own folder": (["model.pth", "pictures", "-o", "pictures"], "not also an input, got the same"),
    "over the model": (["model.pth", "a.png", "-o", "model.pth"], "expected a path ending in .png"),
    "same names": (["model.pth", "a.png", "pictures/a.png", "-o", "out"], "expected one picture for each place"),
    "picture's name for several": (
        ["model.pth", "a.png", "b.png", "-o", "one.png"],
        "one.png: expected a folder for several pictures, got a picture's name (a folder: one.png/)",
    ),
    "file as parent": (["model.pth", "a.png", "-o", "text.png/out.png"], "expected a folder that can be made"),
    "file as folder": (
        ["model.pth", "pictures", "-o", "text.png"],
        "expected a folder for several pictures, got a file",
    ),
    "ending": (["model.pth", "a.png", "-o", "out.xyz"], "expected a path ending in .png"),
    "size": (["model.pth", "a.png", "-o", "out.png", "--size", "0"], "--size: expected px"),
    "batch": (["model.pth", "a.png", "-o", "out.png", "--batch", "0"], "--batch: expected at least 1"),
    "tile": (["model.pth", "a.png", "-o", "out.png", "--tile", "0"], "--tile: expected auto, off or a number"),
    "format": (["model.pth", "pictures", "-o", "out", "--format", "gif"], "--format: expected png or jpg"),
    "dtype": (["model.pth", "a.png", "-o", "out.png", "--dtype", "int8"], "--dtype: expected auto or float32"),
    "device": (["model.pth", "a.png", "-o", "out.png", "--device", "tpu"], "--device: expected auto"),
}


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(cnnfast, model, tmp_path, case):
    whole = model.read_bytes()
    (tmp_path / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "vgg.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Malicious(), tmp_path / "malicious.pth")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "pictures/a.png"):
        save_image(torch.rand(3, 9, 9), tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    arguments, words = REFUSED[case]
    result = cnnfast("fast-style", "apply", *arguments)
    assert result.status == 2 and result.err.count("\n") == 1 and words in result.err, result
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


class TestExport:
    def test_onnx(self, cnnfast, model):
        pytest.importorskip("onnxscript")
        result = cnnfast("fast-style", "export", model, "-o", "model.onnx", "--size", "32x24")
        assert result.status == 0 and result.out.startswith("model.onnx: input image")
        assert Path("model.onnx").stat().st_size > 10_000

    def test_refused(self, cnnfast, model):
        assert "ending in .onnx" in cnnfast("fast-style", "export", model, "-o", "a.bin").err
        assert "not also another file" in cnnfast("fast-style", "export", model, "-o", model).err


@pytest.fixture
def words(tiny_vgg, pictures, sample) -> tuple[object, ...]:
    """A training that takes a second."""
    pytest.importorskip("lightning_fabric")
    options = ("--image-size", 16, "--batch", 1, "--width", 0.1, "--workers", 0, "--dtype", "float32")
    return ("fast-style", "train", sample, pictures, "--weights", tiny_vgg, "--steps", STEPS, *options)


class TestTrain:
    def test_files(self, cnnfast, words):
        extra = ("--history", "loss.json", "--plot", "loss.png", "--log", "log", "--style-strength", 2)
        result = cnnfast(*words, "-o", "model.pt", *extra)
        assert result.status == 0 and not result.err, result
        lines = result.out.splitlines()
        assert "4 pictures; 8 steps of 1 crops of 16x16 px; channels 3, 6, 13" in lines[0]
        assert lines[-1].startswith("model.pt: ") and ", loss " in lines[-1]
        model = load_style_network("model.pt")
        assert model.style == "sample" and model.settings["steps"] == STEPS
        record = json.loads(Path("loss.json").read_text())
        assert len(record["history"]) == STEPS and record["finished"]
        assert Path("loss.png").stat().st_size > 1000
        assert cnnfast("fast-style", "apply", "model.pt", "sample.png", "-o", "out.png").status == 0

    def test_ctrl_c_and_resume(self, cnnfast, words, monkeypatch):
        assert cnnfast(*words, "-o", "whole.pth", "--history", "whole.json").status == 0

        def stop(self, done, text):
            if done == 3:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop)
        result = cnnfast(*words, "-o", "out.pth")
        assert result.status == 130 and "stopped at step 4" in result.out
        assert result.out.splitlines()[-1].endswith("continue with --resume out.checkpoint.pt")
        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", lambda self, done, text: None)
        assert cnnfast(*words, "-o", "out.pth", "--resume", "out.checkpoint.pt", "--history", "rest.json").status == 0
        assert Path("out.pth").read_bytes() == Path("whole.pth").read_bytes()
        histories = [json.loads(Path(name).read_text())["history"] for name in ("whole.json", "rest.json")]
        assert histories[0][4:] == histories[1]

    def test_unreadable_pictures_are_named(self, cnnfast, words, pictures):
        (pictures / "bad.png").write_text("no picture")
        result = cnnfast(*words, "-o", "model.pth")
        assert result.status == 0 and result.err.count("\n") == 1 and "skipped: " in result.err

    def test_no_readable_picture(self, cnnfast, words, pictures):
        for name in names(pictures):
            (pictures / name).write_text("no picture")
        result = cnnfast(*words, "-o", "model.pth")
        assert result.status == 2 and result.err.count("\n") == 1 and "can be read, got none" in result.err

    @pytest.mark.parametrize(
        "options, text",
        [
            (["--steps", 0], "--steps: expected at least 1"),
            (["--width", 0], "--width: expected a factor above 0"),
            (["--crop", "all"], "--crop: expected random or center"),
            (["--dtype", "float16"], "--dtype: expected auto or float32"),
            (["--log-format", "xml"], "--log-format: expected csv or tensorboard"),
            (["--plot", "a.gif"], "--plot: expected a path ending in"),
            (["-o", "model.bin"], "expected a path ending in .pth"),
            (["-o", "sample.pth", "--history", "sample.pth"], "not also another file"),
            (["--resume", "sample.png"], "expected a checkpoint of its own, got sample.png"),
            (["--resume", "none.pt"], "none.pt"),
            (["--style-strength", 0], "positive style_strength"),
            (["--image-size", 4], "expected image_size of at least"),
            (["--style-size", 4], "expected a style of at least"),
            (["--weights", "vgg19"], "expected vgg19 weights on this machine, got none"),
            (["--seed", -1], "--seed: expected a number"),
        ],
    )
    def test_refused(self, cnnfast, words, options, text):
        result = cnnfast(*words, *([] if "-o" in options else ["-o", "model.pth"]), *options)
        assert result.status == 2 and result.err.count("\n") == 1 and text in result.err, result
        assert not Path("model.pth").exists()


@pytest.mark.slow
class TestProcesses:
    def start(self, environment, words, *arguments) -> subprocess.Popen:
        command = [sys.executable, "-m", "cnnfast", *words, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([str(word) for word in command], env=environment, **pipes)

    def test_two_processes_train_as_one_with_twice_the_batch(self, words, environment, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        runs = {"one": ("--batch", 2), "two": ("--batch", 1, "--devices", 2)}
        for name, options in runs.items():
            extra = ("--device", "cpu", "-o", f"{name}.pth", "--history", f"{name}.json")
            run = self.start(environment, words, *options, *extra)
            out, err = run.communicate(timeout=300)
            assert run.returncode == 0 and not err, (out, err)
            assert out.count("\n") == STEPS + 2  # one process talks
        losses = [[e["loss"] for e in json.loads(Path(f"{name}.json").read_text())["history"]] for name in runs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        # The weights themselves differ where they have no influence: Adam's steps have one length whatever the
        # gradient, and the gradient of a constant before an instance norm is rounding alone.
        picture = 255 * torch.rand(1, 3, 24, 32)
        first, second = (load_style_network(f"{name}.pth").network(picture) for name in runs)
        torch.testing.assert_close(first, second, rtol=0, atol=2e-3 * float(first.abs().max()))

    @pytest.mark.parametrize("devices", [1, 2])
    def test_ctrl_c_in_a_terminal_reaches_all_processes(self, words, environment, tmp_path, devices):
        """And the first one alone decides: the training ends with a checkpoint."""
        options = ("--steps", 100_000, "--workers", 2, "--device", "cpu", "--devices", devices)
        files = ("-o", "out.pth", "--checkpoint-every", 5)
        command = [sys.executable, "-m", "cnnfast", *words, *options, *files]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        run = subprocess.Popen([str(word) for word in command], env=environment, cwd=tmp_path, **pipes)
        while not (tmp_path / "out.pth").exists():
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)
        try:
            out, err = run.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            raise
        assert run.returncode == 130 and not err and "continue with --resume out.checkpoint.pt" in out, (out, err)

    def test_kill_9_then_resume(self, words, environment, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        words = (*words, "--steps", 60)
        whole = self.start(environment, words, "-o", "whole.pth", "--history", "whole.json")
        assert whole.wait(timeout=300) == 0
        run = self.start(environment, words, "-o", "out.pth", "--checkpoint-every", 5)
        while not Path("out.pth").exists():
            assert run.poll() is None, run.communicate()
            time.sleep(0.002)
        run.kill()
        run.communicate()
        resumed = self.start(
            environment, words, "-o", "out.pth", "--resume", "out.checkpoint.pt", "--history", "rest.json"
        )
        out, err = resumed.communicate(timeout=300)
        assert resumed.returncode == 0, (out, err)
        losses = [json.loads(Path(name).read_text())["history"] for name in ("whole.json", "rest.json")]
        assert 0 < len(losses[1]) < 60 and losses[0][-len(losses[1]) :] == losses[1]
        assert Path("out.pth").read_bytes() == Path("whole.pth").read_bytes()
