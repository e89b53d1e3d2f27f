"""Feature networks for textures and styles, and the choice of one."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from cnnfast.features.random_filters import RandomFilterFeatures
from cnnfast.features.vgg import VGGFeatures
from cnnfast.weights import VGGWeights, WeightsFile, auto_weights

__all__ = [
    "CONTENT_LAYERS",
    "STYLE_LAYERS",
    "TEXTURE_LAYERS",
    "RandomFilterFeatures",
    "VGGFeatures",
    "build_extractor",
    "network_kind",
]

TEXTURE_LAYERS = ("relu1_1", "pool1", "pool2", "pool3", "pool4")
"""Layers of a texture's statistics (Gatys, Ecker, Bethge, NIPS 2015, figure 3)."""

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Layers of a style's statistics (Gatys, Ecker, Bethge, CVPR 2016)."""

CONTENT_LAYERS = ("relu4_2",)
"""Layers of a picture's content (Gatys, Ecker, Bethge, CVPR 2016)."""


def network_kind(extractor: str, weights: str | os.PathLike[str] | WeightsFile | VGGWeights = "auto") -> str:
    """The name that "auto" stands for on this machine: "vgg" if weights are given or found, else "random".

    Every other name stands for itself.

    Example:
        >>> network_kind("auto", "vgg19.pth"), network_kind("vgg16")
        ('vgg', 'vgg16')
    """
    if extractor != "auto":
        return extractor
    given = not (isinstance(weights, str) and weights == "auto")
    return "vgg" if given or auto_weights() is not None else "random"


def build_extractor(
    extractor: str | nn.Module = "auto",
    *,
    taps: Sequence[str] | None = None,
    pool: str = "avg",
    padding: str | None = None,
    weights: str | os.PathLike[str] | WeightsFile | VGGWeights = "auto",
    preprocessing: str = "auto",
    seed: int = 0,
    filters_per_scale: int = 32,
    compute_dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The feature network of a name.

    Args:
        extractor: "auto" (a VGG if weights are given or found, else random filters), "vgg", "vgg16", "vgg19",
            "random", or a module, which is returned as it is.
        taps: layers to return; None is `TEXTURE_LAYERS` for a VGG. Random filters have no choice of layers.
        pool: "avg", "max" or "l2" pooling of a VGG.
        padding: "zeros", "reflect", "replicate" or "circular"; None is "reflect" for a VGG, which keeps the statistics
            of a picture independent of its size, and "circular" for random filters.
        weights: "auto", a file, a `WeightsFile` or `VGGWeights`.
        preprocessing: input convention of a given weights file, see `cnnfast.weights.load_vgg`.
        seed: of the random filters.
        filters_per_scale: random filters of each of the eight sizes.
        compute_dtype: dtype of a VGG's convolutions, e.g. torch.bfloat16.
        device: of the network.

    Returns:
        A module from RGB pictures [B,3,H,W] in [0,1] to a dict of features, with attributes ``taps``, ``minimum_size``,
        ``stride``, ``halo``, ``padding``, ``description`` and the method ``set_padding``.

    Raises:
        ValueError: an unknown word, no weights for a VGG, or an option that the network does not have.
        TypeError: extractor is neither a word nor a module.

    Example:
        >>> network = build_extractor("random", filters_per_scale=2)
        >>> network.taps, network.description
        (('random',), '16 random filters of 3 to 55 px (no weights), seed 0')
    """
    if isinstance(extractor, nn.Module):
        return extractor
    if not isinstance(extractor, str):
        raise TypeError(f"build_extractor: expected extractor a word or a module, got {type(extractor).__name__}")
    if extractor not in ("auto", "vgg", "vgg16", "vgg19", "random"):
        raise ValueError(f'build_extractor: expected "auto", "vgg", "vgg16", "vgg19" or "random", got {extractor!r}')
    extractor = network_kind(extractor, weights)
    if extractor == "random":
        if taps is not None and tuple(taps) != ("random",):
            raise ValueError(f"build_extractor: expected no taps for random filters, got {list(taps)}")
        if compute_dtype not in (None, torch.float32):
            raise ValueError(f"build_extractor: expected compute_dtype float32 for random filters, got {compute_dtype}")
        return RandomFilterFeatures(filters_per_scale, seed=seed, padding=padding or "circular", device=device)
    return VGGFeatures(
        extractor if extractor in ("vgg16", "vgg19") else None,
        TEXTURE_LAYERS if taps is None else taps,
        pool,
        padding or "reflect",
        weights=weights,
        preprocessing=preprocessing,
        compute_dtype=compute_dtype,
        device=device,
    )
