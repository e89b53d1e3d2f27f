"""Whether a file can be read, found out before a library opens it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def problem_of(path: str | os.PathLike[str]) -> str | None:
    """Why a file cannot be read, as the end of a sentence, or None if it can.

    Only regular files are readable here: reading a pipe or a device would wait for ever, or never end.

    Example:
        >>> from cnnfast._files import problem_of
        >>> problem_of("/dev/zero"), problem_of("/"), problem_of("no.png")
        ('is no regular file', 'is a directory', 'does not exist')
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return "is a directory"
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if status.st_size == 0:
            return "is empty"
        with open(path, "rb"):
            return None
    except FileNotFoundError:
        return "does not exist"
    except ValueError:  # a zero byte in the name
        return "is no file's name"
    except OSError as error:
        return f"may not be read: {error.strerror or error}"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether somebody gave an address of the web in place of a file.

    Example:
        >>> from cnnfast._files import is_url
        >>> is_url("https://example.org/a.png"), is_url("a.png")
        (True, False)
    """
    return str(path).lower().startswith(("http:/", "https:/", "ftp:/"))  # a Path has lost the second slash


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a file."""
    return Path(path).stat().st_size
