"""Texture synthesis and style transfer by matching Gram matrices of network features.

``network`` holds the feature networks, ``texture`` the synthesis of textures. Both are imported on first use.

Example:
    >>> from cnnfast.models import style
    >>> style.network.CONTENT_LAYERS
    ('relu4_2',)
"""

from __future__ import annotations

import importlib
from types import ModuleType

_ROOMS = ("network", "texture")


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"cnnfast.models.style.{name}")
    raise AttributeError(f"module 'cnnfast.models.style' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
