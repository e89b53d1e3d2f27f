"""`cnnfast style` stopped half-way, and continued."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from cnnfast.cli import main
from cnnfast.images import load_image, save_image
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from tests.cli.picture_cases import CHECKPOINTS, Run

TOTAL = 40


def words(folder: Path, tiny_vgg: Path) -> tuple[object, ...]:
    """A run long enough to be stopped in its middle."""
    layers = ("--content-layers", "relu2_2", "--style-layers", "relu1_1,relu2_1")
    options = ("--size", 28, "--levels", 1, "--iterations", TOTAL, "--preview-every", 1)
    return ("style", folder / "content.png", folder / "style.png", "--weights", tiny_vgg, *layers, *options)


@pytest.fixture(scope="module")
def unbroken(stripes, tiny_vgg, tmp_path_factory) -> tuple[Path, bytes, list]:
    """Folder with the pictures, and picture and losses of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    save_image(stripes, folder / "content.png")
    save_image(1 - stripes.transpose(1, 2).contiguous(), folder / "style.png")
    arguments = (*words(folder, tiny_vgg), "-o", folder / "whole.png", "--history", folder / "whole.json")
    assert main([str(word) for word in arguments]) == 0
    history = json.loads((folder / "whole.json").read_text())["history"]
    return folder, (folder / "whole.png").read_bytes(), history


def resume(cnnfast, unbroken, tiny_vgg, checkpoint) -> None:
    folder, picture, history = unbroken
    arguments = (*words(folder, tiny_vgg), "--history", "resumed.json", "--resume", checkpoint)
    result = cnnfast(*arguments, "-o", "resumed.png")
    assert result.status == 0 and not result.err, result
    assert Path("resumed.png").read_bytes() == picture
    assert json.loads(Path("resumed.json").read_text())["history"] == history


def test_kill_9_then_resume_gives_the_same_picture(cnnfast, tmp_path, unbroken, tiny_vgg, environment):
    arguments = (*words(unbroken[0], tiny_vgg), "-o", "out.png", *CHECKPOINTS)
    status, _, _ = Run(environment, tmp_path, *arguments).stop(signal.SIGKILL, tmp_path / "run.pt")
    assert status == -signal.SIGKILL
    assert load_image("out.png").shape == (3, 24, 28)  # whole, if only half done
    assert 1 <= len(load_checkpoint("run.pt", "style")["history"]) < TOTAL
    resume(cnnfast, unbroken, tiny_vgg, "run.pt")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_picture_and_checkpoint(cnnfast, tmp_path, unbroken, tiny_vgg, environment, number):
    run = Run(environment, tmp_path, *words(unbroken[0], tiny_vgg), "-o", "out.png")
    status, out, err = run.stop(number, tmp_path / "out.png")
    assert (status, err) == (128 + number, "")
    assert out.splitlines()[-1].endswith("out.png is the picture so far; continue with --resume out.checkpoint.pt")
    assert load_image("out.png").shape == (3, 24, 28)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    resume(cnnfast, unbroken, tiny_vgg, "out.checkpoint.pt")


def test_ctrl_c_before_the_first_iteration(cnnfast, unbroken, tiny_vgg, monkeypatch):
    monkeypatch.setattr("cnnfast.cli.style.transfer.stylize", lambda *_a, **_o: signal.raise_signal(signal.SIGINT))
    result = cnnfast(*words(unbroken[0], tiny_vgg), "-o", "out.png")
    assert result.status == 130 and "nothing was written" in result.err and result.err.count("\n") == 1
    assert not Path("out.png").exists() and not Path("out.checkpoint.pt").exists()


def test_resume_with_other_settings_is_refused(cnnfast, unbroken, tiny_vgg):
    usual = (*words(unbroken[0], tiny_vgg), "-o", "out.png", "--iterations", 2)
    assert cnnfast(*usual, "--checkpoint", "a.pt", "--checkpoint-every", 1).status == 0
    before = Path("out.png").read_bytes()
    for change in (["--style-weight", 7], ["--size", 20], ["--init", "noise"], ["--preserve-color", "match"]):
        result = cnnfast(*usual, *change, "--resume", "a.pt")
        assert result.status == 2 and result.err.count("\n") == 1 and "checkpoint" in result.err
    texture = cnnfast("texture", unbroken[0] / "content.png", "-o", "out.png", "--resume", "a.pt")
    assert texture.status == 2 and "expected a checkpoint of texture synthesis" in texture.err
    assert Path("out.png").read_bytes() == before
