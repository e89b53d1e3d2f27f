"""Modules that need packages of the extras, imported with an error that names the cure."""

from __future__ import annotations

import importlib
from types import ModuleType

_EXTRAS = {
    "PIL": "models",
    "h5py": "models",
    "matplotlib": "cli",
    "pycocotools": "train",
    "pytorch_lightning": "train",
    "rich": "cli",
    "scipy": "models",
    "skimage": "models",
    "torchvision": "models",
}


def import_room(name: str) -> ModuleType:
    """A module of ours.

    Raises:
        ImportError: it needs a package that is not installed; the message names the extra that brings it.

    Example:
        >>> from cnnfast._rooms import import_room
        >>> import_room("cnnfast.ops").__name__
        'cnnfast.ops'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise ImportError(
            f"{name}: expected the package {package}, got none; "
            f"install it with: pip install 'cnnfast[{_EXTRAS[package]}]'",
            name=package,
        ) from error
