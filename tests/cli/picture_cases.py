"""What the tests of `cnnfast texture` and `cnnfast style` share."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

RANDOM = ("--weights", "random", "--iterations", "3")
CHECKPOINTS = ("--checkpoint", "run.pt", "--checkpoint-every", "1")


def size_of(path: Path | str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


class Run:
    """`cnnfast ARGUMENTS` in another process, stopped by a signal after some checkpoints or previews."""

    def __init__(self, environment: dict[str, str], folder: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "cnnfast", *arguments]
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    def stop(self, number: int, after: Path, *, changes: int = 3) -> tuple[int, str, str]:
        """Sends a signal when a file has been replaced a few times; status, stdout, stderr."""
        seen: set[int] = set()
        while len(seen) < changes:
            assert self.process.poll() is None, self.process.communicate()
            if after.exists():
                seen.add(after.stat().st_mtime_ns)
            time.sleep(0.002)
        self.process.send_signal(number)
        out, err = self.process.communicate()
        return self.process.returncode, out, err
