"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path


def available_memory() -> int | None:
    """Bytes of main memory that a new allocation can get, or None where the system does not tell.

    The smaller of what the machine has left and what the control group of a container leaves (cgroup version 2).

    Example:
        >>> from cnnfast._memory import available_memory
        >>> (available_memory() or 1) > 0
        True
    """
    candidates = [_left_in_system(), _left_in_group()]
    return min((c for c in candidates if c is not None), default=None)


def _left_in_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_group() -> int | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit, used = (root / name for name in ("memory.max", "memory.current"))
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):
        return None
