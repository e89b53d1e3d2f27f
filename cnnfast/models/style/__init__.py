"""Texture synthesis and style transfer by matching Gram matrices of network features.

``picture`` optimises a picture by losses over features, ``texture`` and ``transfer`` synthesise textures and transfer
styles with it, ``feed_forward`` trains and applies networks that do it in a single pass. They are imported on first
use, as are their functions ``synthesize_texture``, ``stylize``, ``train_fast_style`` and ``apply_style``.

Example:
    >>> from cnnfast.models.style import stylize
    >>> stylize.__module__
    'cnnfast.models.style.transfer.transfer'
"""

from __future__ import annotations

import importlib
from typing import Any

_ROOMS = ("feed_forward", "picture", "texture", "transfer")
_FUNCTIONS = {
    "apply_style": "feed_forward.apply",
    "stylize": "transfer.transfer",
    "synthesize_texture": "texture.synthesis",
    "train_fast_style": "feed_forward.training",
}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"cnnfast.models.style.{_FUNCTIONS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"cnnfast.models.style.{name}")
    raise AttributeError(f"module 'cnnfast.models.style' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_FUNCTIONS])
