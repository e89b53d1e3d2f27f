"""Checkpoint files: plain tensors, numbers and strings, written whole, read without running any code in them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cnnfast._atomic import atomic_write
from cnnfast._errors import ActionableError, InputError
from cnnfast._files import problem_of


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
    """
    if problem := problem_of(path):
        raise InputError(f"{wanted}, got {os.fspath(path)} which {problem}")
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        check_storages(content)
    except Exception as error:  # damaged files raise nearly every type there is
        raise InputError(f"{wanted}, got {os.fspath(path)}") from error
    return content


def check_archive(path: str | os.PathLike[str]) -> None:
    """Refuse a file of torch that would unpack to more than it holds: torch writes its archives uncompressed.

    Raises:
        ValueError: a compressed archive.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("an archive that is compressed")


def check_storages(content: Any) -> None:
    """Refuse tensors larger than their storage, by strides of 0, which grow when they are used.

    Raises:
        ValueError: there is such a tensor.
    """
    waiting, seen = [content], {id(content)}
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            needed = value.numel() * value.element_size()
            if value.layout == torch.strided and needed > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor {list(value.shape)} of repeated values")
        elif isinstance(value, Mapping | list | tuple):
            parts = list(value.values() if isinstance(value, Mapping) else value)
            waiting += [part for part in parts if id(part) not in seen]  # it may hold itself
            seen.update(map(id, parts))


@contextmanager
def damaged(wanted: str) -> Iterator[None]:
    """Around what takes up the contents of a checkpoint: whatever it raises there, the checkpoint is the cause.

    Raises:
        InputError: the message begins with what was wanted.
    """
    try:
        yield
    except ActionableError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{wanted}, got one that is damaged: {type(error).__name__}: {what}") from error


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
