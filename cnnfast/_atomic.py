"""Files that are always whole: written beside their place, then moved into it in one step."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The disk is full, a quota is used up, a file system takes no more."""
# What is tried to be written to find out whether the disk is full, in bytes.
_PROBE = 2**22


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write, and move it to `path` when the block ends well.

    The temporary file lies in the folder of `path`, so that the move is one step of the file system. It is flushed to
    the disk before the move. A reader, and whoever looks after a crash, sees the old file or the new one, never a part.
    When the block raises, the temporary file is removed and the old file stays. Permissions of an existing file are
    kept; a symbolic link stays a link to the new contents.

    Args:
        path: file to write or replace; its folder must exist.

    Yields:
        The temporary file's path; the file exists and is empty.

    Raises:
        OSError: `path` cannot be written, or the disk is full, whatever a library raises then.

    Example:
        >>> import tempfile
        >>> from cnnfast._atomic import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "note.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "note.txt").read_text(), len(os.listdir(folder))
        ('whole', 1)
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    temporary = _reserve(target)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except Exception as error:
        reason = _disk_error(error, temporary)
        temporary.unlink(missing_ok=True)
        if reason is None:
            raise
        raise OSError(reason, "disk full" if reason == errno.ENOSPC else os.strerror(reason), str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _disk_error(error: Exception, temporary: Path) -> int | None:
    """The number of the error if the disk takes no more, which some libraries report as an error of their own."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return error.errno
    if isinstance(error, OSError) and error.errno is not None:
        return None
    try:
        with open(temporary, "ab") as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as found:
        return found.errno if found.errno in DISK_ERRORS else None
    return None


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out, without touching `path`, whether `atomic_write` will be able to write it.

    A file is created in its folder and removed again: permissions, read-only disks and users with special rights are
    all judged by the system itself.

    Raises:
        OSError: it will not; the error says why.

    Example:
        >>> from cnnfast._atomic import check_writable
        >>> check_writable("/")
        Traceback (most recent call last):
        ...
        IsADirectoryError: [Errno 21] Is a directory: '/'
    """
    target = Path(os.path.realpath(path))
    _mode_of(target)
    _reserve(target).unlink()


def _mode_of(target: Path) -> int | None:
    """Permission bits of an existing file, None for a new one; refuses what is no regular file."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return stat.S_IMODE(status.st_mode)


def _reserve(target: Path) -> Path:
    """A new, empty file beside the target, with the permissions that a new file gets here."""
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(target.parent))
    while True:
        # Cut to stay below the longest name that file systems allow when the target's own name is long.
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.tmp")
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(target)) from error
        return temporary
