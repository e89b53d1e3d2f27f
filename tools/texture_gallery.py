"""Synthesise the textures that README.md shows, each beside its sample, as `cnnfast texture SAMPLE --size 256` does.

By hand: python tools/texture_gallery.py docs/images [name ...] [--preset good]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from cnnfast.images import sample_picture, save_image, side_by_side
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import synthesize_texture

NAMES = ("gravel", "brick", "grass", "cells", "wood")
SIZE = 256


def make(name: str, folder: Path, preset: str) -> None:
    """Write texture_<name>.png: the sample, and the texture to its right."""
    sample, losses = sample_picture(name), []
    began = time.perf_counter()
    texture = synthesize_texture(sample, SIZE, preset=preset, callback=lambda progress: losses.append(progress.loss))
    path = folder / f"texture_{name}.png"
    save_image(side_by_side([sample, texture]), path)
    print(f"{path}: {time.perf_counter() - began:.0f} s, relative loss {losses[-1]:.2e}", flush=True)


def main() -> None:
    """Parse the arguments and make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--preset", choices=TEXTURE_PRESETS, default="fast")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NAMES:
        make(name, arguments.folder, arguments.preset)


if __name__ == "__main__":
    main()
