"""Texture synthesis: a new picture with the Gram matrices of a sample, from coarse to fine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnfast._extension import default_device
from cnnfast.images import is_grey, load_image, resize, size_for
from cnnfast.images import match_histogram as match_histograms
from cnnfast.models.style.checkpoint import FORMAT, check_settings, fingerprint, load_checkpoint
from cnnfast.models.style.memory import plan_tile
from cnnfast.models.style.network import RandomFilterFeatures
from cnnfast.models.style.objective import TextureObjective
from cnnfast.models.style.optimizer import PictureOptimizer
from cnnfast.models.style.schedule import Level, plan_levels
from cnnfast.models.style.settings import TextureSettings, build_optimizer, choose_extractor

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Source = str | os.PathLike[str] | Image | np.ndarray | Tensor


@dataclass(frozen=True)
class TextureProgress:
    """What a callback learns after every iteration.

    Attributes:
        level: 1 for the coarsest.
        levels: number of levels.
        iteration: iterations done on this level.
        iterations: iterations planned for this level; it ends earlier when nothing can improve any more.
        loss: relative loss: 1 for a picture without features, 0 for the sample's own Gram matrices.
        size: (height, width) of this level's picture.
        image: call it for the present picture [3,H,W] in [0,1], a copy.
        checkpoint: call it for a dict from which `synthesize_texture` resumes and which loads with
            ``torch.load(weights_only=True)``. It stays valid after an exception has ended the run.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    loss: float
    size: tuple[int, int]
    image: Callable[[], Tensor]
    checkpoint: Callable[[], dict[str, Any]]


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
    callback: Callable[[TextureProgress], None] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    resume: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Tensor:
    r"""A new picture of any size with the texture of a sample.

    The picture x minimises, from coarse to fine, the distance of its Gram matrices G_l (over M_l positions) from those
    of the sample, T_l, in the layers l of a network:

    .. math:: L(x) = \frac{1}{n} \sum_l w_l \frac{\sum_{ij} (G_{l,ij} / M_l - T_{l,ij})^2}{\sum_{ij} T_{l,ij}^2}

    On every level sample and picture are reduced by the same power of two; each level starts from the enlarged result
    of the one before. The scale of the texture is the sample's: a larger picture shows more of it, not larger parts.
    A grey sample is matched by a picture with one channel, which cannot pick up colour.

    Args:
        image: sample; a path, Pillow picture, array or tensor, see :func:`cnnfast.images.load_image`.
        size: longest side in px (aspect of the sample), (height, width), or None for the sample's size.
        extractor: "auto", "random", "vgg16", "vgg19", or a module from [1,3,H,W] in [0,1] to a dict of features, see
            :func:`~cnnfast.models.style.network.build_extractor`.
        layers: names, or a mapping from names to weights w_l; None takes all that the extractor returns.
        levels: "auto" for max(1, floor(log2(shortest side / 64)) + 1), one for random filters; or a number.
        iterations: of every level, coarse to fine, or of the finest alone; None takes the preset.
        preset: "fast" or "good".
        optimizer: "lbfgs", or "adam" with a seventh of its memory.
        init: "noise" (mean of the sample plus a little noise) or a picture to start from.
        noise_std: standard deviation of the noise, in units of [0,1].
        bounds: keep every channel inside the range of the "sample", of "unit" [0,1], or None.
        match_histogram: give the result exactly the sample's distribution of values, channel by channel.
        tileable: make copies of the picture fit together on all sides.
        seed: of the noise, which is drawn on the CPU and so is the same on every device.
        pixel_weight: [H,W] >= 0, how much each pixel of the sample counts.
        weights: "relative" as above, or "gatys": sum of w_l E_l with E_l of Gatys et al. 2015.
        tile: evaluate in tiles of that many px, with the same result up to rounding, half as fast again and with the
            memory of one tile; "auto" where the memory would not do, None never.
        callback: called after every iteration. What it raises, say a KeyboardInterrupt, ends the run.
        device: None takes a tensor sample's device, else a GPU that this installation has kernels for, else the CPU.
        dtype: of the convolutions; torch.bfloat16 is fast on hardware that has it. All else stays float32.
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
        >>> from cnnfast.models.style.network import RandomFilterFeatures
        >>> from cnnfast.models.style.texture import synthesize_texture
        >>> stripes = (torch.arange(32) // 4 % 2).float().expand(3, 32, 32)
        >>> network = RandomFilterFeatures(filters_per_scale=4, sizes=(3, 7))
        >>> picture = synthesize_texture(stripes, (32, 48), extractor=network, iterations=5)
        >>> picture.shape
        torch.Size([3, 32, 48])
    """
    settings = TextureSettings(optimizer, noise_std, bounds, tileable, seed, weights, tile)
    sample = load_image(image).to(_choose_device(image, device))
    network, chosen = choose_extractor(extractor, layers, sample.device, dtype)
    plan = plan_texture(
        _size(sample), size, network, levels=levels, iterations=iterations, preset=preset, tileable=tileable
    )
    start = None if isinstance(init, str) and init == "noise" else load_image(init).to(sample.device)
    synthesis = _Synthesis(sample, network, chosen, plan, settings, pixel_weight, start, callback)
    result = synthesis.run(None if resume is None else load_checkpoint(resume))
    return match_histograms(result, _counted(sample, synthesis.pixel_weight)) if match_histogram else result


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
        >>> from cnnfast.models.style.network import RandomFilterFeatures
        >>> from cnnfast.models.style.texture import plan_texture
        >>> plan_texture((128, 128), 256, RandomFilterFeatures(filters_per_scale=4), iterations=50)
        [Level(sample=(128, 128), picture=(256, 256), iterations=50)]
    """
    if levels == "auto" and isinstance(network, RandomFilterFeatures):
        levels = 1
    picture = sample if size is None else size_for(sample, size)
    multiple = getattr(network, "stride", 1) if tileable else 1
    return plan_levels(sample, picture, levels=levels, iterations=iterations, preset=preset, multiple=multiple)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _choose_device(image: object, device: torch.device | str | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    if isinstance(image, Tensor):
        return image.device
    return default_device()


class _Synthesis:
    """One run. `_position` is the level and its optimiser, replaced together so that a checkpoint is always whole."""

    def __init__(
        self,
        sample: Tensor,
        network: nn.Module,
        layers: dict[str, float],
        plan: list[Level],
        settings: TextureSettings,
        pixel_weight: Tensor | None,
        start: Tensor | None,
        callback: Callable[[TextureProgress], None] | None,
    ) -> None:
        self._sample = sample[:1] if is_grey(sample) else sample
        self._network, self._layers, self._plan, self._settings = network, layers, plan, settings
        self.pixel_weight = None if pixel_weight is None else _check_pixel_weight(pixel_weight, sample)
        self._start, self._callback = start, callback
        self._check_sizes()
        # For all levels at once: a picture beyond the memory is refused before its coarse levels have cost time.
        self._tiles = [
            plan_tile(network, level.picture, settings.tile, settings.optimizer, channels=self._sample.shape[0])
            for level in plan
        ]
        self._objective = TextureObjective(
            network, layers, weights=settings.weights, padding="circular" if settings.tileable else None
        )
        self._position: tuple[int, PictureOptimizer] | None = None
        self._history: list[list[float]] = []

    def _check_sizes(self) -> None:
        """Every level must be large enough for the network, before the first one costs time."""
        smallest = getattr(self._network, "minimum_size", 1)
        for level in self._plan:
            for name, (height, width) in (("sample", level.sample), ("picture", level.picture)):
                if min(height, width) < smallest:
                    raise ValueError(
                        f"synthesize_texture: expected a {name} of at least {smallest} px on every level, "
                        f"got {height}x{width} px"
                    )

    def run(self, checkpoint: dict[str, Any] | None) -> Tensor:
        """All levels, or those that a checkpoint leaves; the result [3,H,W] in [0,1]."""
        index, picture = 0, None
        if checkpoint is not None:
            check_settings(checkpoint["settings"], self._fingerprints)
            index, picture = checkpoint["level"], checkpoint["optimizer"]["x"].to(self._sample.device)
            self._history = [list(entry) for entry in checkpoint["history"]]
        try:
            while index < len(self._plan):
                optimizer = self._begin(index, picture)
                if checkpoint is not None:
                    optimizer.load_state_dict(checkpoint["optimizer"])
                    checkpoint = None
                self._position = (index, optimizer)
                self._optimize(index, optimizer)
                index, picture = index + 1, optimizer.result
        finally:
            self._objective.restore()
        return _as_rgb(optimizer.result)

    def _begin(self, index: int, picture: Tensor | None) -> PictureOptimizer:
        """Targets, tiles and the optimiser of a level that starts from a picture, or from the beginning."""
        level = self._plan[index]
        sample = resize(self._sample, level.sample)
        start = self._first_picture(level) if picture is None else resize(picture.clamp(0, 1), level.picture)
        weight = self.pixel_weight
        if weight is not None:
            weight = resize(weight[None], level.sample, mode="area")[0]
        self._objective.capture(sample.expand(3, -1, -1), weight)
        tile = self._tiles[index]
        if tile is None and self._settings.tileable and any(side % self._stride for side in level.picture):
            # The network would drop the last incomplete stride; read as one tile the picture continues periodically.
            tile = max(level.picture)
        self._objective.use_tiles(tile, halo=getattr(self._network, "halo", 0), stride=self._stride)
        colours = _counted(sample, weight)
        return build_optimizer(self._settings, start, self._objective, colours, self._objective.describe_failure)

    @property
    def _stride(self) -> int:
        return getattr(self._network, "stride", 1)

    def _first_picture(self, level: Level) -> Tensor:
        if self._start is not None:
            start = resize(self._start, level.picture)
            return start.mean(0, keepdim=True) if self._sample.shape[0] == 1 else start
        generator = torch.Generator().manual_seed(self._settings.seed)
        noise = torch.randn(self._sample.shape[0], *level.picture, generator=generator).to(self._sample.device)
        colours = _counted(self._sample, self.pixel_weight)
        return colours.mean((1, 2), keepdim=True) + self._settings.noise_std * noise

    def _optimize(self, index: int, optimizer: PictureOptimizer) -> None:
        level = self._plan[index]
        while optimizer.iterations < level.iterations and not optimizer.stalled:
            loss = self._objective.relative(optimizer.step())
            self._history.append([index + 1, optimizer.iterations, loss])
            if self._callback is not None:
                self._callback(
                    TextureProgress(
                        index + 1,
                        len(self._plan),
                        optimizer.iterations,
                        level.iterations,
                        loss,
                        level.picture,
                        self._present,
                        self._checkpoint,
                    )
                )

    def _present(self) -> Tensor:
        assert self._position is not None
        return _as_rgb(self._position[1].result)

    def _checkpoint(self) -> dict[str, Any]:
        assert self._position is not None
        level, optimizer = self._position
        return {
            "format": FORMAT,
            "settings": self._fingerprints,
            "level": level,
            "optimizer": optimizer.state_dict(),
            "history": [list(entry) for entry in self._history],
        }

    @cached_property
    def _fingerprints(self) -> dict[str, Any]:
        """All that decides about the result, as plain values."""
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


def _counted(sample: Tensor, weight: Tensor | None) -> Tensor:
    """The pixels that count: the sample [C,h,w], or those with a weight above 0 as [C,1,pixels]."""
    return sample if weight is None else sample[:, weight > 0][:, None]


def _as_rgb(picture: Tensor) -> Tensor:
    return picture.clamp(0, 1).expand(3, -1, -1).clone()
