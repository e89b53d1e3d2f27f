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
import skimage
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cnnfast.cli import main as cnnfast
from cnnfast.images import load_image, resize, save_image
from cnnfast.models.style.picture.colour import match_colour

DATA = Path(skimage.__file__).parent / "data"
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


class Crop(NamedTuple):
    """A square of one of scikit-image's pictures: file, top left corner and side in px."""

    file: str
    top: int
    left: int
    side: int


CONTENTS = {"astronaut": Crop("astronaut.png", 0, 0, 512), "chelsea": Crop("chelsea.png", 0, 75, 300)}
STYLES = {"tissue": Crop("ihc.png", 0, 0, 512), "gravel": Crop("gravel.png", 0, 0, 256)}
# Grey styles take the colours of another picture.
PALETTES = {"gravel": "coffee.png"}


class Column(NamedTuple):
    """Four pictures [3,H,W], from top to bottom."""

    content: Tensor
    style: Tensor
    stylized: Tensor
    fast: Tensor


CAPTIONS = ("content", "style", "cnnfast style", "cnnfast fast-style: one pass of a trained network")


def cut(crop: Crop, path: Path, palette: str | None = None) -> Path:
    """Write a crop, in the colours of another of scikit-image's pictures if one is named, and return where."""
    picture = load_image(DATA / crop.file)[:, crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    save_image(picture if palette is None else match_colour(picture, load_image(DATA / palette)), path)
    return path


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
    contents = {name: cut(crop, work / f"{name}.png") for name, crop in CONTENTS.items()}
    columns = []
    for name, crop in STYLES.items():
        style, model = cut(crop, work / f"{name}.png", PALETTES.get(name)), work / f"{name}.pth"
        run("fast-style", "train", style, DATA, "-o", model, **TRAINING)
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
