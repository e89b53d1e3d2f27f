"""README.md's commands and Python, as written, in an empty folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
# Appended to a command, so that it is short: the last one of two equal options counts.
SHORT = {
    ("texture",): "--size 64 --iterations 2",
    ("style",): "--size 64 --iterations 2",
    ("fast-style", "train"): "--steps 2 --image-size 32 --batch 1",
    ("segment", "train"): "--steps 2 --batch 2",
}


def blocks(language: str) -> Iterator[str]:
    """The blocks of code of a language, in order."""
    return (match[1] for match in re.finditer(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE))


def commands() -> Iterator[list[str]]:
    """The words behind ``cnnfast`` of every command."""
    for block in blocks("bash"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["cnnfast"]:
                yield words[1:]


def shortened(words: list[str]) -> list[str]:
    """The command with a small size and few steps."""
    return words + [word for start, short in SHORT.items() if words[: len(start)] == [*start] for word in short.split()]


def test_there_are_commands():
    found = [" ".join(words) for words in commands()]
    assert found[0] == "samples ." and len(found) > 12


@pytest.mark.slow
def test_commands_run_top_to_bottom(tmp_path, monkeypatch, capsys):
    for package in ("PIL", "skimage", "typer", "lightning_fabric", "onnx"):
        pytest.importorskip(package)
    from cnnfast.cli import main

    monkeypatch.chdir(tmp_path)
    for words in commands():
        # --scale is a size of its own.
        words = [*words, "--iterations", "2", "--crop", "32x32"] if "--scale" in words else shortened(words)
        status = main(words)
        assert status == 0, (words, capsys.readouterr().err)
        for option, path in pairwise(words):
            if option in ("-o", "--history", "--plot", "--side-by-side", "--json"):
                assert Path(path).exists(), (words, path)


@pytest.mark.slow
@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_runs(code, tmp_path, monkeypatch):
    for package in ("PIL", "skimage"):
        pytest.importorskip(package)
    from cnnfast.images import sample_picture, save_image
    from cnnfast.models.style.texture.presets import TEXTURE_PRESETS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TEXTURE_PRESETS, "fast", (1, 2))
    save_image(sample_picture("gravel"), "gravel.png")
    exec(compile(code, "README.md", "exec"), {})
