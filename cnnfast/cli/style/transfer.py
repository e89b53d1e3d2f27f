"""``cnnfast style``: the content of one picture in the style of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnfast._errors import InputError
from cnnfast._options import argument, option
from cnnfast.cli.base.parsing import parse_device, parse_layers, parse_numbers, parse_size
from cnnfast.cli.style import picture_run
from cnnfast.cli.style.picture_run import Job, PictureOptions
from cnnfast.cli.style.session import Session
from cnnfast.images import is_grey, load_image, resize
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from cnnfast.models.style.picture.settings import OPTIMIZERS
from cnnfast.models.style.picture.tiling import size_of
from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.regions import GUIDES, StyleRegions
from cnnfast.models.style.transfer.stylization import COLOUR_MATCHES, COLOURS, POOLINGS, STARTS
from cnnfast.models.style.transfer.transfer import plan_stylize, style_network, stylize
from cnnfast.weights import require_weights


@dataclass(kw_only=True)
class Options(PictureOptions):
    """Of the command; see `cnnfast._options`."""

    content: Path = argument("picture whose content to keep")
    styles: list[Path] = argument("pictures whose style to take", metavar="STYLE...")
    size: str = option("longest side in px, or WIDTHxHEIGHT", default="512", after="output")
    preset: str = option(
        "cnnfast, or the settings of another program: gatys2016, neural-style, crowson",
        default="cnnfast",
        choices=tuple(STYLE_PRESETS),
    )
    blend: str | None = option("how much each style counts: 1,2; default: equally", default=None)
    content_weight: float | None = option("default: the preset's", default=None)
    style_weight: float | None = option("default: the preset's", default=None)
    tv_weight: float | None = option("smoothness; default: the preset's", default=None)
    style_scale: float = option("size of the strokes: factor of the styles' sizes", default=1.0)
    style_size: int | None = option(
        "longest side of the styles in px on every level, in place of --style-scale", default=None, minimum=1
    )
    preserve_color: str | None = option(
        "luminance (stylise the luminance alone), match (styles take the content's colours first), match_style (the "
        "content takes the styles'), or original (the content's chroma on the result)",
        default=None,
        choices=COLOURS,
    )
    color_match: str = option("how colours are matched: pca, chol or sym", default="pca", choices=COLOUR_MATCHES)
    content_mask: list[Path] = option(
        "a region of CONTENT, white on black, of its size; once for each region", default=list
    )
    style_mask: list[Path] = option(
        "the region of the style that it takes, in the same order; with several styles the first region is of the "
        "first style, and so on. Default: the whole style",
        default=list,
    )
    guides: str = option(
        "what belongs to a region in the network's layers: simple, inside or all", default="simple", choices=GUIDES
    )
    init: str | None = option(
        "start from content, noise, grey, style_stats (noise of the styles' colours) or a picture; default: the "
        "preset's",
        default=None,
    )
    levels: int | None = option("sizes to go through, coarse to fine; default: automatic", default=None, minimum=1)
    initial_iterations: int | None = option("of the coarsest level", default=None, minimum=1, after="iterations")
    pooling: str | None = option(
        "of the network: max, avg or l2; default: the preset's", default=None, choices=POOLINGS, after="preprocessing"
    )
    content_layers: str | None = option(
        "names, with weights if wanted: relu4_2=1", default=None, after="initial_iterations"
    )
    style_layers: str | None = option("names, with weights if wanted: relu1_1,relu2_1=0.5", default=None)
    optimizer: str | None = option(
        "lbfgs, or adam (less memory); default: the preset's", default=None, choices=OPTIMIZERS, after="preprocessing"
    )
    seed: int = option("of the noise it may start from", default=0)
    alpha: str = option(
        "transparency of pictures: white (compose on white) or drop", default="white", choices=("white", "drop")
    )
    side_by_side: Path | None = option(
        "write content, styles (as they were used) and result in a row", default=None, after="resume"
    )

    @property
    def inputs(self) -> list[Path]:
        """Pictures and masks."""
        start = [] if self.init is None or self.init in STARTS else [Path(self.init)]
        return [self.content, *self.styles, *self.content_mask, *self.style_mask, *start]


def run(options: Options) -> int:
    """Checks everything, stylises, writes the files; returns the exit status."""
    check_style(options)
    return picture_run.run(options, prepare)


def check_style(options: Options) -> None:
    """What can be wrong with the options of this command alone.

    Raises:
        InputError: names the option, what it wants and what it got.
    """
    for name, value in (
        ("--content-weight", options.content_weight),
        ("--style-weight", options.style_weight),
        ("--tv-weight", options.tv_weight),
    ):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name}: expected a number of at least 0, got {value}")
    if not (math.isfinite(options.style_scale) and options.style_scale > 0):
        raise InputError(f"--style-scale: expected a factor above 0, got {options.style_scale}")
    blends = None if options.blend is None else parse_numbers("--blend", options.blend)
    count = len(options.styles)
    if blends is not None and (len(blends) != count or sum(blends) == 0):
        raise InputError(f"--blend: expected a number for each of {count} styles, not all 0, got {options.blend}")
    _check_masks(options)


def _check_masks(options: Options) -> None:
    regions, masks, styles = len(options.content_mask), len(options.style_mask), len(options.styles)
    if masks and masks != regions:
        raise InputError(f"--style-mask: expected one for each of {regions} content masks, got {masks}")
    if regions and styles not in (1, regions):
        raise InputError(f"--content-mask: expected one style, or one for each of {regions} masks, got {styles}")


def prepare(options: Options) -> Job:
    """Opens pictures, masks, checkpoint and weights, and plans the levels."""
    if options.weights == "auto":  # random filters cannot carry the content: the picture would come back unchanged
        require_weights("style transfer")
    device = parse_device(options.device)
    content = load_image(options.content, alpha=options.alpha)
    styles = [load_image(path, alpha=options.alpha) for path in options.styles]
    regions = load_regions(options, content, styles)
    start = options.init if options.init is None or options.init in STARTS else load_image(options.init)
    resume = None if options.resume is None else load_checkpoint(options.resume, "style")
    extractor, origin = options.network
    layers: dict[str, Any] = {
        "content_layers": _layers("--content-layers", options.content_layers),
        "style_layers": _layers("--style-layers", options.style_layers),
    }
    dtype = options.compute_dtype(device)
    named: dict[str, Any] = {"preset": options.preset, "pooling": options.pooling, **layers, **origin}
    network = style_network(extractor, device=device, dtype=dtype, **named)
    size = parse_size(options.size)
    common: dict[str, Any] = {
        "preset": options.preset,
        "style_scale": options.style_scale,
        "style_size": options.style_size,
        "levels": options.levels or "auto",
        "iterations": options.iterations,
        "initial_iterations": options.initial_iterations,
    }
    plan = plan_stylize(size_of(content), list(map(size_of, styles)), size, network, **common)

    def work(session: Session) -> Tensor:
        return stylize(
            content,
            styles,
            size=size,
            style_blend=None if options.blend is None else parse_numbers("--blend", options.blend),
            content_weight=options.content_weight,
            style_weight=options.style_weight,
            tv_weight=options.tv_weight,
            preserve_color=options.preserve_color,
            color_match=options.color_match,
            regions=regions,
            init=start,
            extractor=network,
            optimizer=options.optimizer,
            seed=options.seed,
            callback=session,
            device=device,
            resume=resume,
            **layers,
            **common,
        )

    optimizer = options.optimizer or STYLE_PRESETS[options.preset].optimizer
    grey = options.preserve_color == "luminance" or all(map(is_grey, (content, *styles)))

    def pictures() -> list[Tensor]:
        sizes = (plan[-1].picture, *plan[-1].styles)
        return [resize(p, size) for p, size in zip((content, *styles), sizes, strict=True)]

    return Job("stylize", pictures, network, device, plan, optimizer, 1 if grey else 3, resume, work)


def load_regions(options: Options, content: Tensor, styles: Sequence[Tensor]) -> StyleRegions | None:
    """The regions of --content-mask and --style-mask: with several styles, each mask's from the style in its place."""
    if not options.content_mask:
        return None
    of_content = torch.stack([_load_mask("--content-mask", path, content) for path in options.content_mask])
    count = len(options.content_mask)
    of_styles = []
    for index, style in enumerate(styles):
        masks = style.new_zeros(count, *size_of(style))
        for region in range(count) if len(styles) == 1 else [index]:
            path = options.style_mask[region] if options.style_mask else None
            masks[region] = 1.0 if path is None else _load_mask("--style-mask", path, style)
        of_styles.append(masks)
    return StyleRegions(of_content, of_styles, options.guides)


def _load_mask(option: str, path: Path, picture: Tensor) -> Tensor:
    mask = load_image(path).mean(0)
    if size_of(mask) != size_of(picture):
        (height, width), (own_height, own_width) = size_of(picture), size_of(mask)
        raise InputError(
            f"{option}: expected {width}x{height} px as its picture has, got {path} of {own_width}x{own_height} px"
        )
    return mask


def _layers(option: str, text: str | None) -> Mapping[str, float] | None:
    return None if text is None else parse_layers(option, text)
