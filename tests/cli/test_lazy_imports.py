"""A command imports what it needs and nothing of another family; ``--help`` imports no system at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODELS = "cnnfast.models."
STYLE, SEGMENTATION = "cnnfast.models.style.", "cnnfast.models.instance_segmentation."
# What a process calls one after the other, with what it may not import, and what it must.
CALLS = {
    "help": (
        ["--help", "segment --help", "fast-style --help", "weights --help", "info", "weights"],
        [MODELS, "cnnfast.cli.style.texture", "cnnfast.detection", "torchvision", "rich.progress"],
        [],
    ),
    "texture": (
        ["texture none.png -o out.png"],
        [SEGMENTATION, "cnnfast.detection", "cnnfast.models.style.transfer.", "cnnfast.models.style.feed_forward."],
        ["cnnfast.models.style.texture.synthesis"],
    ),
    "style": (
        [
            "style none.png none.png -o out.png",
            "fast-style apply none.pt none.png -o out.png",
            "fast-style export none.pt -o out.onnx",
            "fast-style train none.png none -o out.pth",
        ],
        [SEGMENTATION, "cnnfast.cli.segment.eval"],
        ["cnnfast.models.style.transfer.transfer", "cnnfast.models.style.feed_forward.apply"],
    ),
    "segment without training": (
        ["segment predict none.pt none.png -o out.png", "segment eval none.pt synthetic"],
        [STYLE, "cnnfast.training.loop", "lightning_fabric"],
        ["cnnfast.models.instance_segmentation.model_files"],
    ),
    "segment": (
        [
            "segment predict none.pt none.png -o out.png",
            "segment eval none.pt synthetic",
            "segment train none -o out.pt",
            "segment train --help",
        ],
        [STYLE, "cnnfast.cli.style.texture"],
        ["cnnfast.models.instance_segmentation.model_files"],
    ),
}

PROGRAM = """
import sys
from cnnfast.cli import main
for words in sys.argv[1:]:
    print(main(words.split()), file=sys.stderr)
print("MODULES", *sys.modules)
"""


@pytest.mark.parametrize("case", CALLS)
def test_imports(case, environment, tmp_path):
    calls, forbidden, needed = CALLS[case]
    command = [sys.executable, "-c", PROGRAM, *calls]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done
    modules = done.stdout.rpartition("MODULES")[2].split()
    assert "cnnfast.cli.app" in modules and set(needed) <= set(modules)
    assert not [name for name in modules if name.startswith(tuple(forbidden))]
    assert "Traceback" not in done.stderr
