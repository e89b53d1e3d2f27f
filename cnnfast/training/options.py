"""The options of every training, for the command line and for the functions that train."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cnnfast._options import option, options_of

PRECISIONS = ("auto", "bf16", "none", "bfloat16", "float32")
"""Mixed precision: where the hardware is fast at it, always, never; bfloat16 and float32 are bf16 and none."""

LOG_FORMATS = ("csv", "tensorboard")
"""Formats of a log."""


@dataclass(kw_only=True)
class TrainingOptions:
    """Options that every training has. A family adds its own in a subclass, and may give these other defaults.

    The help of an option says what it is. Beside that, in Python: `out` and `checkpoint` of None write no file,
    `workers` of 0 reads pictures in this process, `device` may be a torch.device or None, too, `amp` also "bf16" and
    "none", and `log_every` is the number of steps between entries of the log. A network is written with every
    checkpoint and at the end. A training that is resumed takes the same options but for the number of steps. With
    several `nodes` the same program is started on each, as torchrun or Lightning's Fabric want it.
    """

    out: Path | None = option("network to write", "-o", "--output", default=None)
    max_steps: int | None = option(
        "of training; default: as many as the epochs need", "--steps", default=None, minimum=1
    )
    epochs: int = option("passes over the pictures", default=1, minimum=1)
    batch_size: int = option("pictures a step, on each device", "--batch", default=1, minimum=1)
    seed: int = option("of all random numbers", default=42)
    device: str = option("auto, cpu, cuda or cuda:N", default="auto")
    devices: int = option("GPUs, or processes on the CPU, of each machine", default=1, minimum=1)
    nodes: int = option("machines; start the same command on each", default=1, minimum=1)
    amp: str = option(
        "auto, float32 or bfloat16 (mixed precision)",
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
    )
    workers: int = option("processes that read pictures", default=2, minimum=0)
    checkpoint: Path | None = option(
        "file to continue from; default: as the output, with .checkpoint.pt for its ending", default=None
    )
    checkpoint_every: int = option("steps between checkpoints, and copies of the output", default=500, minimum=1)
    resume: Path | None = option("checkpoint to continue, with the options of its run", default=None)
    log_dir: Path | None = option("folder for a log of the losses", "--log", default=None)
    log_format: str = option("csv or tensorboard", default="csv", choices=LOG_FORMATS)
    log_every: int = 10

    @property
    def processes(self) -> int:
        """On all machines."""
        return self.devices * self.nodes

    def steps_for(self, examples: int) -> int:
        """Steps of the whole training."""
        return self.max_steps or -(-self.epochs * examples // (self.batch_size * self.processes))

    def arguments(self, kind: type[TrainingOptions]) -> dict[str, Any]:
        """Those options that a kind of trainings has, by their names."""
        return {field.name: getattr(self, field.name) for field in fields(kind)}

    def check(self, function: str) -> None:
        """Refuse what no training takes.

        Raises:
            ValueError: names the option, what it wants and what it got.
        """
        least = {item.name: facts.minimum for item, facts in options_of(type(self))} | {"log_every": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if minimum is not None and value is not None and value < minimum:
                raise ValueError(f"{function}: expected {name} of at least {minimum}, got {value}")
        for name, allowed in (("amp", PRECISIONS), ("log_format", LOG_FORMATS)):
            if getattr(self, name) not in allowed:
                got = getattr(self, name)
                raise ValueError(f"{function}: expected {name} among {', '.join(allowed)}, got {got!r}")
