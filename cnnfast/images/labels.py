"""Pictures whose values are numbers of classes or objects."""

from __future__ import annotations

import os

from torch import Tensor

from cnnfast.images.errors import check_pillow


def load_labels(path: str | os.PathLike[str]) -> Tensor:
    """A picture of one channel as whole numbers: grey values of 8, 16 or 32 bits, or the indices of a palette.

    Args:
        path: file of a lossless format such as PNG; lossy compression changes the numbers.

    Returns:
        [H,W] int64.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, of an unsupported kind, no file, unreadable, too
            large, or has more than one channel. One line, with the path.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile, torch
        >>> from cnnfast.images import save_image
        >>> from cnnfast.images.labels import load_labels
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(torch.tensor([[[0.0, 1.0]]]), f"{folder}/labels.png")
        ...     load_labels(f"{folder}/labels.png")
        tensor([[  0, 255]])
    """
    check_pillow("load_labels")
    from cnnfast.images import _pillow

    return _pillow.labels_from_file(path)
