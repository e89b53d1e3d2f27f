"""Training of a feed-forward style network on any folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast._options import option
from cnnfast.features.choice import build_extractor, network_kind
from cnnfast.features.vgg import VGGFeatures
from cnnfast.images import load_image
from cnnfast.models.style.feed_forward.data import CROPS, TrainingPictures, as_sources, collate
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import check_model_path, save_style_network
from cnnfast.models.style.feed_forward.losses import FAST_CONTENT_LAYERS, FAST_STYLE_LAYERS, PerceptualLoss, TermWeights
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.models.style.feed_forward.training_step import StyleTraining, TrainingProgress
from cnnfast.models.style.picture.checkpoint import fingerprint
from cnnfast.training.loop import choose_device, precision_for
from cnnfast.training.options import TrainingOptions
from cnnfast.training.run import run
from cnnfast.training.task import Task

if TYPE_CHECKING:
    from cnnfast.images.reading import Source

__all__ = ["FastStyleOptions", "TrainingProgress", "train_fast_style"]

_NAME = "train_fast_style"
# Weights of the PyTorch examples, made for torchvision's VGG-16.
_EXAMPLES_CONTENT, _EXAMPLES_STYLE = 1e5, 1e10
_USUAL_STRENGTH = 5.0


@dataclass(kw_only=True)
class FastStyleOptions(TrainingOptions):
    """Options of `train_fast_style`, with those of :class:`~cnnfast.training.options.TrainingOptions`.

    Attributes:
        image_size: side of the crops in px.
        crop: "random" (scaled, shifted, mirrored) or "center".
        style_size: longest side of the style in px; None leaves it.
        style_strength: ratio of style to content that weights are found for; with the examples' weights 5 stands for
            theirs.
        content_weight: w_c.
        style_weight: w_s.
        tv_weight: w_tv, of the mean absolute difference of neighbours.
        lr: of Adam.
    """

    epochs: int = option("passes over the pictures", default=2, minimum=1)
    batch_size: int = option("crops a step, on each device", "--batch", default=4, minimum=1)
    image_size: int = option("side of the crops in px", default=256, minimum=1)
    crop: str = option("random (scaled, shifted, mirrored) or center", default="random", choices=CROPS)
    style_size: int | None = option("longest side of the style in px; default: its own", default=None, minimum=1)
    style_strength: float = option("how much the style counts against the content", default=_USUAL_STRENGTH)
    content_weight: float | None = option("weight of the content; default: found", default=None)
    style_weight: float | None = option("weight of the style; default: found", default=None)
    tv_weight: float = option("weight of the total variation, for smoother pictures", default=0.0)
    lr: float = option("learning rate of Adam", default=1e-3)
    seed: int = option("of the network's first weights and of the crops", default=42)

    def check(self, function: str) -> None:
        """As the base, and the learning rate."""
        super().check(function)
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"{function}: expected a positive lr, got {self.lr}")


def train_fast_style(
    style: Source,
    images: str | os.PathLike[str] | Iterable[Source],
    *,
    network: TransformerNet | JohnsonNet | None = None,
    extractor: str | nn.Module = "auto",
    weights: Any = "auto",
    preprocessing: str = "auto",
    style_layers: Sequence[str] | None = None,
    content_layers: Sequence[str] | None = None,
    callback: Callable[[TrainingProgress], bool | None] | None = None,
    **options: Any,
) -> TransformerNet | JohnsonNet:
    r"""Train a network that gives pictures the style of another one in a single pass.

    Adam minimises :math:`w_c L_c + w_s L_s + w_{tv} L_{tv}` over crops, with the terms of
    :class:`~cnnfast.models.style.feed_forward.losses.PerceptualLoss`. Without given weights w_c is 1 and w_s is found
    so that the style counts `style_strength` times as much as the content (see
    :class:`~cnnfast.models.style.feed_forward.losses.TermWeights`); with torchvision's VGG-16 the weights of the
    PyTorch examples are used, 1e5 and 1e10.

    A step whose loss or gradient is NaN or infinite is left out. Pictures that cannot be read are skipped and named in
    the log. Crops and their order depend on the seed alone, so a resumed run goes on as the unbroken one would, and N
    processes with batches of B train as one with batches of N B.

    Args:
        style: a path, Pillow picture, array or tensor, see :func:`cnnfast.images.load_image`.
        images: a folder, which is searched with all its folders, or any iterable of pictures.
        network: to train; None is a new `TransformerNet`. It is changed in place.
        extractor: "auto", "random", "vgg16", "vgg19" or a module, see
            :func:`~cnnfast.features.choice.build_extractor`.
        weights: of the extractor, likewise.
        preprocessing: of a given weights file, likewise.
        style_layers: None is relu1_2, relu2_2, relu3_3, relu4_3 of a VGG, else all that the extractor has.
        content_layers: None is relu2_2 of a VGG, else all that the extractor has.
        callback: called after every step; returning True ends the training, after a checkpoint.
        **options: those of `FastStyleOptions`, such as `max_steps`, `batch_size`, `image_size` and `out`.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: a bad option, no pictures, or another run's checkpoint.
        TypeError: network is none of ours, or an option of another name.
        RuntimeError: the loss was NaN or infinite 20 times in a row; the last checkpoint is kept.
        ImportError: Lightning's Fabric, or TensorBoard for its log, is not installed.

    Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016.

    Example:
        >>> import torch
        >>> from cnnfast.features.choice import RandomFilterFeatures
        >>> from cnnfast.models.style.feed_forward.training import train_fast_style
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet
        >>> style, pictures = torch.rand(3, 32, 32), [torch.rand(3, 40, 40)]
        >>> features = RandomFilterFeatures(filters_per_scale=2, sizes=(3, 5))
        >>> network = train_fast_style(
        ...     style, pictures, network=TransformerNet((4, 6, 8)), extractor=features, image_size=32, batch_size=1,
        ...     max_steps=2, workers=0, device="cpu",
        ... )
        >>> network.training
        False
    """
    chosen = FastStyleOptions(**options)
    _check(chosen, network)
    precision = precision_for(chosen.amp, choose_device(chosen.device))
    features = _features(extractor, weights, preprocessing, style_layers, content_layers, precision)
    layers = _layers(features, style_layers, content_layers)
    target = load_image(style, size=chosen.style_size)
    weighting = _weighting(features, chosen)
    sources = as_sources(images)
    if network is None:
        with torch.random.fork_rng([]):
            torch.manual_seed(chosen.seed)
            network = TransformerNet()
    _check_sizes(chosen.image_size, target, network, features)
    trained = network.train().requires_grad_(True)

    def build(steps: int) -> StyleTraining:
        losses = PerceptualLoss(features, target, *layers)
        return StyleTraining(trained, losses, weighting, lr=chosen.lr, steps=steps)

    def save(network: nn.Module, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        name = Path(style).stem if isinstance(style, str | os.PathLike) else ""
        save_style_network(cast("TransformerNet | JohnsonNet", network), path, style=name, settings=settings)

    task = Task(
        function=_NAME,
        examples=TrainingPictures(sources, chosen.image_size, crop=chosen.crop, seed=chosen.seed),
        collate=collate,
        build=build,
        settings={
            "style": fingerprint([target]),
            "features": getattr(features, "description", type(features).__name__).partition("; ")[0],
            "layers": [list(names) for names in layers],
            "weights": [chosen.content_weight, chosen.style_weight, chosen.tv_weight, chosen.style_strength],
            "network": {"kind": network.kind, **network.options()},
            "pictures": len(sources),
            "batch": chosen.batch_size * chosen.processes,
            "image_size": chosen.image_size,
            "crop": chosen.crop,
            "lr": chosen.lr,
            "seed": chosen.seed,
        },
        save=save,
    )
    run(task, chosen, callback)
    return network


def _check(options: FastStyleOptions, network: TransformerNet | JohnsonNet | None) -> None:
    options.check(_NAME)
    if not (network is None or isinstance(network, TransformerNet | JohnsonNet)):
        got = type(network).__name__
        raise TypeError(f"train_fast_style: expected network a TransformerNet or JohnsonNet, got {got}")
    if options.out is not None:
        check_model_path(options.out, "transformer" if network is None else network.kind)


def _check_sizes(side: int, style: Tensor, network: TransformerNet | JohnsonNet, features: nn.Module) -> None:
    """Refuse crops and a style that are smaller than the networks take."""
    least = getattr(features, "minimum_size", 1)
    smallest = max(least, network.minimum_size)
    if side < smallest:
        raise InputError(f"train_fast_style: expected image_size of at least {smallest} for its networks, got {side}")
    height, width = style.shape[1:]
    if min(height, width) < least:
        raise InputError(f"train_fast_style: expected a style of at least {least} px, got {width}x{height} px")


def _features(
    extractor: str | nn.Module,
    weights: Any,
    preprocessing: str,
    style_layers: Sequence[str] | None,
    content_layers: Sequence[str] | None,
    precision: torch.dtype,
) -> nn.Module:
    """The feature network, with VGG taps where it is one."""
    if isinstance(extractor, nn.Module):
        return extractor
    style, content = style_layers or FAST_STYLE_LAYERS, content_layers or FAST_CONTENT_LAYERS
    options: dict[str, Any] = {"weights": weights, "preprocessing": preprocessing}
    kind = network_kind(extractor, weights)
    if kind == "random":
        return build_extractor("random")
    taps = tuple(dict.fromkeys((*style, *content)))
    network = build_extractor(kind, taps=taps, pool="max", compute_dtype=precision, **options)
    return network.to(memory_format=torch.channels_last)


def _layers(
    features: nn.Module, style: Sequence[str] | None, content: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]]:
    taps: Sequence[str] = getattr(features, "taps", ())
    usual = set(FAST_STYLE_LAYERS) <= set(taps)
    return style or (FAST_STYLE_LAYERS if usual else taps), content or (FAST_CONTENT_LAYERS if usual else taps)


def _weighting(features: nn.Module, options: FastStyleOptions) -> TermWeights:
    content, style, strength = options.content_weight, options.style_weight, options.style_strength
    published = (
        isinstance(features, VGGFeatures)
        and features.arch == "vgg16"
        and features.preprocessing.convention.name == "torchvision"
    )
    if published and content is None and style is None:
        content, style = _EXAMPLES_CONTENT, _EXAMPLES_STYLE * strength / _USUAL_STRENGTH
    return TermWeights(1.0 if content is None else content, style, options.tv_weight, strength=strength)
