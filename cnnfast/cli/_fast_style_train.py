"""What ``cnnfast fast-style train`` does: checks, the training, and its files."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

import cnnfast
from cnnfast.cli._parsing import (
    check_outputs,
    check_seed,
    checkpoint_of,
    describe_device,
    parse_choice,
    parse_device,
)
from cnnfast.cli._progress import format_seconds
from cnnfast.cli._run import NETWORKS
from cnnfast.cli._session import check_plot, plot_history, signals_to, write_history
from cnnfast.cli._steps import StepReporter
from cnnfast.models.style.data import CROPS, find_pictures
from cnnfast.models.style.style_files import check_model_path
from cnnfast.models.style.transformer import CHANNELS, TransformerNet

_AMP = {"auto": "auto", "float32": "none", "bfloat16": "bf16"}


@dataclass(kw_only=True)
class Options:
    """The words of the command line, as typed."""

    style: Path
    images: Path
    output: Path
    steps: int | None
    epochs: int
    batch: int
    image_size: int
    crop: str
    width: float
    style_size: int | None
    style_strength: float
    content_weight: float | None
    style_weight: float | None
    tv_weight: float
    lr: float
    seed: int
    weights: str
    preprocessing: str
    device: str
    devices: int
    nodes: int
    dtype: str
    workers: int
    checkpoint: Path | None
    checkpoint_every: int
    resume: Path | None
    log: Path | None
    log_format: str
    history: Path | None
    plot: Path | None

    @property
    def checkpoint_path(self) -> Path:
        """The file of checkpoints, named or not."""
        return checkpoint_of(self.output, self.checkpoint)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Widths of the network."""
        full, half, quarter = (max(1, round(self.width * channels)) for channels in CHANNELS)
        return full, half, quarter


class _Watch:
    """Follows a training, and ends it when a signal has asked for that."""

    def __init__(self, reporter: StepReporter) -> None:
        self.history: list[list[float]] = []
        self.last: Any = None
        self.stop = False
        self._reporter = reporter

    def __call__(self, progress: Any) -> bool:
        if self.last is None:
            self._reporter.begin(progress.step - 1)
        self.last = progress
        self.history.append([1, progress.step, progress.loss])
        terms = (
            f"loss {progress.loss:.4g}  content {progress.terms['content']:.3g}  style {progress.terms['style']:.3g}"
        )
        self._reporter.update(progress.step, terms)
        return self.stop

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Ends the training after a checkpoint, when called again at once."""
        if self.stop or self.last is None:
            raise KeyboardInterrupt
        self.stop = True


def run(options: Options) -> int:
    """Checks everything, trains, writes the files; returns the exit status."""
    check_options(options)
    device = parse_device(options.device)
    pictures = find_pictures(options.images)
    processes = options.devices * options.nodes
    steps = options.steps or -(-options.epochs * len(pictures) // (options.batch * processes))
    # Lightning starts further processes with the same command; one of them talks.
    first = os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
    console = Console(highlight=False, soft_wrap=True, quiet=not first)
    console.print(_describe(options, device, len(pictures), steps), markup=False)
    started = time.monotonic()
    with StepReporter(steps, "steps", console) as reporter:
        watch = _Watch(reporter)
        with signals_to(watch.on_signal):
            _train(options, pictures, steps, device, watch)
    if not first:
        return 0
    seconds = time.monotonic() - started
    finished = watch.last is None or watch.last.step >= steps
    _write_records(options, watch, finished, seconds)
    console.print(_conclude(options, watch, finished, seconds), markup=False)
    return 0 if finished else 130


def _train(options: Options, pictures: list[Path], steps: int, device: torch.device, watch: _Watch) -> None:
    from cnnfast.models.style.training import train_fast_style  # brings Lightning

    with torch.random.fork_rng([]):
        torch.manual_seed(options.seed)
        network = TransformerNet(options.channels)
    given = options.weights not in NETWORKS
    train_fast_style(
        options.style,
        pictures,
        network=network,
        extractor="vgg" if given else options.weights,
        weights=options.weights if given else "auto",
        preprocessing=options.preprocessing,
        max_steps=steps,
        batch_size=options.batch,
        image_size=options.image_size,
        crop=options.crop,
        style_size=options.style_size,
        content_weight=options.content_weight,
        style_weight=options.style_weight,
        tv_weight=options.tv_weight,
        style_strength=options.style_strength,
        lr=options.lr,
        seed=options.seed,
        out=options.output,
        checkpoint=options.checkpoint_path,
        checkpoint_every=options.checkpoint_every,
        resume=options.resume,
        log_dir=options.log,
        log_format=options.log_format,
        amp=_AMP[options.dtype],
        workers=options.workers,
        device=device,
        devices=options.devices,
        nodes=options.nodes,
        callback=watch,
    )


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a picture or a file of weights.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    parse_choice("--crop", options.crop, CROPS)
    parse_choice("--dtype", options.dtype, tuple(_AMP))
    parse_choice("--log-format", options.log_format, ("csv", "tensorboard"))
    names = ("steps", "epochs", "batch", "image_size", "style_size", "devices", "nodes", "checkpoint_every")
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')}: expected at least 1, got {value}")
    if not 0 < options.width <= 8:
        raise ValueError(f"--width: expected a factor above 0 and up to 8, got {options.width}")
    check_seed(options.seed)
    check_model_path(options.output)
    if options.plot is not None:
        check_plot(options.plot)
    inputs = [options.style]
    if options.weights not in NETWORKS:
        inputs.append(Path(options.weights))
    others = (options.history, options.plot)
    check_outputs(options.output, others, options.checkpoint, inputs=inputs, resume=options.resume)


def _describe(options: Options, device: torch.device, pictures: int, steps: int) -> str:
    processes = options.devices * options.nodes
    share = f" on each of {processes} processes" if processes > 1 else ""
    side = options.image_size
    crops = f"{options.batch} crops of {side}x{side} px{share}"
    channels = ", ".join(map(str, options.channels))
    return f"{describe_device(device)}; {pictures} pictures; {steps} steps of {crops}; channels {channels}"


def _write_records(options: Options, watch: _Watch, finished: bool, seconds: float) -> None:
    if options.history is not None:
        words = {name: str(value) for name, value in asdict(options).items() if value is not None}
        facts = {"cnnfast": cnnfast.__version__, "torch": torch.__version__, "options": words}
        write_history(options.history, facts | {"finished": finished, "seconds": round(seconds, 3)}, watch.history)
    if options.plot is not None and watch.history:
        plot_history(options.plot, watch.history)


def _conclude(options: Options, watch: _Watch, finished: bool, seconds: float) -> str:
    loss = f", loss {watch.last.loss:.4g}" if watch.last is not None else ""
    if finished:
        return f"{options.output}: {format_seconds(seconds)}{loss}"
    return (
        f"stopped at step {watch.last.step}{loss}: {options.output} is the network so far; "
        f"continue with --resume {options.checkpoint_path}"
    )
