"""Make the picture of style transfer that README.md shows, from the pictures that scikit-image brings along.

    python tools/gallery.py docs/images/gallery.jpg [--work demo/gallery]

Every content takes every style twice, by `cnnfast style` and by a network that `cnnfast fast-style` trains. The
commands are printed, and what they write stays in the folder of work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cnnfast.cli import main as cnnfast
from cnnfast.images import load_image, resize, sample_picture, save_image
from cnnfast.images.samples import samples_folder
from cnnfast.models.style.picture.colour import match_colour

SIZE, ITERATIONS = 384, 75
CELL, GAP, CAPTION = 236, 6, 26
TRAINING = {
    "steps": 600,
    "image-size": 128,
    "batch": 2,
    "width": 0.5,
    "style-size": 256,
    "style-strength": 2,
    "lr": 2e-3,
}


# The samples of these names; grey gravel is a larger crop than theirs, in the colours of another picture.
CONTENTS = ("astronaut", "cat")
STYLES = ("tissue", "gravel")
GRAVEL_SIDE, GRAVEL_PALETTE = 256, "coffee"


class Column(NamedTuple):
    """Four pictures [3,H,W], from top to bottom."""

    content: Tensor
    style: Tensor
    stylized: Tensor
    fast: Tensor


CAPTIONS = ("content", "style", "cnnfast style", "cnnfast fast-style: one pass of a trained network")


def write(name: str, folder: Path) -> Path:
    """Write a content or a style, and return where."""
    picture = sample_picture(name)
    if name == "gravel":
        picture = load_image(samples_folder() / "gravel.png")[:, :GRAVEL_SIDE, :GRAVEL_SIDE]
        picture = match_colour(picture, sample_picture(GRAVEL_PALETTE))
    save_image(picture, folder / f"{name}.png")
    return folder / f"{name}.png"


def run(*words: object, **options: object) -> None:
    """Run a command of cnnfast, print it and its duration, and end the program if it fails."""
    line = [str(word) for word in words]
    line += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    print("cnnfast", *line, flush=True)
    began = time.perf_counter()
    if status := cnnfast(line):
        raise SystemExit(status)
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


def make(work: Path) -> list[Column]:
    """All pictures of the sheet, a column for each style and content."""
    contents = {name: write(name, work) for name in CONTENTS}
    columns = []
    for name in STYLES:
        style, model = write(name, work), work / f"{name}.pth"
        run("fast-style", "train", style, samples_folder(), "-o", model, **TRAINING)
        for content_name, content in contents.items():
            stylized, fast = (work / f"{content_name}_{name}_{kind}.png" for kind in ("style", "fast_style"))
            run("style", content, style, "-o", stylized, size=SIZE, iterations=ITERATIONS)
            run("fast-style", "apply", model, content, "-o", fast, size=SIZE)
            columns.append(Column(*(load_image(path) for path in (content, style, stylized, fast))))
    return columns


def sheet(columns: Sequence[Column]) -> Tensor:
    """Columns side by side, the rows with captions: [3,H,W]."""
    rows = len(Column._fields)
    width, height = len(columns) * (CELL + GAP) - GAP, rows * (CAPTION + CELL)
    canvas = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for row, caption in enumerate(CAPTIONS):
        pen.text((0, row * (CAPTION + CELL) + CAPTION - 5), caption, "black", font, anchor="ls")
    pixels = torch.from_numpy(np.array(canvas)).permute(2, 0, 1) / 255
    for index, column in enumerate(columns):
        for row, picture in enumerate(column):
            top, left = row * (CAPTION + CELL) + CAPTION, index * (CELL + GAP)
            pixels[:, top : top + CELL, left : left + CELL] = resize(picture, (CELL, CELL))
    return pixels


def main() -> None:
    """Parse the arguments and make the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--work", type=Path, default=Path("demo/gallery"), help="folder of what is made on the way")
    parser.add_argument("--quality", type=int, default=80, help="of the JPEG")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    save_image(sheet(make(arguments.work)), arguments.picture, quality=arguments.quality)
    print(arguments.picture)


if __name__ == "__main__":
    main()
