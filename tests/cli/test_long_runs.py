"""What a long run must survive: a small disk, a reader that leaves, and files that lie where it would write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("lightning_fabric")

from cnnfast.images import save_image
from tests.cli.picture_cases import RANDOM

SMALL = ("--image-size", 32, "--batch", 1, "--workers", 0)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 60 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    save_image(torch.rand(3, 40, 40), folder / "a.png")
    return folder


class TestFullDisk:
    def test_a_checkpoint_does_not_end_the_run(self, cnnfast, sample, small_disk):
        words = ("--size", 64, "--checkpoint", small_disk / "c.pt", "--checkpoint-every", 2, "--iterations", 6)
        result = cnnfast("texture", sample, "-o", "out.png", "--weights", "random", *words)
        assert result.status == 0 and Path("out.png").exists()
        assert result.err.count("\n") == 1 and f"{small_disk}/c.pt: disk full" in result.err, result.err
        assert not list(small_disk.iterdir())

    def test_the_last_save_of_a_training_tells_what_is_lost(self, cnnfast, sample, photos, small_disk):
        words = ("--weights", "random", *SMALL, "--steps", 2)
        result = cnnfast("fast-style", "train", sample, photos, "-o", small_disk / "net.pt", *words)
        assert result.status == 2, result
        last = result.err.strip().splitlines()[-1]
        assert "expected to write all files of step 2" in last and "disk full" in last
        assert f"{small_disk}/net.pt has nothing of this run" in last and not list(small_disk.iterdir())


class TestDefaultCheckpoint:
    """It replaces nothing that no run has written."""

    def test_a_link(self, cnnfast, sample, tmp_path):
        (tmp_path / "victim.txt").write_text("mine")
        (tmp_path / "out.checkpoint.pt").symlink_to("victim.txt")
        result = cnnfast("texture", sample, "-o", "out.png", *RANDOM)
        assert result.status == 2 and "out.checkpoint.pt is a link" in result.err and not Path("out.png").exists()
        named = cnnfast("texture", sample, "-o", "out.png", *RANDOM, "--checkpoint", "other.pt")
        assert named.status == 0 and (tmp_path / "victim.txt").read_text() == "mine"

    @pytest.mark.parametrize("content", ["mine", "", None])
    def test_another_file(self, cnnfast, sample, photos, tmp_path, content):
        path = tmp_path / "out.checkpoint.pt"
        path.mkdir() if content is None else path.write_text(content)
        for command in (
            ("texture", sample, "-o", "out.png", *RANDOM),
            ("fast-style", "train", sample, photos, "-o", "out.pt", "--weights", "random", "--steps", 1),
        ):
            result = cnnfast(*command)
            assert result.status == 2 and "out.checkpoint.pt is no checkpoint" in result.err, result

    def test_a_model_of_ones_own(self, cnnfast, sample, tmp_path):
        torch.save({"weight": torch.ones(3)}, tmp_path / "out.checkpoint.pt")
        assert "is no checkpoint" in cnnfast("texture", sample, "-o", "out.png", *RANDOM).err

    def test_a_checkpoint(self, cnnfast, sample, photos, tmp_path):
        words = ("--checkpoint", "out.checkpoint.pt", "--checkpoint-every", 1)
        for command in (
            ("texture", sample, "-o", "out.png", *RANDOM),
            ("fast-style", "train", sample, photos, "-o", "out.pt", "--weights", "random", *SMALL, "--steps", 1),
        ):
            assert cnnfast(*command, *words).status == 0
            assert cnnfast(*command).status == 0


def test_more_iterations_go_on(cnnfast, sample):
    """--resume with more --iterations than planned continues the picture of the checkpoint."""
    words = ("texture", sample, "-o", "out.png", "--weights", "random", "--size", 32)
    checkpoint = ("--checkpoint", "run.pt", "--checkpoint-every", 4)
    assert cnnfast(*words, "--iterations", 4, *checkpoint).status == 0
    more = cnnfast(*words, "--iterations", 7, "--resume", "run.pt", "--history", "more.json")
    assert more.status == 0, more
    assert cnnfast(*words, "--iterations", 7, "--history", "whole.json").status == 0
    more, whole = (json.loads(Path(name).read_text())["history"] for name in ("more.json", "whole.json"))
    assert len(more) == 7 and more == whole
    other = cnnfast(*words, "--iterations", 7, "--resume", "run.pt", "--seed", 1)
    assert other.status == 2 and "seed=0" in other.err


def test_a_training_without_a_good_step(cnnfast, sample, photos, monkeypatch):
    """Every loss is infinite: one line, a status that is not 0, and JSON that JSON's readers take."""
    words = ("--weights", "random", *SMALL, "--steps", 3)
    huge = ("--style-strength", 1e38, "--history", "history.json")
    result = cnnfast("fast-style", "train", sample, photos, "-o", "net.pt", *words, *huge)
    assert result.status == 2 and "expected a step with a finite loss and gradient, got none in 3" in result.err, result
    assert not Path("net.pt").exists()

    def refuse(constant):
        raise AssertionError(constant)

    history = json.loads(Path("history.json").read_text(), parse_constant=refuse)
    assert history["finished"] is False and [entry["loss"] for entry in history["history"]] == [None] * 2


@pytest.mark.slow
def test_a_reader_that_leaves(sample, tmp_path, environment):
    """`cnnfast ... | head -1` writes its files all the same."""
    command = [sys.executable, "-m", "cnnfast", "texture", str(sample), "-o", "out.png", "--weights", "random"]
    words = " ".join([*command, "--iterations", "60", "--preview-every", "0"])
    line = f"set -o pipefail; {words} | head -1; echo status ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.stdout.splitlines()[-1] == "status 0" and not result.stderr, result
    assert (tmp_path / "out.png").exists()
