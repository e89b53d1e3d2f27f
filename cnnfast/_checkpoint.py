"""Checkpoint files: plain tensors, numbers and strings, written whole, read without running any code in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cnnfast._atomic import atomic_write
from cnnfast._errors import InputError


def save_checkpoint(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint so that the file is always either the old or the new one, whole.

    Args:
        checkpoint: plain values and tensors.
        path: file to write or replace; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        torch.save(dict(checkpoint), temporary)


def check_default_checkpoint(path: Path) -> None:
    """Refuse the place of a checkpoint that nobody named, if something lies there that no run of ours wrote.

    Raises:
        InputError: a link, or a file that is no checkpoint.
    """
    if not os.path.lexists(path) or (not path.is_symlink() and path.is_file() and _is_ours(path)):
        return
    got = "a link" if path.is_symlink() else "no checkpoint"
    raise InputError(f"--checkpoint: expected a file, since at the default place {path} is {got}, got none")


def _is_ours(path: Path) -> bool:
    try:
        content = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # whatever it is, it is no checkpoint
        return False
    if not isinstance(content, dict):
        return False
    return str(content.get("format")).startswith("cnnfast ") or any(str(key).startswith("cnnfast_") for key in content)


def read_plain(path: str | os.PathLike[str], wanted: str) -> Any:
    """What a file of plain tensors, numbers and strings holds, without running any code in it.

    Raises:
        InputError: it is no such file; the message begins with what was wanted.
        OSError: the file cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{wanted}, got {os.fspath(path)}") from error


def check_settings(function: str, saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings than it began with.

    Raises:
        InputError: names every setting that differs, with both values.
    """
    names = [name for name in {**saved, **present} if saved.get(name) != present.get(name)]
    if names:
        expected = ", ".join(f"{name}={saved.get(name)!r}" for name in names)
        got = ", ".join(f"{name}={present.get(name)!r}" for name in names)
        raise InputError(f"{function}: expected the settings of the checkpoint ({expected}), got {got}")
