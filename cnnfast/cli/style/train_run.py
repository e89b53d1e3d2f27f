"""What ``cnnfast fast-style train`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cnnfast.cli.base.parsing import describe_device, parse_choice, parse_device
from cnnfast.cli.base.training import TrainingOptions, Watch, check_least, check_training, run_training
from cnnfast.cli.style.picture_run import NETWORKS
from cnnfast.images import find_pictures
from cnnfast.models.style.feed_forward.data import CROPS
from cnnfast.models.style.feed_forward.examples_network import CHANNELS, TransformerNet
from cnnfast.models.style.feed_forward.files import check_model_path


@dataclass(kw_only=True)
class Options(TrainingOptions):
    """The words of the command line, as typed."""

    lr: float
    style: Path
    images: Path
    image_size: int
    crop: str
    width: float
    style_size: int | None
    style_strength: float
    content_weight: float | None
    style_weight: float | None
    tv_weight: float
    weights: str
    preprocessing: str

    @property
    def channels(self) -> tuple[int, int, int]:
        """Widths of the network."""
        full, half, quarter = (max(1, round(self.width * channels)) for channels in CHANNELS)
        return full, half, quarter


def run(options: Options) -> int:
    """Checks everything, trains, writes the files; returns the exit status."""
    check_options(options)
    device = parse_device(options.device)
    pictures = find_pictures(options.images)
    steps = options.steps_for(len(pictures))

    def train(watch: Watch) -> None:
        _train(options, pictures, steps, device, watch)

    description = _describe(options, device, len(pictures), steps)
    return run_training(options, description, steps, train, terms=("content", "style"))


def _train(options: Options, pictures: list[Path], steps: int, device: torch.device, watch: Watch) -> None:
    from cnnfast.models.style.feed_forward.training import train_fast_style  # brings Lightning's Fabric

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
        image_size=options.image_size,
        crop=options.crop,
        style_size=options.style_size,
        content_weight=options.content_weight,
        style_weight=options.style_weight,
        tv_weight=options.tv_weight,
        style_strength=options.style_strength,
        lr=options.lr,
        device=device,
        callback=watch,
        **options.common(),
    )


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a picture or a file of weights.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    parse_choice("--crop", options.crop, CROPS)
    check_least(options, ("image_size", "style_size"))
    if not 0 < options.width <= 8:
        raise ValueError(f"--width: expected a factor above 0 and up to 8, got {options.width}")
    check_model_path(options.output)
    inputs = [options.style]
    if options.weights not in NETWORKS:
        inputs.append(Path(options.weights))
    check_training(options, inputs)


def _describe(options: Options, device: torch.device, pictures: int, steps: int) -> str:
    share = f" on each of {options.processes} processes" if options.processes > 1 else ""
    side = options.image_size
    crops = f"{options.batch} crops of {side}x{side} px{share}"
    channels = ", ".join(map(str, options.channels))
    return f"{describe_device(device)}; {pictures} pictures; {steps} steps of {crops}; channels {channels}"
