"""What ``cnnfast texture`` does: checks, the run, and its files."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

import cnnfast
from cnnfast.cli._parsing import (
    check_output,
    parse_choice,
    parse_crop,
    parse_device,
    parse_layers,
    parse_size,
    scaled_size,
)
from cnnfast.cli._progress import Reporter, format_seconds
from cnnfast.cli._session import Session, Stopped, check_plot, plot_history, write_history
from cnnfast.images import is_grey, load_image, save_image, side_by_side
from cnnfast.images.writing import picture_format
from cnnfast.models.style.checkpoint import load_checkpoint
from cnnfast.models.style.memory import estimate_memory, plan_tile
from cnnfast.models.style.network import build_extractor
from cnnfast.models.style.schedule import PRESETS, Level
from cnnfast.models.style.settings import OPTIMIZERS
from cnnfast.models.style.texture import plan_texture, synthesize_texture

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_NETWORKS = ("auto", "random", "vgg16", "vgg19")
_CHECKPOINT_EVERY = 25


@dataclass
class Options:
    """The words of the command line, as typed."""

    sample: Path
    output: Path
    size: str | None
    scale: float | None
    crop: str | None
    alpha: str
    tileable: bool
    iterations: int | None
    preset: str
    layers: str | None
    weights: str
    preprocessing: str
    optimizer: str
    no_match_histogram: bool
    seed: int
    device: str
    dtype: str
    preview_every: int
    checkpoint: Path | None
    checkpoint_every: int | None
    resume: Path | None
    side_by_side: Path | None
    history: Path | None
    plot: Path | None

    @property
    def checkpoint_path(self) -> Path:
        """The file of checkpoints, named or not."""
        return self.checkpoint or self.output.with_name(f"{self.output.stem}.checkpoint.pt")

    @property
    def checkpoint_interval(self) -> int:
        """Iterations between checkpoints, 0 for only when stopped."""
        if self.checkpoint_every is not None:
            return self.checkpoint_every
        return 0 if self.checkpoint is None else _CHECKPOINT_EVERY


@dataclass
class Job:
    """All that was found right before the work begins."""

    sample: Tensor
    network: nn.Module
    device: torch.device
    size: int | tuple[int, int] | None
    plan: list[Level]
    resume: dict[str, Any] | None


def run(options: Options) -> int:
    """Checks everything, synthesises, writes the files; returns the exit status."""
    check_options(options)
    job = prepare(options)
    console = Console(highlight=False, soft_wrap=True)
    console.print(describe(options, job), markup=False)
    started = time.monotonic()
    with Reporter(job.plan, console) as reporter:
        session = Session(
            options.output,
            options.preview_every,
            options.checkpoint_path,
            options.checkpoint_interval,
            reporter.update,
            history=[] if job.resume is None else list(job.resume["history"]),
        )
        try:
            with session.stoppable():
                picture = synthesize(options, job, session)
        except Stopped:
            picture = None
    seconds = time.monotonic() - started
    if picture is not None:
        save_image(picture, options.output)
        if options.side_by_side is not None:
            save_image(side_by_side([job.sample, picture]), options.side_by_side)
    if options.history is not None:
        facts = facts_of(options, job) | {"finished": picture is not None, "seconds": round(seconds, 3)}
        write_history(options.history, facts, session.history)
    if options.plot is not None and session.history:
        plot_history(options.plot, session.history)
    console.print(conclude(options, session, picture, seconds), markup=False)
    return 130 if picture is None else 0


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a file of weights or a picture.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    parse_choice("--alpha", options.alpha, ("white", "drop"))
    parse_choice("--preset", options.preset, tuple(PRESETS))
    parse_choice("--optimizer", options.optimizer, OPTIMIZERS)
    parse_choice("--dtype", options.dtype, tuple(_DTYPES))
    for name, value, least in (
        ("--iterations", options.iterations, 1),
        ("--preview-every", options.preview_every, 0),
        ("--checkpoint-every", options.checkpoint_every, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed: expected a number of 0..2^63-1, got {options.seed}")
    if options.size is not None and options.scale is not None:
        raise ValueError("--size, --scale: expected one of them, got both")
    if options.size is not None:
        parse_size(options.size)
    _check_files(options)


def _check_files(options: Options) -> None:
    for path in (options.output, options.side_by_side):
        if path is not None:
            picture_format(path)
    if options.plot is not None:
        check_plot(options.plot)
    inputs = [options.sample]
    if options.weights not in _NETWORKS:
        inputs.append(Path(options.weights))
    outputs = [options.output, options.side_by_side, options.history, options.plot]
    named = [path for path in outputs if path is not None]
    resumed = [] if options.resume is None else [options.resume]
    for index, path in enumerate(named):
        check_output(path, inputs=[*inputs, *resumed], others=named[:index])
    check_output(options.checkpoint_path, inputs=inputs, others=named)  # may be the file that the run is resumed from


def prepare(options: Options) -> Job:
    """Opens sample, checkpoint and weights, and plans the levels."""
    device = parse_device(options.device)
    sample = load_image(options.sample, alpha=options.alpha)
    if options.crop is not None:
        rows, columns = parse_crop(options.crop, (sample.shape[1], sample.shape[2]))
        sample = sample[:, rows, columns].contiguous()
    shape = (sample.shape[1], sample.shape[2])
    size: int | tuple[int, int] | None = None
    if options.size is not None:
        size = parse_size(options.size)
    elif options.scale is not None:
        size = scaled_size(shape, options.scale)
    resume = None if options.resume is None else load_checkpoint(options.resume)
    network = build_network(options, device)
    plan = plan_texture(
        shape, size, network, iterations=options.iterations, preset=options.preset, tileable=options.tileable
    )
    return Job(sample, network, device, size, plan, resume)


def build_network(options: Options, device: torch.device) -> nn.Module:
    """The feature network that --weights, --layers and --dtype mean."""
    is_file = options.weights not in _NETWORKS
    return build_extractor(
        "vgg" if is_file else options.weights,
        taps=None if options.layers is None else tuple(parse_layers(options.layers)),
        weights=options.weights if is_file else "auto",
        preprocessing=options.preprocessing,
        compute_dtype=_DTYPES[options.dtype],
        device=device,
    )


def synthesize(options: Options, job: Job, session: Session) -> Tensor:
    """The picture [3,H,W]."""
    return synthesize_texture(
        job.sample,
        job.size,
        extractor=job.network,
        layers=None if options.layers is None else parse_layers(options.layers),
        iterations=options.iterations,
        preset=options.preset,
        optimizer=options.optimizer,
        match_histogram=not options.no_match_histogram,
        tileable=options.tileable,
        seed=options.seed,
        callback=session,
        device=job.device,
        resume=job.resume,
    )


def describe(options: Options, job: Job) -> str:
    """One line with device, network, sizes of the levels and memory, and one with the notice of the weights."""
    if job.device.type == "cuda":
        device = f"{job.device} ({torch.cuda.get_device_name(job.device)})"
    else:
        device = f"{job.device} ({torch.get_num_threads()} threads)"
    sizes = ", ".join(_width_x_height(level.picture) for level in job.plan)
    iterations = "+".join(str(level.iterations) for level in job.plan)
    channels = 1 if is_grey(job.sample) else 3
    height, width = job.plan[-1].picture
    tile = plan_tile(job.network, (height, width), "auto", options.optimizer, channels=channels)
    memory = estimate_memory(job.network, height, width, optimizer=options.optimizer, channels=channels, tile=tile)
    amount = f"{memory / 1e9:.1f} GB" if memory >= 1e9 else f"{memory / 1e6:.0f} MB"
    network, _, notice = str(job.network.description).partition("; ")
    line = f"{device}; {network}; levels {sizes} px; {iterations} iterations; about {amount} of memory"
    return f"{line}\n{notice}" if notice else line


def facts_of(options: Options, job: Job) -> dict[str, Any]:
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


def conclude(options: Options, session: Session, picture: Tensor | None, seconds: float) -> str:
    """The last line."""
    loss = f", relative loss {session.history[-1][2]:.3g}" if session.history else ""
    if picture is not None:
        size = _width_x_height((picture.shape[1], picture.shape[2]))
        return f"{options.output}: {size} px in {format_seconds(seconds)}{loss}"
    return f"stopped{loss}: {options.output} is the picture so far; continue with --resume {options.checkpoint_path}"


def _width_x_height(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
