"""Ctrl-C on a terminal and SIGTERM, for every command that trains or optimises: saved, 130 or 143, nobody left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("pty")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pycocotools")

from cnnfast.images import save_image
from tests.cli.terminal import Terminal, processes_of

SEGMENT = ("segment", "train", "synthetic", "--pictures", 16, "--side", 64, "--steps", 100_000, "--batch", 2)
FAST = ("fast-style", "train", "style.png", "photos", "--weights", "random", "--image-size", 32, "--steps", 100_000)
PICTURE = ("--weights", "random", "--size", 64, "--iterations", 100_000)
COMMANDS = {
    "segment, workers": (*SEGMENT, "-o", "net.pt", "--checkpoint-every", 5),
    "segment, no workers": (*SEGMENT, "-o", "net.pt", "--checkpoint-every", 5, "--workers", 0),
    "segment, two processes": (*SEGMENT, "-o", "net.pt", "--checkpoint-every", 5, "--devices", 2),
    "fast-style, workers": (*FAST, "-o", "net.pt", "--checkpoint-every", 5),
    "fast-style, two processes": (*FAST, "-o", "net.pt", "--checkpoint-every", 5, "--devices", 2),
    "texture": ("texture", "style.png", "-o", "net.png", *PICTURE, "--checkpoint-every", 5),
    "style": ("style", "photos/0.png", "style.png", "-o", "net.png", *PICTURE, "--checkpoint-every", 5),
}


@pytest.fixture
def start(tmp_path, environment):
    """Starts a command in a folder with pictures, and waits until it has worked for a while."""
    save_image(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)), tmp_path / "style.png")
    (tmp_path / "photos").mkdir()
    for index in range(4):
        save_image(torch.rand(3, 48, 64), tmp_path / "photos" / f"{index}.png")
    running = []

    def call(name: str) -> Terminal:
        terminal = Terminal(environment, tmp_path, *COMMANDS[name], "--history", "history.json")
        running.append(terminal)
        terminal.wait_for((tmp_path / "net.checkpoint.pt").exists)
        return terminal

    yield call
    for terminal in running:
        terminal.kill()


def is_whole(folder: Path) -> bool:
    """Checkpoint and network or picture can be read."""
    checkpoint = torch.load(folder / "net.checkpoint.pt", weights_only=True)
    output = next(path for path in (folder / "net.pt", folder / "net.png") if path.exists())
    return bool(checkpoint) and output.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_stopped_and_saved(name, how, start, tmp_path):
    terminal = start(name)
    terminal.press_ctrl_c() if how == "Ctrl-C" else terminal.terminate()
    status = terminal.end()
    assert status == (130 if how == "Ctrl-C" else 143), terminal.text
    last = terminal.text.replace("\r", "\n").strip().splitlines()[-1]
    assert "stopped" in last and "continue with --resume" in last, terminal.text
    assert "Traceback" not in terminal.text and "Errno" not in terminal.text and is_whole(tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["finished"] is False and history["history"]
    assert not processes_of(str(tmp_path)) and not list(tmp_path.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segment, workers", "fast-style, two processes", "texture"])
def test_pressed_twice(name, start, tmp_path):
    """It ends at once; the files are whole, and the message says what they hold."""
    terminal = start(name)
    terminal.press_ctrl_c()
    terminal.press_ctrl_c()
    assert terminal.end() == 130, terminal.text
    assert "stopped" in terminal.text and "Traceback" not in terminal.text and is_whole(tmp_path)
    assert not list(tmp_path.glob(".*.tmp"))
