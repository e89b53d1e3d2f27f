"""Whose fault an error is: the user's (one line, status 2) or ours (a traceback, status 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cnnfast._atomic import DISK_ERRORS
from cnnfast._errors import ActionableError, InputError


@contextmanager
def user_input() -> Iterator[None]:
    """Around the checks of options and files: a ValueError of library functions is the user's there.

    The work itself must be outside, since a ValueError in it is a fault of ours. A TypeError always is, as the command
    line gives every value its type.

    Raises:
        InputError: instead of ValueError, with the same message.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error


def can_user_act(error: BaseException) -> bool:
    """Whether the user can do something about an error.

    That is so for errors made for it, for files that the system refuses, for a full disk, and for a lack of memory.
    """
    if isinstance(error, ActionableError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return bool(error.filename) or error.errno in DISK_ERRORS
    # torch has no class of its own for the CPU's memory.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def describe(error: BaseException) -> str:
    """An error in one line.

    Example:
        >>> from cnnfast.cli.base.errors import describe
        >>> describe(FileNotFoundError(2, "No such file or directory", "a.png"))
        'a.png: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
