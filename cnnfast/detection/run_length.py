"""The import of pycocotools' run lengths, with an error that says how to install the package."""

from __future__ import annotations

from types import ModuleType

from cnnfast._rooms import missing_package


def coco_masks(function: str) -> ModuleType:
    """The module pycocotools.mask.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import pycocotools.mask
    except ImportError as error:
        raise missing_package(function, "pycocotools") from error
    return pycocotools.mask
