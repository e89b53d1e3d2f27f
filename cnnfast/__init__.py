"""Fused C++/CUDA operators for convolutional networks in PyTorch, and the vision systems built on them.

The rooms are imported on first use: ``cnnfast.ops`` (functions), ``cnnfast.layers`` (modules), ``cnnfast.reference``
(the same functions in plain PyTorch), ``cnnfast.models`` (systems), ``cnnfast.geometry`` (cameras and planes),
``cnnfast.images``, ``cnnfast.weights``.

Example:
    >>> import cnnfast
    >>> cnnfast.build_info()["version"] == cnnfast.__version__
    True
"""

from __future__ import annotations

import torch  # noqa: F401  (its libraries must be loaded before the extension's)

from cnnfast._extension import build_info, cpu_capability
from cnnfast._rooms import lazy_names
from cnnfast._version import __version__

__all__ = ["__version__", "build_info", "cpu_capability"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {room: f".{room}" for room in ("cli", "geometry", "images", "layers", "models", "ops", "reference", "weights")},
)
