"""Synthesise the textures that README.md shows, each beside its sample, from scikit-image's own pictures.

    python tools/texture_gallery.py docs/images [name ...] [--preset good] [--bfloat16]

Every sample is a crop of 128 x 128 px, every texture 256 x 256 px.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import skimage.data
import torch

from cnnfast.images import load_image, save_image, side_by_side
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import synthesize_texture

SIDE = 128


class Crop(NamedTuple):
    """A picture of scikit-image and the top left corner of the crop in px."""

    picture: str
    top: int
    left: int


CROPS = {
    "gravel": Crop("gravel", 0, 0),
    "brick": Crop("brick", 0, 0),
    "grass": Crop("grass", 0, 0),
    "wood": Crop("coffee", 20, 472),
    "tissue": Crop("immunohistochemistry", 100, 100),
}


def make(name: str, folder: Path, preset: str, dtype: torch.dtype) -> None:
    """Write texture_<name>.png: the sample, and the texture to its right."""
    picture, top, left = CROPS[name]
    array = getattr(skimage.data, picture)()
    sample = load_image(array[top : top + SIDE, left : left + SIDE])
    began, losses = time.perf_counter(), []
    texture = synthesize_texture(
        sample, 2 * SIDE, preset=preset, dtype=dtype, callback=lambda progress: losses.append(progress.loss)
    )
    path = folder / f"texture_{name}.png"
    save_image(side_by_side([sample, texture]), path)
    print(f"{path}: {time.perf_counter() - began:.0f} s, relative loss {losses[-1]:.2e}", flush=True)


def main() -> None:
    """Parse the arguments and make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--preset", choices=TEXTURE_PRESETS, default="good")
    parser.add_argument("--bfloat16", action="store_true", help="convolutions in bfloat16")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or CROPS:
        make(name, arguments.folder, arguments.preset, torch.bfloat16 if arguments.bfloat16 else torch.float32)


if __name__ == "__main__":
    main()
