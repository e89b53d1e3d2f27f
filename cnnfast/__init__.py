"""Fused C++/CUDA operators for convolutional networks in PyTorch, and the vision systems built on them.

The rooms are imported on first use: ``cnnfast.ops`` (functions), ``cnnfast.layers`` (modules), ``cnnfast.reference``
(the same functions in plain PyTorch), ``cnnfast.models`` (systems), ``cnnfast.images``, ``cnnfast.weights``.

Example:
    >>> import cnnfast
    >>> cnnfast.build_info()["version"] == cnnfast.__version__
    True
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch  # noqa: F401  (its libraries must be loaded before the extension's)

from cnnfast._extension import build_info, cpu_capability
from cnnfast._version import __version__

__all__ = ["__version__", "build_info", "cpu_capability"]

_ROOMS = ("cli", "images", "layers", "models", "ops", "reference", "weights")


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"cnnfast.{name}")
    raise AttributeError(f"module 'cnnfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
