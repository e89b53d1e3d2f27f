"""``cnnfast texture``: a new picture of any size with the texture of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast._options import argument, option
from cnnfast.cli.base.parsing import parse_crop, parse_device, parse_layers, parse_size, scaled_size
from cnnfast.cli.style import picture_run
from cnnfast.cli.style.picture_run import Job, PictureOptions
from cnnfast.cli.style.session import Session
from cnnfast.features.choice import network_kind
from cnnfast.images import is_grey, load_image
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from cnnfast.models.style.picture.settings import OPTIMIZERS, choose_extractor
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import plan_texture, synthesize_texture
from cnnfast.weights import HOW_TO_GET

_NO_WEIGHTS = (
    "no VGG weights on this machine: random filters instead, which keep less of the sample's structure and are slower; "
    + HOW_TO_GET
)


@dataclass(kw_only=True)
class Options(PictureOptions):
    """Of the command; see `cnnfast._options`."""

    sample: Path = argument("picture of the texture")
    size: str | None = option(
        "longest side in px, or WIDTHxHEIGHT; default: the sample's", default=None, after="output"
    )
    scale: float | None = option(
        "a bigger picture of the same texture: 2 gives twice the sample's width and height, with statistics at the "
        "sample's own pixel scale. More of the texture, not an enlargement of it",
        default=None,
    )
    crop: str | None = option("part of the sample to use: WxH+X+Y, or WxH in its middle", default=None)
    alpha: str = option(
        "transparency of the sample: white (compose on white) or drop", default="white", choices=("white", "drop")
    )
    tileable: bool = option("make the result fit its own copies on all sides", default=False)
    preset: str = option(
        "fast or good (more iterations)", default="fast", choices=tuple(TEXTURE_PRESETS), after="iterations"
    )
    layers: str | None = option("names, with weights if wanted: relu1_1,pool1=0.5", default=None)
    optimizer: str = option("lbfgs, or adam (less memory)", default="lbfgs", choices=OPTIMIZERS, after="preprocessing")
    no_match_histogram: bool = option("leave the result's colours as optimised", default=False)
    seed: int = option("of the noise it starts from", default=0)
    side_by_side: Path | None = option("write sample and result next to each other", default=None, after="resume")

    @property
    def inputs(self) -> list[Path]:
        """The sample."""
        return [self.sample]


def run(options: Options) -> int:
    """Checks everything, synthesises, writes the files; returns the exit status."""
    if options.size is not None and options.scale is not None:
        raise InputError("--size, --scale: expected one of them, got both")
    return picture_run.run(options, prepare)


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
    resume = None if options.resume is None else load_checkpoint(options.resume, "texture")
    network = build_network(options, device)
    plan = plan_texture(
        shape, size, network, iterations=options.iterations, preset=options.preset, tileable=options.tileable
    )

    def work(session: Session) -> Tensor:
        return synthesize_texture(
            sample,
            size,
            extractor=network,
            layers=None if options.layers is None else parse_layers("--layers", options.layers),
            iterations=options.iterations,
            preset=options.preset,
            optimizer=options.optimizer,
            match_histogram=not options.no_match_histogram,
            tileable=options.tileable,
            seed=options.seed,
            callback=session,
            device=device,
            resume=resume,
        )

    channels = 1 if is_grey(sample) else 3
    return Job(
        "synthesize_texture",
        lambda: [sample],
        network,
        device,
        plan,
        options.optimizer,
        channels,
        resume,
        work,
        notice=_NO_WEIGHTS if options.weights == "auto" and network_kind("auto") == "random" else "",
    )


def build_network(options: Options, device: torch.device) -> nn.Module:
    """The feature network that --weights, --layers and --dtype mean."""
    extractor, origin = options.network
    taps = None if options.layers is None else tuple(parse_layers("--layers", options.layers))
    return choose_extractor("synthesize_texture", extractor, taps, device, options.compute_dtype(device), **origin)
