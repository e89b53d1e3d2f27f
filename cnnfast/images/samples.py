"""Sample pictures, read from the data folder of scikit-image, so that examples work without a picture of one's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from cnnfast._rooms import missing_package
from cnnfast.images.reading import load_image


class Sample(NamedTuple):
    """A picture of scikit-image, or a square of it.

    Attributes:
        file: in scikit-image's data folder.
        content: what it shows.
        top: upper edge of the square in px.
        left: its left edge in px.
        side: its side in px; None for the whole picture.
    """

    file: str
    content: str
    top: int = 0
    left: int = 0
    side: int | None = None


SAMPLES = {
    "gravel": Sample("gravel.png", "gravel, a texture", side=128),
    "brick": Sample("brick.png", "a brick wall, a texture", side=128),
    "grass": Sample("grass.png", "grass, a texture", side=128),
    "cells": Sample("ihc.png", "stained tissue under the microscope, a texture", 100, 100, 128),
    "wood": Sample("coffee.png", "a wooden table, a texture", 20, 472, 128),
    "tissue": Sample("ihc.png", "the same tissue, larger: a style"),
    "astronaut": Sample("astronaut.png", "a portrait"),
    "cat": Sample("chelsea.png", "a cat's face", 0, 75, 300),
    "coffee": Sample("coffee.png", "a cup of coffee"),
}
"""Name -> sample. The documentation of `skimage.data` names the authors and licences."""

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Photographs in `samples_folder`, to train on."""


def samples_folder(wanted_by: str = "samples_folder") -> Path:
    """The folder of the pictures that scikit-image brings along; the package itself is not imported.

    Args:
        wanted_by: function or command to name in the error.

    Raises:
        ImportError: scikit-image is not installed; the message says how to install it.

    Example:
        >>> from cnnfast.images.samples import PHOTOS, samples_folder
        >>> all((samples_folder() / photo).is_file() for photo in PHOTOS)
        True
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise missing_package(wanted_by, "skimage", "for its pictures")
    return Path(found.origin).parent / "data"


def sample_picture(name: str) -> Tensor:
    """A sample picture: RGB [3,H,W] float32 in [0,1].

    Args:
        name: one of `SAMPLES`.

    Raises:
        ImportError: scikit-image, which brings the pictures, is not installed.
        ValueError: another name.

    Example:
        >>> from cnnfast.images import sample_picture
        >>> sample_picture("gravel").shape
        torch.Size([3, 128, 128])
    """
    if name not in SAMPLES:
        raise ValueError(f"sample_picture: expected a name of {', '.join(SAMPLES)}, got {name!r}")
    sample = SAMPLES[name]
    picture = load_image(samples_folder("sample_picture") / sample.file)
    if sample.side is None:
        return picture
    return picture[:, sample.top : sample.top + sample.side, sample.left : sample.left + sample.side].contiguous()
