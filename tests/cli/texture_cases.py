"""What the tests of `cnnfast texture` share."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

RANDOM = ("--weights", "random", "--iterations", "3")


def size_of(path: Path | str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
