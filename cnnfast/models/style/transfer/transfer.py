"""Style transfer: the content of one picture with the feature statistics of others, from coarse to fine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.features.choice import network_kind
from cnnfast.images import load_image, size_for
from cnnfast.models.style.picture.levels import Callback, choose_device
from cnnfast.models.style.picture.settings import check_one_of, check_positive, choose_extractor, choose_layers
from cnnfast.models.style.picture.tiling import size_of
from cnnfast.models.style.transfer.objective import StyleWeights
from cnnfast.models.style.transfer.presets import STYLE_PRESETS, StylePreset
from cnnfast.models.style.transfer.regions import StyleRegions, check_regions
from cnnfast.models.style.transfer.schedule import StyleLevel, plan_style_levels
from cnnfast.models.style.transfer.stylization import POOLINGS, STARTS, StyleSettings, Stylization, prepare_pictures

if TYPE_CHECKING:
    from cnnfast.images.reading import Source

    Layers = Sequence[str] | Mapping[str, float]


def stylize(
    content: Source,
    style: Source | Sequence[Source],
    *,
    preset: str = "cnnfast",
    style_blend: Sequence[float] | None = None,
    size: int | Sequence[int] | None = 512,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    style_scale: float = 1.0,
    style_size: int | None = None,
    preserve_color: str | None = None,
    color_match: str = "pca",
    regions: StyleRegions | None = None,
    init: str | Source | None = None,
    extractor: str | nn.Module = "auto",
    content_layers: Layers | None = None,
    style_layers: Layers | None = None,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    initial_iterations: int | None = None,
    pooling: str | None = None,
    optimizer: str | None = None,
    seed: int = 0,
    tile: int | str | None = "auto",
    callback: Callback | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    resume: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Tensor:
    r"""The content of one picture in the style of others.

    The picture x minimises, from coarse to fine,

    .. math:: L(x) = \alpha \sum_l c_l \, \mathrm{mean} (F_l(x) - F_l(p))^2
        + \beta \sum_l \frac{w_l}{C_l^2} \, \mathrm{mean} (G_l(x) - G_l(a))^2 + \gamma \, TV(x)

    with features F_l of C_l channels, their Gram matrices G_l over the positions, the content p and the style a.
    On every level all pictures are reduced by the same factor. Presets have other forms of the three terms.

    Args:
        content: a path, Pillow picture, array or tensor, see :func:`cnnfast.images.load_image`.
        style: one such picture, or a list or tuple of them.
        preset: "cnnfast", or the settings of a known program: "gatys2016", "neural-style", "crowson"; see
            :data:`~cnnfast.models.style.transfer.presets.STYLE_PRESETS`. Arguments that are None take the preset's
            value.
        style_blend: weight >= 0 of every style; None: equal weights.
        size: longest side in px (aspect of the content), (height, width), or None for the content's size.
        content_weight: alpha.
        style_weight: beta.
        tv_weight: gamma.
        style_scale: factor of the styles' sizes, and so of the strokes. At 1 a style's longest side is that of the
            result, or its own where that is shorter.
        style_size: longest side of the styles in px on every level, in place of a size that follows the result's; they
            are not enlarged.
        preserve_color: None; "luminance", stylise the luminance alone and keep the content's colours; "match",
            recolour the styles with the content's colour statistics first; "match_style", recolour the content with
            the styles' instead; or "original", put the content's chroma on the result.
        color_match: "pca", "chol" or "sym", see :func:`~cnnfast.models.style.picture.colour.match_colour`.
        regions: which part of the content takes its style from where.
        init: "content"; "noise", a little of it around the styles' mean colour; "grey"; "style_stats", noise with mean
            and deviation of the styles' colours; or a picture to start from.
        extractor: "auto", "random", "vgg16", "vgg19", or a module from [1,3,H,W] in [0,1] to a dict of features, see
            :func:`style_network`.
        content_layers: names, or a mapping from names to c_l.
        style_layers: names, or a mapping from names to w_l.
        levels: "auto" or a number.
        iterations: of every level, coarse to fine, or of the finest alone.
        initial_iterations: of the coarsest level, whatever the others have.
        pooling: "max", "avg" or "l2" of a VGG; None takes the preset's.
        optimizer: "lbfgs", or "adam" with a seventh of its memory.
        seed: of the noise, which is drawn on the CPU and so is the same on every device.
        tile: evaluate in tiles of that many px, with the same result up to rounding and the memory of one tile; "auto":
            only if the memory is too small for the whole picture; None: never.
        callback: called after every iteration with a :class:`~cnnfast.models.style.picture.levels.RunProgress`. What it
            raises, say a KeyboardInterrupt, ends the run.
        device: None takes a tensor content's device, else a GPU that this installation has kernels for, else the CPU.
        dtype: of the convolutions; None, as on the command line, is bfloat16 where that is fast on the hardware, else
            float32. All else stays float32.
        resume: a checkpoint of a run with the same settings, or its path. On the CPU the result is that of the
            unbroken run, bit for bit.

    Returns:
        [3,H,W], float32 in [0,1], on the device.

    Raises:
        ValueError: a size below what the network needs or memory allows, an unknown option, masks that do not fit, or
            another run's checkpoint.
        TypeError: an argument of a wrong kind.
        RuntimeError: the loss was NaN or infinite five times in a row; the message names the term.

    Source: L. A. Gatys, A. S. Ecker, M. Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016;
    colours and regions: L. A. Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017.

    Example:
        >>> import torch
        >>> from cnnfast.features.choice import RandomFilterFeatures
        >>> from cnnfast.models.style.transfer.transfer import stylize
        >>> network = RandomFilterFeatures(filters_per_scale=4, sizes=(3, 7))
        >>> stripes = (torch.arange(32) // 4 % 2).float().expand(3, 32, 32)
        >>> picture = stylize(torch.rand(3, 30, 40), stripes, size=None, extractor=network, iterations=5)
        >>> picture.shape
        torch.Size([3, 30, 40])
    """
    chosen = _choose_preset(preset)
    device = choose_device(content, device)
    pictures = prepare_pictures(
        load_image(content).to(device), _load_styles(style, device), preserve_color, color_match
    )
    blends = _check_blends(style_blend, len(pictures.styles))
    settings = StyleSettings(
        preset, optimizer or chosen.optimizer, chosen.bounds, chosen.noise_std, preserve_color, color_match, seed, tile
    )
    network = style_network(
        extractor,
        preset=preset,
        content_layers=content_layers,
        style_layers=style_layers,
        pooling=pooling,
        device=device,
        dtype=dtype,
    )
    factors = _choose_weights(chosen, network, content_weight, style_weight, tv_weight, content_layers, style_layers)
    sizes = [size_of(picture) for picture in pictures.styles]
    plan = plan_stylize(
        size_of(pictures.content), sizes, size, network, preset=preset, style_scale=style_scale, levels=levels,
        style_size=style_size, iterations=iterations, initial_iterations=initial_iterations,
    )  # fmt: skip
    masks = None if regions is None else check_regions(regions, size_of(pictures.content), sizes, device)
    init = chosen.init if init is None else init
    start = init if isinstance(init, str) and init in STARTS else load_image(init).to(device)
    run = Stylization(pictures, network, chosen, factors, blends, plan, settings, masks, start, callback)
    return run.run(resume)


def style_network(
    extractor: str | nn.Module = "auto",
    *,
    preset: str = "cnnfast",
    content_layers: Layers | None = None,
    style_layers: Layers | None = None,
    pooling: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> nn.Module:
    """The feature network of `stylize`.

    Args:
        extractor: "auto" (a VGG if weights are given or found, else random filters), "vgg", "vgg16", "vgg19",
            "random", or a module with an attribute `taps`, which is returned as it is.
        preset: whose layers, pooling and padding to take.
        content_layers: names or a mapping; None takes the preset's.
        style_layers: names or a mapping; None takes the preset's.
        pooling: "max", "avg" or "l2" of a VGG; None takes the preset's.
        device: of the network.
        dtype: of a VGG's convolutions; None is bfloat16 where that is fast, else float32.
        options: `weights` and `preprocessing` of :func:`~cnnfast.features.choice.build_extractor`.

    Raises:
        ValueError: an unknown word or layer, no weights for a VGG, or a dtype for a module.

    Example:
        >>> from cnnfast.models.style.transfer.transfer import style_network
        >>> style_network("random").taps
        ('random',)
    """
    chosen = _choose_preset(preset)
    if isinstance(extractor, str):
        extractor = network_kind(extractor, options.get("weights", "auto"))
    target = torch.device("cpu" if device is None else device)
    check_one_of("stylize", "pooling", pooling, (None, *POOLINGS))
    if pooling is not None and (isinstance(extractor, nn.Module) or extractor == "random"):
        raise InputError(f"stylize: expected pooling None for a network that is no VGG of ours, got {pooling!r}")
    if extractor == "random" and content_layers is None and style_layers is None:
        return choose_extractor("stylize", extractor, None, target, dtype, **options)
    named = [chosen.style_layers if style_layers is None else style_layers]
    named.append(chosen.content_layers if content_layers is None else content_layers)
    taps = dict.fromkeys(name if isinstance(name, str) else name[0] for layers in named for name in layers)
    network = choose_extractor(
        "stylize", extractor, tuple(taps), target, dtype, pool=pooling or chosen.pool, padding=chosen.padding, **options
    )
    if network is not extractor and chosen.first_padding is not None:
        network.set_padding(chosen.padding, first=chosen.first_padding)  # type: ignore[operator]
    return network


def plan_stylize(
    content: tuple[int, int],
    styles: Sequence[tuple[int, int]],
    size: int | Sequence[int] | None,
    network: nn.Module,
    *,
    preset: str = "cnnfast",
    style_scale: float = 1.0,
    style_size: int | None = None,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    initial_iterations: int | None = None,
) -> list[StyleLevel]:
    """The levels that `stylize` goes through for pictures of (height, width) px; arguments as there.

    Example:
        >>> from cnnfast.features.choice import RandomFilterFeatures
        >>> from cnnfast.models.style.transfer.transfer import plan_stylize
        >>> plan_stylize((300, 400), [(500, 800)], 200, RandomFilterFeatures(filters_per_scale=4), iterations=50)
        [StyleLevel(picture=(150, 200), styles=((125, 200),), iterations=50)]
    """
    check_positive("stylize", "style_scale", style_scale)
    if style_size is not None and style_scale != 1:
        raise InputError(f"stylize: expected style_size or style_scale, got {style_size} and {style_scale:g}")
    picture = content if size is None else size_for(content, size)
    reduced = []
    for style in styles:
        if style_size is not None:
            reduced.append(size_for(style, min(style_size, max(style))))
            continue
        longest = min(max(style), max(picture))
        reduced.append(size_for(style, max(1, round(style_scale * longest))))
    return plan_style_levels(
        picture,
        reduced,
        _choose_preset(preset),
        levels=levels,
        iterations=iterations,
        initial_iterations=initial_iterations,
        fixed_styles=style_size is not None,
        minimum=getattr(network, "minimum_size", 1),
    )


def _choose_preset(preset: str) -> StylePreset:
    check_one_of("stylize", "preset", preset, tuple(STYLE_PRESETS))
    return STYLE_PRESETS[preset]


def _load_styles(style: Source | Sequence[Source], device: torch.device) -> list[Tensor]:
    sources: list[Any] = list(style) if isinstance(style, (list, tuple)) else [style]
    if not sources:
        raise ValueError("stylize: expected at least one style, got none")
    return [load_image(source).to(device) for source in sources]


def _check_blends(blends: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Shares of the styles, which add up to 1."""
    numbers = [1.0] * count if blends is None else list(blends)
    if len(numbers) != count:
        raise ValueError(f"stylize: expected a style_blend of {count} numbers, got {len(numbers)}")
    for number in numbers:
        check_positive("stylize", "style_blend", number, zero=True)
    total = sum(numbers)
    if not total > 0:
        raise ValueError(f"stylize: expected a style_blend with a number above 0, got {numbers}")
    return tuple(number / total for number in numbers)


def _choose_weights(
    preset: StylePreset,
    network: nn.Module,
    content: float | None,
    style: float | None,
    tv: float | None,
    content_layers: Layers | None,
    style_layers: Layers | None,
) -> StyleWeights:
    weights = {
        "content_weight": preset.content_weight if content is None else content,
        "style_weight": preset.style_weight if style is None else style,
        "tv_weight": preset.tv_weight if tv is None else tv,
    }
    for name, weight in weights.items():
        check_positive("stylize", name, weight, zero=True)
    if not weights["content_weight"] and not weights["style_weight"]:
        raise InputError("stylize: expected content_weight or style_weight above 0, got 0 and 0")
    return StyleWeights(
        weights["content_weight"],
        weights["style_weight"],
        weights["tv_weight"],
        _known_layers("content_layers", content_layers, preset.content_layers, network),
        _known_layers("style_layers", style_layers, preset.style_layers, network),
    )


def _known_layers(
    name: str, layers: Layers | None, usual: Sequence[tuple[str, float]], network: nn.Module
) -> dict[str, float]:
    """The given layers, else those of the preset that the network has, else all layers of the network."""
    if layers is None:
        taps: Sequence[str] = network.taps  # type: ignore[assignment]
        layers = {layer: share for layer, share in usual if layer in taps} or None
    return choose_layers("stylize", name, layers, network)
