"""Settings of style transfer under a name: our own, and those of well-known programs."""

from __future__ import annotations

from dataclasses import dataclass

from cnnfast.features.choice import CONTENT_LAYERS, STYLE_LAYERS


@dataclass(frozen=True)
class StylePreset:
    """Default settings of a program.

    Attributes:
        content_weight: factor of the content terms together.
        style_weight: factor of the style terms together.
        tv_weight: factor of the total variation of a picture in [0,1].
        style_layers: layer -> its share of the style.
        content_layers: layer -> its share of the content.
        style_loss: "gram" (:class:`~cnnfast.layers.StyleLoss`) or "wasserstein"
            (:class:`~cnnfast.layers.WassersteinStyleLoss`).
        normalize: of Gram matrices.
        style_scale: of the loss of Gram matrices.
        per_channel: divide a layer's weight by its squared number of channels.
        content_scale: of the content loss.
        tv_kind: of :class:`~cnnfast.layers.TVLoss`.
        unit: range of an input channel in the network that the weights were made for; they are converted for other
            networks.
        pool: pooling of a VGG.
        padding: of a VGG's convolutions.
        first_padding: of its first convolution.
        optimizer: "lbfgs" or "adam".
        init: "content" or "noise".
        noise_std: of the noise around the mean colour of the styles.
        bounds: "unit" to keep the picture in [0,1] while it is optimised, or None.
        ratio: between the sizes of neighbouring levels.
        smallest: least px of the longest side on the coarsest level; None for a single level.
        levels: largest number of levels.
        iterations: of the coarsest level, of those in between, and of the finest.
    """

    content_weight: float
    style_weight: float
    tv_weight: float
    style_layers: tuple[tuple[str, float], ...] = tuple((name, 1.0) for name in STYLE_LAYERS)
    content_layers: tuple[tuple[str, float], ...] = tuple((name, 1.0) for name in CONTENT_LAYERS)
    style_loss: str = "gram"
    normalize: str = "hw"
    style_scale: str = "mean"
    per_channel: bool = False
    content_scale: str = "mean"
    tv_kind: str = "l1mean"
    unit: float = 255.0
    pool: str = "max"
    padding: str = "zeros"
    first_padding: str | None = None
    optimizer: str = "lbfgs"
    init: str = "content"
    noise_std: float = 0.02
    bounds: str | None = None
    ratio: float = 2.0
    smallest: int | None = None
    levels: int = 99
    iterations: tuple[int, int, int] = (500, 500, 500)


# ImageNet's standard deviations: a channel spans 1 / 0.226 there.
_TORCHVISION_UNIT = 1 / 0.226

STYLE_PRESETS = {
    # The form of the authors' own later code; reflected borders keep the frame of the picture even.
    "cnnfast": StylePreset(
        content_weight=5.0,
        style_weight=1e3,
        tv_weight=0.0,
        per_channel=True,
        padding="reflect",
        bounds="unit",
        smallest=128,
        levels=3,
        iterations=(300, 200, 150),
    ),
    # Gatys, Ecker, Bethge, CVPR 2016: E_l and squared sums of the paper, average pooling, white noise, one level.
    "gatys2016": StylePreset(
        content_weight=1e-3,
        style_weight=1.0,
        tv_weight=0.0,
        style_layers=tuple((name, 0.2) for name in STYLE_LAYERS),
        style_scale="gatys",
        content_scale="gatys",
        pool="avg",
        init="noise",
        noise_std=0.25,
    ),
    # jcjohnson/neural-style and its port to PyTorch: the total variation is that of a picture in 0..255.
    "neural-style": StylePreset(
        content_weight=5.0,
        style_weight=100.0,
        tv_weight=1e-3 * 255,
        normalize="chw",
        tv_kind="l1",
        init="noise",
        noise_std=1e-3 / 255,
        iterations=(1000, 1000, 1000),
    ),
    # crowsonkb/style-transfer-pytorch: Wasserstein distances, Adam, sizes a factor of the root of 2 apart.
    "crowson": StylePreset(
        content_weight=0.015,
        style_weight=1.0,
        tv_weight=2.0,
        style_layers=tuple((n, w / 341) for n, w in zip(STYLE_LAYERS, (256, 64, 16, 4, 1), strict=True)),
        style_loss="wasserstein",
        tv_kind="nine",
        unit=_TORCHVISION_UNIT,
        first_padding="replicate",
        optimizer="adam",
        bounds="unit",
        ratio=2**0.5,
        smallest=128,
        iterations=(1000, 500, 500),
    ),
}
