"""Checkpoints of runs over pictures: plain dicts of tensors, numbers and strings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from cnnfast._checkpoint import read_plain
from cnnfast._errors import InputError

# Kind of a run -> its name in messages, and the function that does it.
KINDS = {"texture": ("texture synthesis", "synthesize_texture"), "style": ("style transfer", "stylize")}


def checkpoint_format(kind: str) -> str:
    """The format string in a checkpoint of a kind of run.

    Example:
        >>> from cnnfast.models.style.picture.checkpoint import checkpoint_format
        >>> checkpoint_format("texture")
        'cnnfast texture 2'
    """
    return f"cnnfast {kind} 2"


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """First 16 hex digits of the SHA-256 over shapes, dtypes and values.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.checkpoint import fingerprint
        >>> fingerprint([torch.zeros(2)]) == fingerprint([torch.zeros(2)]) != fingerprint([torch.zeros(2, 1)])
        True
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{tuple(plain.shape)} {plain.dtype}".encode())
        digest.update(plain.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def load_checkpoint(source: str | os.PathLike[str] | Mapping[str, Any], kind: str = "texture") -> dict[str, Any]:
    """Read a checkpoint from a file, without running any code in it, or take a dict.

    Args:
        source: file or dict.
        kind: "texture" or "style".

    Raises:
        InputError: not a checkpoint of that kind, or a file that cannot be read.
    """
    wanted = f"load_checkpoint: expected a checkpoint of {KINDS[kind][0]}"
    if isinstance(source, Mapping):
        checkpoint, name = dict(source), "a dict without its format"
    else:
        name = str(source)
        checkpoint = read_plain(source, wanted)
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != checkpoint_format(kind):
        raise InputError(f"{wanted}, got {name}")
    return checkpoint
