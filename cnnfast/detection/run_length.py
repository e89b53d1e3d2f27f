"""The one import of pycocotools."""

from __future__ import annotations

from types import ModuleType

from cnnfast._errors import MissingPackageError


def coco_masks(function: str) -> ModuleType:
    """The module pycocotools.mask.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import pycocotools.mask
    except ImportError as error:
        raise MissingPackageError(
            f"{function}: expected the package pycocotools, got none; install it with: pip install 'cnnfast[train]'",
            name="pycocotools",
        ) from error
    return pycocotools.mask
