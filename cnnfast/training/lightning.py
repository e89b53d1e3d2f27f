"""The one import of Lightning."""

from __future__ import annotations

try:
    import pytorch_lightning as pl
except ImportError as error:
    raise ImportError(
        "training: expected the package pytorch-lightning, got none; install it with: pip install 'cnnfast[train]'"
    ) from error

__all__ = ["pl"]
