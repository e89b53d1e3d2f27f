"""Vision systems built on the operators, a folder a family. Each is imported on first use.

Example:
    >>> import cnnfast.models
    >>> cnnfast.features.choice.STYLE_LAYERS[0]
    'relu1_1'
"""

from __future__ import annotations

import importlib
from types import ModuleType

_FAMILIES = ("instance_segmentation", "style")


def __getattr__(name: str) -> ModuleType:
    if name in _FAMILIES:
        return importlib.import_module(f"cnnfast.models.{name}")
    raise AttributeError(f"module 'cnnfast.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FAMILIES])
