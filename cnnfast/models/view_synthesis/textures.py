"""Textures of the synthetic scenes, from the pictures that scikit-image brings along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from cnnfast.arguments.checks import check_word
from cnnfast.images import load_image, resize
from cnnfast.images.samples import samples_folder

TEXTURES = {
    "train": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "coins.png",
        "grass.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
        "page.png",
        "motorcycle_left.png",
    ),
    "test": ("chelsea.png", "coffee.png", "gravel.png", "rocket.jpg"),
}
"""Split -> files of scikit-image. No picture is in both."""

TEXTURE_SIDE = 128
"""Side of a texture in texels."""

_BLUR = 1.5  # texels: keeps the pattern coarser than the pixels that see it


@lru_cache
def load_textures(split: str) -> tuple[np.ndarray, ...]:
    """The textures of a split: the central square of each picture, 128x128 by box averages, then slightly blurred.

    Args:
        split: "train" or "test".

    Returns:
        Arrays [128,128,3], float64 in [0,1], read-only.

    Raises:
        ImportError: scikit-image is not installed.
        ValueError: another split.

    Example:
        >>> from cnnfast.models.view_synthesis.textures import load_textures
        >>> len(load_textures("test")), load_textures("test")[0].shape
        (4, (128, 128, 3))
    """
    check_word("load_textures", "split", split, tuple(TEXTURES))
    return tuple(_texture(file) for file in TEXTURES[split])


def _texture(file: str) -> np.ndarray:
    picture = load_image(samples_folder("load_textures") / file)
    height, width = picture.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = resize(picture[:, top : top + side, left : left + side], (TEXTURE_SIDE, TEXTURE_SIDE), mode="area")
    # "reflect" of SciPy mirrors at the outer edges of the texels.
    blurred = gaussian_filter(square.double().numpy(), (0, _BLUR, _BLUR), mode="reflect").transpose(1, 2, 0)
    texture = np.ascontiguousarray(blurred.clip(0, 1))
    texture.flags.writeable = False
    return texture


def look_up(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear lookup in a texture that repeats mirrored at its outer edges.

    Args:
        texture: [h,w,c], texel centres at integers.
        x: positions [n] in texels along the rows.
        y: positions [n] along the columns.

    Returns:
        Colours [n,c].

    Example:
        >>> import numpy as np
        >>> from cnnfast.models.view_synthesis.textures import look_up
        >>> row = np.array([[[0.0], [1.0]]])
        >>> look_up(row, np.array([0.25, 1.5, 2.0, 3.0]), np.zeros(4))[:, 0]  # mirrored at 1.5
        array([0.25, 1.  , 1.  , 0.  ])
    """
    (left, right, across), (top, bottom, down) = (
        _taps(position, size) for position, size in ((x, texture.shape[1]), (y, texture.shape[0]))
    )
    across, down = across[:, None], down[:, None]
    upper = texture[top, left] * (1 - across) + texture[top, right] * across
    lower = texture[bottom, left] * (1 - across) + texture[bottom, right] * across
    return upper * (1 - down) + lower * down


def _taps(position: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two texels beside a position, folded into the texture, and the weight of the second."""
    folded = np.mod(position + 0.5, 2 * size)
    folded = np.minimum(folded, 2 * size - folded) - 0.5
    folded = folded.clip(0, size - 1)
    first = np.floor(folded).astype(np.intp)
    return first, np.minimum(first + 1, size - 1), folded - first
