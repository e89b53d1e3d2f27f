"""What every command that optimises a picture does: checks, the run, and its files."""

from __future__ import annotations

import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import cnnfast
from cnnfast._errors import InputError
from cnnfast._extension import fast_dtype
from cnnfast._options import option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.history import check_plot, plot_history, write_history
from cnnfast.cli.base.parsing import check_outputs, check_seed, checkpoint_of, describe_device, parse_size
from cnnfast.cli.base.progress import WorkConsole, format_seconds
from cnnfast.cli.base.signals import STOPPED
from cnnfast.cli.style.progress import Reporter
from cnnfast.cli.style.session import Session, Stopped
from cnnfast.features.choice import network_kind
from cnnfast.images import save_image, side_by_side
from cnnfast.images.writing import picture_format
from cnnfast.models.style.picture.levels import AnyLevel
from cnnfast.models.style.picture.memory import estimate_memory, plan_tile

NETWORKS = ("auto", "random", "vgg16", "vgg19")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": None}
_CHECKPOINT_EVERY = 25


@dataclass(kw_only=True)
class PictureOptions(ABC):
    """What both commands have; see `cnnfast._options`."""

    output: Path = option("picture to write; its ending chooses the format", "-o", "--output")
    iterations: int | None = option("of the finest level; coarser ones in proportion", default=None, minimum=1)
    weights: str = option("auto, random (filters without training), or a file of VGG weights", default="auto")
    preprocessing: str = option("input convention of a weights file that does not tell", default="auto")
    device: str = option("auto, cpu, cuda or cuda:N", default="auto")
    dtype: str = option(
        "of the convolutions: float32, bfloat16, or auto (bfloat16 where it is fast)",
        default="auto",
        choices=tuple(_DTYPES),
    )
    preview_every: int = option("iterations between previews written to the output; 0: none", default=25, minimum=0)
    save_every: int = option(
        "iterations between pictures that are kept, as OUTPUT_000050.png; 0: none", default=0, minimum=0
    )
    bits: int = option("a channel of the output: 8, or 16 for PNG and TIFF", default=8)
    checkpoint: Path | None = option(
        "file to continue from; default: as the output, with .checkpoint.pt for its ending", default=None
    )
    checkpoint_every: int | None = option(
        "iterations between checkpoints; default: 25 with --checkpoint, else when stopped", default=None, minimum=0
    )
    resume: Path | None = option("checkpoint to continue, with the options of its run", default=None)
    history: Path | None = option("write the loss of every iteration as JSON", default=None)
    plot: Path | None = option("write a plot of the loss: .png, .pdf or .svg", default=None)

    # Each command says them in its own words.
    size: str | None
    alpha: str
    preset: str
    optimizer: str | None
    seed: int
    side_by_side: Path | None

    @property
    @abstractmethod
    def inputs(self) -> list[Path]:
        """Files that are read, but for weights and checkpoint."""

    @property
    def checkpoint_path(self) -> Path:
        """The file of checkpoints, named or not."""
        return checkpoint_of(self.output, self.checkpoint)

    @property
    def checkpoint_interval(self) -> int:
        """Iterations between checkpoints, 0 for only when stopped."""
        if self.checkpoint_every is not None:
            return self.checkpoint_every
        return 0 if self.checkpoint is None else _CHECKPOINT_EVERY

    @property
    def network(self) -> tuple[str, dict[str, str]]:
        """The extractor that --weights means, and where its weights come from."""
        if self.weights in NETWORKS:
            return self.weights, {"preprocessing": self.preprocessing}
        return "vgg", {"weights": self.weights, "preprocessing": self.preprocessing}

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """The dtype of convolutions that --dtype means for the network of --weights."""
        chosen = _DTYPES[self.dtype]
        if chosen is not None:
            return chosen
        return torch.float32 if network_kind(self.weights) == "random" else fast_dtype(device)


Options = TypeVar("Options", bound=PictureOptions)


@dataclass
class Job:
    """A run whose options and files have been checked.

    Attributes:
        function: does the work, in messages.
        pictures: called for what is shown beside the result.
        network: whose features are compared.
        device: of the run.
        plan: levels, coarse to fine.
        optimizer: of the picture.
        channels: of the picture.
        resume: the checkpoint to continue from.
        work: makes the picture [3,H,W], telling a session of every iteration.
        notice: what to say before everything else.
    """

    function: str
    pictures: Callable[[], list[Tensor]]
    network: nn.Module
    device: torch.device
    plan: Sequence[AnyLevel]
    optimizer: str
    channels: int
    resume: dict[str, Any] | None
    work: Callable[[Session], Tensor]
    notice: str = ""


def run(options: Options, prepare: Callable[[Options], Job]) -> int:
    """Checks everything, does the work, writes the files; returns the exit status."""
    try:
        with user_input():
            check_options(options)
            job = prepare(options)
        return _work(options, job)
    except KeyboardInterrupt:
        print("cnnfast: stopped before the first iteration, nothing was written", file=sys.stderr)
        return 130


def _work(options: PictureOptions, job: Job) -> int:
    console = WorkConsole()
    if job.notice:
        console.print(job.notice, markup=False)
    console.print(describe(job), markup=False)
    started = time.monotonic()
    with Reporter(job.plan, console) as reporter:
        session = Session(
            options.output,
            options.preview_every,
            options.checkpoint_path,
            options.checkpoint_interval,
            reporter.update,
            history=[] if job.resume is None else list(job.resume["history"]),
            bits=options.bits,
            save_every=options.save_every,
        )
        status = 0
        try:
            with session.stoppable():
                picture = job.work(session)
        except Stopped as stopped:
            picture, status = None, STOPPED + stopped.args[0]
    seconds = time.monotonic() - started
    if picture is not None:
        session.save(picture, options.output)
        if options.side_by_side is not None:
            save_image(side_by_side([*job.pictures(), picture]), options.side_by_side)
    if options.history is not None:
        facts = facts_of(options, job) | {"finished": picture is not None, "seconds": round(seconds, 3)}
        write_history(options.history, facts, session.history)
    if options.plot is not None and session.history:
        plot_history(options.plot, session.history)
    console.print(conclude(options, session, picture, seconds), markup=False)
    return status


def check_options(options: PictureOptions) -> None:
    """Everything common that can be wrong without opening a file of weights or a picture.

    Raises:
        InputError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    check_seed(options.seed)
    if options.size is not None:
        parse_size(options.size)
    _check_files(options)


def _check_files(options: PictureOptions) -> None:
    for path in (options.output, options.side_by_side):
        if path is not None:
            picture_format(path)
    if options.bits not in (8, 16) or (options.bits == 16 and picture_format(options.output) not in ("PNG", "TIFF")):
        raise InputError(f"--bits: expected 8, or 16 for PNG and TIFF, got {options.bits} for {options.output}")
    if options.plot is not None:
        check_plot(options.plot)
    inputs = options.inputs
    if options.weights not in NETWORKS:
        inputs.append(Path(options.weights))
    if options.save_every:
        _check_numbered(options.output, inputs)
    others = (options.side_by_side, options.history, options.plot)
    check_outputs(options.output, others, options.checkpoint, inputs=inputs, resume=options.resume)


def _check_numbered(output: Path, inputs: Sequence[Path]) -> None:
    numbered = re.compile(rf"{re.escape(output.stem)}_\d{{6,}}")
    for path in inputs:
        same = path.parent.resolve() == output.parent.resolve() and path.suffix == output.suffix
        if same and numbered.fullmatch(path.stem):
            raise InputError(f"--save-every: expected inputs of other names than the numbered pictures, got {path}")


def describe(job: Job) -> str:
    """One line with device, network, sizes of the levels and memory, and one with the notice of the weights."""
    sizes = ", ".join(_width_x_height(level.picture) for level in job.plan)
    iterations = "+".join(str(level.iterations) for level in job.plan)
    height, width = job.plan[-1].picture
    tile = plan_tile(job.function, job.network, (height, width), "auto", job.optimizer, channels=job.channels)
    memory = estimate_memory(job.network, height, width, optimizer=job.optimizer, channels=job.channels, tile=tile)
    amount = f"{memory / 1e9:.1f} GB" if memory >= 1e9 else f"{memory / 1e6:.0f} MB"
    network, _, notice = str(job.network.description).partition("; ")
    if getattr(job.network, "compute_dtype", None) == torch.bfloat16:
        network += " in bfloat16"
    work = f"levels {sizes} px; {iterations} iterations; about {amount} of memory"
    line = f"{describe_device(job.device)}; {network}; {work}"
    return f"{line}\n{notice}" if notice else line


def facts_of(options: PictureOptions, job: Job) -> dict[str, Any]:
    """What a loss history was made with."""
    return {
        "cnnfast": cnnfast.__version__,
        "torch": torch.__version__,
        "device": str(job.device),
        "network": job.network.description,
        "levels": [_width_x_height(level.picture) for level in job.plan],
        "iterations": [level.iterations for level in job.plan],
        "options": {name: str(value) for name, value in asdict(options).items() if value is not None},
    }


def conclude(options: PictureOptions, session: Session, picture: Tensor | None, seconds: float) -> str:
    """The last line."""
    loss = f", relative loss {session.history[-1][2]:.3g}" if session.history else ""
    if picture is not None:
        size = _width_x_height((picture.shape[1], picture.shape[2]))
        return f"{options.output}: {size} px in {format_seconds(seconds)}{loss}"
    return f"stopped{loss}: {options.output} is the picture so far; continue with --resume {options.checkpoint_path}"


def _width_x_height(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
