"""Programs in processes of their own that pause after every iteration: timed in turn, each with its own peak memory."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import first_line, rotated, summarise

# What a program calls after every iteration, with a function for its present picture [3,H,W] and its loss.
After = Callable[[Callable[[], Tensor], float], None]
Program = Callable[[After], object]

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process in bytes.

    Attributes:
        start_bytes: when the program began, all modules of this folder imported.
        peak_bytes: from start to end.
        loop_peak_bytes: from the end of the first iteration on, without what loading took.
    """

    start_bytes: int
    peak_bytes: int
    loop_peak_bytes: int


@dataclass(frozen=True)
class Outcome:
    """How a program ended: "ok", "absent" or "failed", why, and its memory if it came to an iteration."""

    status: str
    reason: str = ""
    memory: Memory | None = None


class _StopError(Exception):
    """Ends a program of which enough has been seen."""


def resident(kind: str = "VmHWM") -> int:
    """Peak (VmHWM) or present (VmRSS) resident memory of this process in bytes; Linux."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"resident: expected {kind} in {_STATUS}, got none")


class _Pace:
    """The `After` of a program: tells how long its iteration took and waits for what to do next."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._start, self._before = resident("VmRSS"), 0
        self._resumed = time.perf_counter()

    def __call__(self, picture: Callable[[], Tensor], loss: float) -> None:
        seconds = time.perf_counter() - self._resumed
        if not self._before:
            self._before = resident()
            # From here on the peak is that of the iterations.
            Path("/proc/self/clear_refs").write_text("5")
        self._connection.send((seconds, loss))
        while (command := self._connection.recv()) != "go":
            if command == "stop":
                raise _StopError
            self._connection.send(picture().contiguous().numpy())
        self._resumed = time.perf_counter()

    @property
    def memory(self) -> Memory | None:
        """What the process took so far."""
        peak = resident()
        return Memory(self._start, max(self._before, peak), peak) if self._before else None


def _work(connection: Connection, program: Program, threads: int) -> None:
    torch.set_num_threads(threads)
    pace = _Pace(connection)
    status, reason = "ok", ""
    try:
        program(pace)
    except _StopError:
        pass
    except ImportError as error:
        status, reason = "absent", first_line(error)
    except Exception as error:
        # A program that cannot do a case is a result, not a reason to stop.
        status, reason = "failed", first_line(error)
    connection.send(Outcome(status, reason, pace.memory))


class Paced(AbstractContextManager["Paced"]):
    """A program in a fresh process that makes one iteration at a time.

    Attributes:
        seconds: of every iteration so far; the first one includes all that comes before it.
        loss: after the last iteration, as the program sees it.
        outcome: how it ended, or None.
    """

    def __init__(self, program: Program) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, program, torch.get_num_threads()), daemon=True)
        self._process.start()
        theirs.close()
        self.seconds: list[float] = []
        self.loss = math.nan
        self.outcome: Outcome | None = None
        self._receive()

    def step(self) -> bool:
        """One more iteration; False if the program has ended."""
        if self.outcome is None:
            self._connection.send("go")
            self._receive()
        return self.outcome is None

    def picture(self) -> Tensor:
        """The present picture [3,H,W]."""
        self._connection.send("picture")
        return torch.from_numpy(self._connection.recv())

    def stop(self) -> Outcome:
        """End the program where it is."""
        if self.outcome is None:
            self._connection.send("stop")
            self._receive()
        self._process.join()
        assert self.outcome is not None
        return self.outcome

    def _receive(self) -> None:
        try:
            message = self._connection.recv()
        except EOFError:
            self._process.join()
            message = Outcome("failed", f"the process ended with status {self._process.exitcode}")
        if isinstance(message, Outcome):
            self.outcome = message
        else:
            seconds, self.loss = message
            self.seconds.append(seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def take_turns(programs: Sequence[Paced], rounds: int) -> None:
    """Iterations of all programs in turn, round after round with a rotating start, as `measure.interleave` does."""
    for turn in range(rounds):
        for program in rotated(programs, turn):
            program.step()


def as_result(program: Paced, seconds: Sequence[float]) -> dict[str, Any]:
    """Stop a program; its result for `measure.record`: summary of samples and memory, or why there are none."""
    outcome = program.stop()
    if outcome.status != "ok" or outcome.memory is None:
        return {"status": outcome.status, "reason": outcome.reason or "it made no iteration"}
    return {"status": "ok", **asdict(summarise(seconds)), **asdict(outcome.memory)}
