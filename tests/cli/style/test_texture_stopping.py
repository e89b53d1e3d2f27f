"""`cnnfast texture` stopped half-way, and continued."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from cnnfast.cli import main
from cnnfast.images import load_image, save_image
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from tests.cli.picture_cases import CHECKPOINTS, RANDOM, Run, size_of

TOTAL = 40


@pytest.fixture
def long(tiny_vgg) -> tuple[object, ...]:
    """Options of a run long enough to be stopped in its middle."""
    return ("--weights", tiny_vgg, "--iterations", TOTAL, "--preview-every", 1)


@pytest.fixture(scope="module")
def unbroken(stripes, tiny_vgg, tmp_path_factory) -> tuple[bytes, list]:
    """Picture and losses of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    save_image(stripes, folder / "sample.png")
    arguments = ("--weights", tiny_vgg, "--iterations", TOTAL, "--history", folder / "whole.json")
    words = ["texture", folder / "sample.png", "-o", folder / "whole.png", *arguments]
    assert main([str(word) for word in words]) == 0
    return (folder / "whole.png").read_bytes(), json.loads((folder / "whole.json").read_text())["history"]


class TestStopping:
    def resume(self, cnnfast, sample, long, checkpoint) -> tuple[bytes, list]:
        arguments = (*long, "--history", "resumed.json", "--resume", checkpoint)
        result = cnnfast("texture", sample, "-o", "resumed.png", *arguments)
        assert result.status == 0 and not result.err, result
        return Path("resumed.png").read_bytes(), json.loads(Path("resumed.json").read_text())["history"]

    def test_kill_9_then_resume_gives_the_same_picture(self, cnnfast, sample, long, tmp_path, unbroken, environment):
        run = Run(environment, tmp_path, "texture", sample, *long, "-o", "out.png", *CHECKPOINTS)
        status, _, _ = run.stop(signal.SIGKILL, tmp_path / "run.pt")
        assert status == -signal.SIGKILL
        assert load_image("out.png").shape == (3, 24, 28)  # whole, if only half done
        assert 1 <= len(load_checkpoint("run.pt")["history"]) < TOTAL
        assert self.resume(cnnfast, sample, long, "run.pt") == unbroken

    def test_kill_9_before_the_first_preview_leaves_no_output(self, sample, long, tmp_path, environment):
        words = ("texture", sample, "-o", "out.png", "--preview-every", 0, *CHECKPOINTS)
        run = Run(environment, tmp_path, *words)
        run.stop(signal.SIGKILL, tmp_path / "run.pt", changes=1)
        assert not (tmp_path / "out.png").exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_save_picture_and_checkpoint(self, cnnfast, sample, long, tmp_path, unbroken, number, environment):
        run = Run(environment, tmp_path, "texture", sample, *long, "-o", "out.png", "--history", "loss.json")
        status, out, err = run.stop(number, tmp_path / "out.png")
        assert (status, err) == (128 + number, "")
        assert out.splitlines()[-1].endswith("out.png is the picture so far; continue with --resume out.checkpoint.pt")
        record = json.loads(Path("loss.json").read_text())
        done = len(record["history"])
        assert 1 <= done < TOTAL and not record["finished"]
        assert load_image("out.png").shape == (3, 24, 28)
        assert len(load_checkpoint("out.checkpoint.pt")["history"]) == done
        assert self.resume(cnnfast, sample, long, "out.checkpoint.pt") == unbroken
        leftover = [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
        assert not leftover

    def test_ctrl_c_between_levels(self, cnnfast, tmp_path, tiny_vgg, monkeypatch):
        """Stopped at the last iteration of the first of two levels, and resumed there."""
        save_image(torch.rand(3, 130, 140, generator=torch.Generator().manual_seed(0)), tmp_path / "a.png")
        arguments = ("a.png", "--weights", tiny_vgg, "--iterations", 6)
        cnnfast("texture", *arguments, "-o", "whole.png")

        def stop(self, progress):
            if (progress.level, progress.iteration) == (1, 3):
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.style.progress.Reporter.update", stop)
        assert cnnfast("texture", *arguments, "-o", "out.png").status == 130
        assert size_of("out.png") == (70, 65)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        assert cnnfast("texture", *arguments, "-o", "out.png", "--resume", "out.checkpoint.pt").status == 0
        assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()

    def test_second_ctrl_c_stops_at_once_and_still_saves(self, cnnfast, sample, long, monkeypatch):
        def stop_twice(self, progress):
            if progress.iteration == 2:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                pytest.fail("went on")

        monkeypatch.setattr("cnnfast.cli.style.progress.Reporter.update", stop_twice)
        assert cnnfast("texture", sample, *long, "-o", "out.png").status == 130
        assert len(load_checkpoint("out.checkpoint.pt")["history"]) == 2

    def test_ctrl_c_before_the_first_iteration(self, cnnfast, sample, long, monkeypatch):
        def interrupted(*_args, **_options):
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.style.texture.synthesize_texture", interrupted)
        result = cnnfast("texture", sample, *long, "-o", "out.png")
        assert result.status == 130 and "nothing was written" in result.err and result.err.count("\n") == 1
        assert not Path("out.png").exists() and not Path("out.checkpoint.pt").exists()

    def test_handlers_are_given_back(self, cnnfast, sample):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        cnnfast("texture", sample, "-o", "out.png", *RANDOM)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    def test_resume_with_other_settings_is_refused(self, cnnfast, sample, tmp_path):
        arguments = ("--checkpoint", "a.pt", "--checkpoint-every", 1)
        assert cnnfast("texture", sample, "-o", "out.png", *RANDOM, *arguments).status == 0
        before = Path("out.png").read_bytes()
        for change in (["--seed", 7], ["--size", 20], ["--tileable"], ["--crop", "20x20"], ["--optimizer", "adam"]):
            result = cnnfast("texture", sample, "-o", "out.png", *RANDOM, *change, "--resume", "a.pt")
            assert result.status == 2 and result.err.count("\n") == 1 and "checkpoint" in result.err
        assert Path("out.png").read_bytes() == before

    def test_resume_after_the_end_gives_the_end(self, cnnfast, sample):
        cnnfast("texture", sample, "-o", "a.png", *RANDOM, "--checkpoint", "a.pt", "--checkpoint-every", 1)
        result = cnnfast("texture", sample, "-o", "b.png", *RANDOM, "--resume", "a.pt")
        assert result.status == 0 and Path("a.png").read_bytes() == Path("b.png").read_bytes()
