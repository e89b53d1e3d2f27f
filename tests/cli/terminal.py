"""A command on a terminal of its own, where Ctrl-C reaches the whole process group as it does at a keyboard."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CTRL_C = b"\x03"
_PATIENCE = 180.0


class Terminal:
    """`cnnfast ARGUMENTS` as the foreground process group of a new pseudo-terminal."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "cnnfast", *map(str, arguments)]
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, command, dict(environment))
        self.text = ""

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Reads what is shown until something is so; the command must not end before."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline and self._read(0.01), self.text

    def press_ctrl_c(self) -> None:
        """What the terminal makes a SIGINT to the group of."""
        os.write(self._screen, CTRL_C)

    def terminate(self) -> None:
        """SIGTERM to the command alone, as from kill or a job scheduler."""
        os.kill(self._pid, signal.SIGTERM)

    def end(self) -> int:
        """The exit status, once nothing of the command is left on the terminal."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(0.1):
            assert time.monotonic() < deadline, self.text
        _, status = os.waitpid(self._pid, 0)
        os.close(self._screen)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Ends whatever is left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _read(self, seconds: float) -> bool:
        """Takes what is shown; False once nobody can write any more."""
        if select.select([self._screen], [], [], seconds)[0]:
            try:
                data = os.read(self._screen, 65536)
            except OSError:  # the other side is closed
                return False
            self.text += data.decode(errors="replace")
            return bool(data)
        return True


def processes_of(word: str) -> list[str]:
    """Command lines of running processes that contain a word."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if word in line]
