"""Texture synthesis and style transfer by matching Gram matrices of network features.

``network`` holds the feature networks, ``texture`` the synthesis of textures, ``transfer`` style transfer, ``training``
and ``fast_style`` the training and application of networks that do it in a single pass. They are imported on first use,
as are their functions ``synthesize_texture``, ``stylize``, ``train_fast_style`` and ``apply_style``.

Example:
    >>> from cnnfast.models import style
    >>> style.network.CONTENT_LAYERS
    ('relu4_2',)
"""

from __future__ import annotations

import importlib
from typing import Any

_ROOMS = ("fast_style", "network", "texture", "training", "transfer")
_FUNCTIONS = {
    "apply_style": "fast_style",
    "stylize": "transfer",
    "synthesize_texture": "texture",
    "train_fast_style": "training",
}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"cnnfast.models.style.{_FUNCTIONS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"cnnfast.models.style.{name}")
    raise AttributeError(f"module 'cnnfast.models.style' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_FUNCTIONS])
