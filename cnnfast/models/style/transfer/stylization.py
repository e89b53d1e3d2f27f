"""One run of style transfer: preparation of the pictures, start of every level, colours of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast.images import is_grey, resize
from cnnfast.models.style.picture.adam import Adam
from cnnfast.models.style.picture.checkpoint import fingerprint
from cnnfast.models.style.picture.colour import luminance, match_colour, original_colours, rgb_to_yuv, yuv_to_rgb
from cnnfast.models.style.picture.levels import Callback, LevelRun, plan_tiles
from cnnfast.models.style.picture.optimizer import PictureOptimizer
from cnnfast.models.style.picture.settings import OPTIMIZERS, build_optimizer, check_one_of, check_tile
from cnnfast.models.style.transfer.objective import StyleObjective, StyleWeights
from cnnfast.models.style.transfer.presets import StylePreset
from cnnfast.models.style.transfer.regions import StyleRegions
from cnnfast.models.style.transfer.schedule import StyleLevel

COLOURS = ("luminance", "match", "match_style", "original")
COLOUR_MATCHES = ("pca", "chol", "sym")
STARTS = ("content", "noise", "grey", "style_stats")
POOLINGS = ("max", "avg", "l2")


@dataclass(frozen=True)
class StyleSettings:
    """Choices of a run that are plain values; see :func:`~cnnfast.models.style.transfer.transfer.stylize`."""

    preset: str
    optimizer: str
    bounds: str | None
    noise_std: float
    preserve_color: str | None
    color_match: str
    seed: int
    tile: int | str | None

    def __post_init__(self) -> None:
        """Raises ValueError for a value outside its range."""
        check_one_of("stylize", "optimizer", self.optimizer, OPTIMIZERS)
        check_tile("stylize", self.tile)


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run.

    Attributes:
        original: [3,H,W], the content as it was given.
        content: [3,H,W], the content in the colours whose features are compared.
        styles: [3,h,w] each.
    """

    original: Tensor
    content: Tensor
    styles: list[Tensor]


def prepare_pictures(content: Tensor, styles: list[Tensor], preserve_color: str | None, color_match: str) -> Pictures:
    """The pictures in the colours in which `stylize` compares them, by `preserve_color`.

    Raises:
        ValueError: an unknown way to preserve or match colours.

    Source: Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 5.
    """
    check_one_of("stylize", "preserve_color", preserve_color, (None, *COLOURS))
    check_one_of("stylize", "color_match", color_match, COLOUR_MATCHES)
    original = content
    if preserve_color == "luminance":
        content = luminance(content)
        styles = [luminance(style) for style in styles]
        styles = [(style - style.mean() + content.mean()).clamp(0, 1) for style in styles]
    elif preserve_color == "match":
        styles = [match_colour(style, content, color_match) for style in styles]
    elif preserve_color == "match_style":
        palette = torch.cat([style.flatten(1) for style in styles], 1)[:, None]
        content = match_colour(content, palette, color_match)
    return Pictures(original, content, styles)


class Stylization(LevelRun[StyleObjective, StyleLevel]):
    """One run; arguments checked by :func:`~cnnfast.models.style.transfer.transfer.stylize`."""

    def __init__(
        self,
        pictures: Pictures,
        network: nn.Module,
        preset: StylePreset,
        weights: StyleWeights,
        blends: tuple[float, ...],
        plan: list[StyleLevel],
        settings: StyleSettings,
        regions: StyleRegions | None,
        start: str | Tensor,
        callback: Callback | None,
    ) -> None:
        self._pictures, self._weights, self._blends = pictures, weights, blends
        self._settings, self._regions, self._start = settings, regions, start
        # Only where it is another one than the preset's, so that checkpoints without it go on.
        self._usual_pooling = preset.pool
        pool = getattr(network, "pool", None)  # of other people's networks it may be a module
        self._pooling = pool if isinstance(pool, str) else preset.pool
        # Grey pictures give a grey result, with a third of the optimiser's memory.
        self._channels = 1 if all(map(is_grey, (pictures.content, *pictures.styles))) else 3
        seen = [[("content", level.picture), *(("style", size) for size in level.styles)] for level in plan]
        tiles = plan_tiles("stylize", network, seen, settings.tile, settings.optimizer, channels=self._channels)
        super().__init__("style", network, StyleObjective(network, preset, weights), plan, tiles, callback)

    def _begin(self, index: int, picture: Tensor | None, previous: PictureOptimizer | None) -> PictureOptimizer:
        level = self._plan[index]
        content = resize(self._pictures.content, level.picture)
        styles = [resize(s, size) for s, size in zip(self._pictures.styles, level.styles, strict=True)]
        start = self._first_picture(level, content) if picture is None else resize(picture.clamp(0, 1), level.picture)
        network = self._network
        self._objective.use_tiles(
            self._tiles[index], halo=getattr(network, "halo", 0), stride=getattr(network, "stride", 1)
        )
        regions = self._regions_of(level)
        self._objective.capture(content, styles, self._blends, regions)
        optimizer = build_optimizer(
            self._settings,
            start.to(content.device),
            self._objective,
            self._objective.describe_failure,
            periodic=self._objective.periodic,
            regions=None if regions is None else regions.content,
        )
        if isinstance(optimizer, Adam) and isinstance(previous, Adam):
            optimizer.warm_start(previous)
        return optimizer

    def _regions_of(self, level: StyleLevel) -> StyleRegions | None:
        regions = self._regions
        if regions is None:
            return None
        masks = [_reduced(m, size) for m, size in zip(regions.styles, level.styles, strict=True)]
        return replace(regions, content=_reduced(regions.content, level.picture), styles=masks)

    def _first_picture(self, level: StyleLevel, content: Tensor) -> Tensor:
        if isinstance(self._start, Tensor):
            start = resize(self._start, level.picture)
            return start.mean(0, keepdim=True) if self._channels == 1 else start
        if self._start == "content":
            return content[: self._channels]
        generator = torch.Generator().manual_seed(self._settings.seed)
        noise = torch.randn(self._channels, *level.picture, generator=generator).to(content.device)
        pairs = zip(self._blends, self._pictures.styles, strict=True)
        if self._start == "grey":
            return torch.full_like(noise, 0.5)
        colour = torch.stack([blend * style.mean((1, 2)) for blend, style in pairs]).sum(0)
        if self._start == "style_stats":
            pairs = zip(self._blends, self._pictures.styles, strict=True)
            spread = torch.stack([blend * style.var((1, 2), correction=0) for blend, style in pairs]).sum(0).sqrt()
            return (colour[: self._channels, None, None] + spread[: self._channels, None, None] * noise).clamp(0, 1)
        return (colour[: self._channels, None, None] + self._settings.noise_std * noise).clamp(0, 1)

    def _shown(self, picture: Tensor) -> Tensor:
        result = super()._shown(picture)
        kind = self._settings.preserve_color
        if kind not in ("luminance", "original"):
            return result
        content = resize(self._pictures.original, picture.shape[-2:])
        if kind == "original":
            return original_colours(content, result)
        return yuv_to_rgb(torch.cat([result.mean(0, keepdim=True), rgb_to_yuv(content)[1:]])).clamp(0, 1)

    def _describe(self) -> dict[str, Any]:
        settings = asdict(self._settings)
        del settings["tile"]
        regions = self._regions
        pictures = [self._pictures.original, self._pictures.content]
        return settings | {
            "plan": [[*level.picture, *sum(level.styles, ()), level.iterations] for level in self._plan],
            "weights": [self._weights.content, self._weights.style, self._weights.tv],
            "content_layers": dict(self._weights.content_layers),
            "style_layers": dict(self._weights.style_layers),
            "content": fingerprint(pictures),
            "styles": fingerprint(self._pictures.styles),
            "style_blend": list(self._blends),
            "regions": regions and [regions.guides, fingerprint([regions.content, *regions.styles])],
            "init": fingerprint([self._start]) if isinstance(self._start, Tensor) else self._start,
            **({} if self._pooling == self._usual_pooling else {"pooling": self._pooling}),
            "extractor": fingerprint(self._network.state_dict().values()),
            "dtype": str(getattr(self._network, "compute_dtype", None) or torch.float32),
        }


def _reduced(masks: Tensor, size: Sequence[int]) -> Tensor:
    return resize(masks, size, mode="bilinear").clamp(0, 1)
