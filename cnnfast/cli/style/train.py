"""``cnnfast fast-style train``: a network that gives any picture a style in a single pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cnnfast._errors import InputError
from cnnfast._options import argument, option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import describe_device, parse_device
from cnnfast.cli.base.training import TrainingCommand, Watch, check_training, run_training
from cnnfast.cli.style.picture_run import NETWORKS
from cnnfast.images import find_pictures
from cnnfast.models.style.feed_forward.examples_network import CHANNELS, TransformerNet
from cnnfast.models.style.feed_forward.files import check_model_path
from cnnfast.models.style.feed_forward.training import FastStyleOptions, train_fast_style
from cnnfast.weights import require_weights


@dataclass(kw_only=True)
class Options(FastStyleOptions, TrainingCommand):
    """Of the command; see `cnnfast._options`."""

    style: Path = argument("picture of the style")
    images: Path = argument("folder of pictures to train on, searched with all its folders")
    out: Path = option("network to write: .pth, .model, .pt or .safetensors", "-o", "--output")
    width: float = option("factor of the network's channels: 0.5 is four times as fast", default=1.0, after="crop")
    weights: str = option(
        "of the loss network: auto, random (filters without training), or a VGG file", default="auto", after="seed"
    )
    preprocessing: str = option("input convention of a weights file that does not tell", default="auto")

    @property
    def channels(self) -> tuple[int, int, int]:
        """Widths of the network."""
        full, half, quarter = (max(1, round(self.width * channels)) for channels in CHANNELS)
        return full, half, quarter


def run(options: Options) -> int:
    """Checks everything, trains, writes the files; returns the exit status."""
    with user_input():
        check_options(options)
        if options.weights == "auto":
            require_weights("fast style transfer")
        device = parse_device(options.device)
        pictures = find_pictures(options.images)
    steps = options.steps_for(len(pictures))

    def train(watch: Watch) -> None:
        _train(options, pictures, device, watch)

    description = _describe(options, device, len(pictures), steps)
    return run_training(options, description, steps, train, terms=("content", "style"))


def _train(options: Options, pictures: list[Path], device: torch.device, watch: Watch) -> None:
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
        callback=watch,
        **options.training_arguments(FastStyleOptions, device),
    )


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a picture or a file of weights.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    if not 0 < options.width <= 8:
        raise InputError(f"--width: expected a factor above 0 and up to 8, got {options.width}")
    options.check("train_fast_style")
    check_model_path(options.out)
    inputs = [options.style]
    if options.weights not in NETWORKS:
        inputs.append(Path(options.weights))
    check_training(options, inputs)


def _describe(options: Options, device: torch.device, pictures: int, steps: int) -> str:
    side = options.image_size
    crops = f"{options.batch_size} crops of {side}x{side} px{options.share}"
    channels = ", ".join(map(str, options.channels))
    return f"{describe_device(device)}; {pictures} pictures; {steps} steps of {crops}; channels {channels}"
