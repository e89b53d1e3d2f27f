"""Texture synthesis: a new picture with the Gram matrices of a sample, from coarse to fine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnfast.features.choice import RandomFilterFeatures
from cnnfast.images import is_grey, load_image, resize, size_for
from cnnfast.images import match_histogram as match_histograms
from cnnfast.models.style.picture.checkpoint import fingerprint
from cnnfast.models.style.picture.levels import Callback, LevelRun, choose_device, plan_tiles
from cnnfast.models.style.picture.optimizer import PictureOptimizer
from cnnfast.models.style.picture.preconditioner import colour_preconditioner
from cnnfast.models.style.picture.settings import build_optimizer, choose_extractor, choose_layers
from cnnfast.models.style.picture.tiling import size_of
from cnnfast.models.style.texture.objective import TextureObjective
from cnnfast.models.style.texture.schedule import Level, plan_levels
from cnnfast.models.style.texture.settings import TextureSettings

if TYPE_CHECKING:
    from cnnfast.images.reading import Source


def synthesize_texture(
    image: Source,
    size: int | Sequence[int] | None = None,
    *,
    extractor: str | nn.Module = "auto",
    layers: Sequence[str] | Mapping[str, float] | None = None,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    preset: str = "fast",
    optimizer: str = "lbfgs",
    init: str | Source = "noise",
    noise_std: float = 0.02,
    bounds: str | None = "sample",
    match_histogram: bool = True,
    tileable: bool = False,
    seed: int = 0,
    pixel_weight: Tensor | None = None,
    weights: str = "relative",
    tile: int | str | None = "auto",
    callback: Callback | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    resume: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Tensor:
    r"""A new picture of any size with the texture of a sample.

    The picture x minimises, from coarse to fine, the distance of its Gram matrices G_l (over M_l positions) from those
    of the sample, T_l, in the layers l of a network:

    .. math:: L(x) = \frac{1}{n} \sum_l w_l \frac{\sum_{ij} (G_{l,ij} / M_l - T_{l,ij})^2}{\sum_{ij} T_{l,ij}^2}

    On every level sample and picture are reduced by the same power of two; each level starts from the enlarged result
    of the one before. The texture has the scale of the sample: a larger picture shows more texture, not larger parts.
    A grey sample is matched by a picture with one channel, which cannot pick up colour.

    Args:
        image: sample; a path, Pillow picture, array or tensor, see :func:`cnnfast.images.load_image`.
        size: longest side in px (aspect of the sample), (height, width), or None for the sample's size. (The command
            line has WIDTHxHEIGHT.)
        extractor: "auto", "random", "vgg16", "vgg19", or a module from [1,3,H,W] in [0,1] to a dict of features, see
            :func:`~cnnfast.features.choice.build_extractor`.
        layers: names, or a mapping from names to weights w_l; None takes all that the extractor returns.
        levels: "auto" for max(1, floor(log2(shortest side / 64)) + 1), one for random filters; or a number.
        iterations: of every level, coarse to fine, or of the finest alone; None takes the preset.
        preset: "fast" or "good".
        optimizer: "lbfgs", or "adam" with a seventh of its memory.
        init: "noise" (mean of the sample plus a little noise of its colours) or a picture to start from.
        noise_std: standard deviation of the noise along the first principal component of the sample's colours.
        bounds: keep every channel inside the range of the "sample", of "unit" [0,1], or None.
        match_histogram: map the values of every channel so that their distribution is exactly the sample's.
        tileable: make a picture that wraps around, so that copies of it fit together on all sides.
        seed: of the noise, which is drawn on the CPU and so is the same on every device.
        pixel_weight: weights >= 0 of the sample's pixels, [H,W].
        weights: "relative" as above, or "gatys": sum of w_l E_l with E_l of Gatys et al. 2015.
        tile: evaluate in tiles of that many px, with the same result up to rounding, the memory of one tile and 1.5
            times the work; "auto": only if the memory is too small for the whole picture; None: never.
        callback: called after every iteration with a :class:`~cnnfast.models.style.picture.levels.RunProgress`. What it
            raises, say a KeyboardInterrupt, ends the run.
        device: None takes a tensor sample's device, else a GPU that this installation has kernels for, else the CPU.
        dtype: of the convolutions; None, as on the command line, is bfloat16 where that is fast on the hardware, else
            float32. All else stays float32.
        resume: a checkpoint of a run with the same settings, or its path. On the CPU the result is that of the
            unbroken run, bit for bit.

    Returns:
        [3,H,W], float32 in [0,1], on the device.

    Raises:
        ValueError: a size below what the network needs or memory allows, an unknown option, or another run's
            checkpoint.
        TypeError: an argument of a wrong kind.
        RuntimeError: the loss was NaN or infinite five times in a row; the message names the layer.

    Source: L. A. Gatys, A. S. Ecker, M. Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015.

    Example:
        >>> import torch
        >>> from cnnfast.features.choice import RandomFilterFeatures
        >>> from cnnfast.models.style.texture.synthesis import synthesize_texture
        >>> stripes = (torch.arange(32) // 4 % 2).float().expand(3, 32, 32)
        >>> network = RandomFilterFeatures(filters_per_scale=4, sizes=(3, 7))
        >>> picture = synthesize_texture(stripes, (32, 48), extractor=network, iterations=5)
        >>> picture.shape
        torch.Size([3, 32, 48])
    """
    settings = TextureSettings(optimizer, noise_std, bounds, tileable, seed, weights, tile)
    sample = load_image(image).to(choose_device(image, device))
    if isinstance(layers, str):
        raise TypeError(f"synthesize_texture: expected layers as a sequence of names or a mapping, got {layers!r}")
    taps = None if layers is None else tuple(layers)
    network = choose_extractor("synthesize_texture", extractor, taps, sample.device, dtype)
    chosen = choose_layers("synthesize_texture", "layers", layers, network)
    plan = plan_texture(
        size_of(sample), size, network, levels=levels, iterations=iterations, preset=preset, tileable=tileable
    )
    start = None if isinstance(init, str) and init == "noise" else load_image(init).to(sample.device)
    synthesis = _Synthesis(sample, network, chosen, plan, settings, pixel_weight, start, callback)
    result = synthesis.run(resume)
    return match_histograms(result, _weighted_pixels(sample, synthesis.pixel_weight)) if match_histogram else result


def plan_texture(
    sample: tuple[int, int],
    size: int | Sequence[int] | None,
    network: nn.Module,
    *,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    preset: str = "fast",
    tileable: bool = False,
) -> list[Level]:
    """The levels that `synthesize_texture` goes through for a sample of (height, width) px; arguments as there.

    Example:
        >>> from cnnfast.features.choice import RandomFilterFeatures
        >>> from cnnfast.models.style.texture.synthesis import plan_texture
        >>> plan_texture((128, 128), 256, RandomFilterFeatures(filters_per_scale=4), iterations=50)
        [Level(sample=(128, 128), picture=(256, 256), iterations=50)]
    """
    if levels == "auto" and isinstance(network, RandomFilterFeatures):
        levels = 1
    picture = sample if size is None else size_for(sample, size)
    multiple = getattr(network, "stride", 1) if tileable else 1
    return plan_levels(sample, picture, levels=levels, iterations=iterations, preset=preset, multiple=multiple)


class _Synthesis(LevelRun[TextureObjective, Level]):
    """One run."""

    def __init__(
        self,
        sample: Tensor,
        network: nn.Module,
        layers: dict[str, float],
        plan: list[Level],
        settings: TextureSettings,
        pixel_weight: Tensor | None,
        start: Tensor | None,
        callback: Callback | None,
    ) -> None:
        self._sample = sample[:1] if is_grey(sample) else sample
        self._layers, self._settings, self._start = layers, settings, start
        self.pixel_weight = None if pixel_weight is None else _check_pixel_weight(pixel_weight, sample)
        padding = "circular" if settings.tileable else None
        super().__init__(
            "texture",
            network,
            TextureObjective(network, layers, weights=settings.weights, padding=padding),
            plan,
            # For all levels at once, so that a picture that does not fit into the memory is an error at the start.
            plan_tiles(
                "synthesize_texture",
                network,
                [(("sample", level.sample), ("picture", level.picture)) for level in plan],
                settings.tile,
                settings.optimizer,
                channels=self._sample.shape[0],
            ),
            callback,
        )

    def _begin(self, index: int, picture: Tensor | None, previous: PictureOptimizer | None) -> PictureOptimizer:
        level = self._plan[index]
        sample = resize(self._sample, level.sample)
        start = self._first_picture(level) if picture is None else resize(picture.clamp(0, 1), level.picture)
        pixel_weight = self.pixel_weight
        if pixel_weight is not None:
            pixel_weight = resize(pixel_weight[None], level.sample, mode="area")[0]
        stride = getattr(self._network, "stride", 1)
        tile = self._tiles[index]
        if tile is None and self._settings.tileable and any(side % stride for side in level.picture):
            # The network would drop the last incomplete stride; as a single tile the picture wraps around.
            tile = max(level.picture)
        self._objective.use_tiles(tile, halo=getattr(self._network, "halo", 0), stride=stride)
        self._objective.capture(sample.expand(3, -1, -1), pixel_weight)
        colours = _weighted_pixels(sample, pixel_weight)
        return build_optimizer(
            self._settings,
            start.to(sample.device),
            self._objective,
            self._objective.describe_failure,
            sample=colours,
            periodic=self._objective.periodic,
        )

    def _first_picture(self, level: Level) -> Tensor:
        if self._start is not None:
            start = resize(self._start, level.picture)
            return start.mean(0, keepdim=True) if self._sample.shape[0] == 1 else start
        generator = torch.Generator().manual_seed(self._settings.seed)
        noise = torch.randn(self._sample.shape[0], *level.picture, generator=generator).to(self._sample.device)
        colours = _weighted_pixels(self._sample, self.pixel_weight)
        if len(noise) == 3:
            # Noise in other colours would remain: the loss and the preconditioner hardly change it.
            noise = colour_preconditioner(colours, 0.5)(noise)
        return colours.mean((1, 2), keepdim=True) + self._settings.noise_std * noise

    def _describe(self) -> dict[str, Any]:
        settings = asdict(self._settings)
        del settings["tile"]
        return settings | {
            "plan": [[*level.sample, *level.picture, level.iterations] for level in self._plan],
            "layers": dict(self._layers),
            "sample": fingerprint([self._sample]),
            "init": "noise" if self._start is None else fingerprint([self._start]),
            "pixel_weight": None if self.pixel_weight is None else fingerprint([self.pixel_weight]),
            "extractor": fingerprint(self._network.state_dict().values()),
            "dtype": str(getattr(self._network, "compute_dtype", None) or torch.float32),
        }


def _check_pixel_weight(pixel_weight: Tensor, sample: Tensor) -> Tensor:
    if pixel_weight.shape != sample.shape[-2:]:
        raise ValueError(
            f"synthesize_texture: expected pixel_weight of the sample's shape {list(sample.shape[-2:])}, "
            f"got {list(pixel_weight.shape)}"
        )
    if not bool((pixel_weight > 0).any()):
        raise ValueError("synthesize_texture: expected a pixel_weight above 0 somewhere, got none")
    return pixel_weight.to(sample.device, torch.float32)


def _weighted_pixels(sample: Tensor, pixel_weight: Tensor | None) -> Tensor:
    """The sample [C,h,w], or its pixels with a weight above 0 as [C,1,pixels]."""
    return sample if pixel_weight is None else sample[:, pixel_weight > 0][:, None]
