"""Pictures in folders."""

from __future__ import annotations

import os
from pathlib import Path

from cnnfast.images.errors import ImageError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif")
"""Endings of files that count as pictures."""


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Pictures in a folder and its subfolders, found by their endings and sorted; hidden files are left out.

    Raises:
        ImageError: no folder, or none in it.

    Example:
        >>> import tempfile
        >>> from cnnfast.images import find_pictures
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "a.PNG").touch()
        ...     [path.name for path in find_pictures(folder)]
        ['a.PNG']
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise ImageError(f"find_pictures: expected a folder of pictures, got {root} which {what}")
    found = [
        Path(parent) / name
        for parent, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.lower().endswith(PICTURE_ENDINGS) and not name.startswith(".")
    ]
    if not found:
        raise ImageError(f"find_pictures: expected pictures in {root}, got none")
    return sorted(found)
