"""What ``cnnfast texture`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnfast.cli.base.parsing import parse_crop, parse_device, parse_layers, parse_size, scaled_size
from cnnfast.cli.style import picture_run
from cnnfast.cli.style.picture_run import Job
from cnnfast.cli.style.session import Session
from cnnfast.images import is_grey, load_image
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from cnnfast.models.style.picture.settings import choose_extractor
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import plan_texture, synthesize_texture


@dataclass(kw_only=True)
class Options(picture_run.Options):
    """The words of the command line, as typed."""

    sample: Path
    scale: float | None
    crop: str | None
    tileable: bool
    layers: str | None
    no_match_histogram: bool
    optimizer: str

    @property
    def inputs(self) -> list[Path]:
        """The sample."""
        return [self.sample]

    @property
    def presets(self) -> Sequence[str]:
        """What --preset may be."""
        return tuple(TEXTURE_PRESETS)


def run(options: Options) -> int:
    """Checks everything, synthesises, writes the files; returns the exit status."""
    if options.size is not None and options.scale is not None:
        raise ValueError("--size, --scale: expected one of them, got both")
    return picture_run.run(options, lambda: prepare(options))


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
    return Job("synthesize_texture", lambda: [sample], network, device, plan, options.optimizer, channels, resume, work)


def build_network(options: Options, device: torch.device) -> nn.Module:
    """The feature network that --weights, --layers and --dtype mean."""
    extractor, origin = options.network
    taps = None if options.layers is None else tuple(parse_layers("--layers", options.layers))
    return choose_extractor("synthesize_texture", extractor, taps, device, options.compute_dtype(device), **origin)
