"""Pictures too narrow for a network."""

from __future__ import annotations

from torchvision.models.detection.transform import GeneralizedRCNNTransform

from cnnfast.images import ImageError


def check_resizable(function: str, size: tuple[int, int], transform: GeneralizedRCNNTransform) -> None:
    """Check that a side of a picture is not rounded to 0 px when the network resizes it.

    Args:
        function: name for the message.
        size: (height, width) of the picture.
        transform: of the network.

    Raises:
        ImageError: it is.

    Example:
        >>> from torchvision.models.detection.transform import GeneralizedRCNNTransform
        >>> from cnnfast.detection.sizes import check_resizable
        >>> check_resizable("here", (2, 3000), GeneralizedRCNNTransform(800, 1333, [0.0] * 3, [1.0] * 3))
        Traceback (most recent call last):
        ...
        cnnfast.images.errors.ImageError: here: expected 1 px or more on each side resized to 1333 px, got 3000x2 px
    """
    if transform.fixed_size is not None:
        return
    scale = min(min(transform.min_size) / min(size), transform.max_size / max(size))
    if int(min(size) * scale) < 1:
        largest, got = transform.max_size, f"{size[1]}x{size[0]} px"
        raise ImageError(f"{function}: expected 1 px or more on each side resized to {largest} px, got {got}")
