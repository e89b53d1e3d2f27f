"""Peaks of memory on Linux, each in a child that a fresh process forks: torch is imported once, no heap is shared."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.ops.measures import run_script

CLEAR = Path("/proc/self/clear_refs")
needs_linux = pytest.mark.skipif(not os.access(CLEAR, os.W_OK), reason="reads the peak of memory from Linux")


def peak_bytes(call: Callable[[], object]) -> int:
    """By how much the process grows at most while the call is running."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

    CLEAR.write_text("5")  # from here on a new peak
    before = status("VmRSS")
    kept = call()  # its result is there when the peak is read
    grown = status("VmHWM") - before
    del kept
    return grown


def print_peaks(measure: Callable[..., int], calls: Iterable[tuple]) -> None:
    """Prints what `measure` returns for each call's arguments. The script must not have started threads: it forks."""
    peaks = []
    for arguments in calls:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, str(measure(*arguments)).encode())
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            peaks.append(int(file.read()))
        os.waitpid(child, 0)
    print(json.dumps(peaks))


def peaks_of(module: str) -> list[int]:
    """What a module prints by `print_peaks` when it runs as a script."""
    process = run_script("avx512", "-m", module)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)
