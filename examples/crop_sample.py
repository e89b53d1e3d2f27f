"""Writes the central square of a picture that scikit-image ships, as a sample for `cnnfast texture`."""

import argparse
from importlib.resources import files
from pathlib import Path

from cnnfast.images import load_image, save_image


def main() -> None:
    """Reads the command line and writes the crop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="picture in skimage/data, as in gravel, brick, grass, coffee, ihc")
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=128, help="side of the crop in pixels (default: 128)")
    options = parser.parse_args()

    picture = load_image(files("skimage") / "data" / f"{options.name}.png")
    height, width = picture.shape[-2:]
    if not 0 < options.size <= min(height, width):
        parser.error(f"argument --size: expected 1 to {min(height, width)} for {options.name}, got {options.size}")
    top, left = (height - options.size) // 2, (width - options.size) // 2
    save_image(picture[:, top : top + options.size, left : left + options.size], options.output)


if __name__ == "__main__":
    main()
