"""Training of a feed-forward style network on any folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from cnnfast.features.choice import build_extractor, network_kind
from cnnfast.features.vgg import VGGFeatures
from cnnfast.images import load_image
from cnnfast.models.style.feed_forward.data import TrainingPictures, as_sources, collate
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import check_model_path, save_style_network
from cnnfast.models.style.feed_forward.losses import FAST_CONTENT_LAYERS, FAST_STYLE_LAYERS, PerceptualLoss, TermWeights
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.models.style.feed_forward.training_step import StyleTraining, TrainingProgress
from cnnfast.models.style.picture.checkpoint import fingerprint
from cnnfast.models.style.picture.levels import choose_device
from cnnfast.training.batches import TrainingBatches, training_loader
from cnnfast.training.files import TrainingFiles, open_log, read_checkpoint
from cnnfast.training.loop import fit
from cnnfast.training.run import check_numbers, precision_for

if TYPE_CHECKING:
    from cnnfast.images.reading import Source

__all__ = ["TrainingProgress", "train_fast_style"]

_NAME = "train_fast_style"
# Weights of the PyTorch examples, made for torchvision's VGG-16.
_EXAMPLES_CONTENT, _EXAMPLES_STYLE = 1e5, 1e10
_USUAL_STRENGTH = 5.0


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
    epochs: int = 2,
    max_steps: int | None = None,
    batch_size: int = 4,
    image_size: int = 256,
    crop: str = "random",
    style_size: int | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float = 0.0,
    style_strength: float = _USUAL_STRENGTH,
    lr: float = 1e-3,
    seed: int = 42,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 2000,
    resume: str | os.PathLike[str] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    log_format: str = "csv",
    log_every: int = 10,
    amp: str = "auto",
    workers: int = 2,
    device: torch.device | str | None = None,
    devices: int = 1,
    nodes: int = 1,
    callback: Callable[[TrainingProgress], bool | None] | None = None,
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
        epochs: passes over the pictures, if `max_steps` is None.
        max_steps: number of steps.
        batch_size: crops a step, of each process.
        image_size: side of the crops in px.
        crop: "random" (scaled, shifted, mirrored) or "center".
        style_size: longest side of the style in px; None leaves it.
        content_weight: w_c.
        style_weight: w_s.
        tv_weight: w_tv, of the mean absolute difference of neighbours.
        style_strength: see above; with the examples' weights 5 stands for theirs.
        lr: of Adam.
        seed: of the initial weights and the crops.
        out: file for the network, written with every checkpoint and at the end, see
            :func:`~cnnfast.models.style.feed_forward.files.save_style_network`.
        checkpoint: file to resume from; None writes none.
        checkpoint_every: steps.
        resume: a checkpoint; training goes on with the same settings, but for the number of steps.
        log_dir: folder for a log; None writes none.
        log_format: "csv" or "tensorboard".
        log_every: steps between entries of the log.
        amp: "bf16" (mixed precision), "none", or "auto": bf16 where the hardware is fast at it.
        workers: processes that read pictures; 0 reads them in this one.
        device: None is a GPU that this installation has kernels for, else the CPU.
        devices: GPUs (or processes on the CPU) of each machine.
        nodes: machines; start the same program on each, as torchrun or Lightning's Fabric want it.
        callback: called after every step; returning True ends the training, after a checkpoint.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: an unknown option, no pictures, or another run's checkpoint.
        TypeError: network is none of ours.
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
    _check(locals())
    place = choose_device(None, device)
    precision = precision_for(amp, place)
    features = _features(extractor, weights, preprocessing, style_layers, content_layers, precision)
    layers = _layers(features, style_layers, content_layers)
    target = load_image(style, size=style_size)
    weighting = _weighting(features, content_weight, style_weight, tv_weight, style_strength)
    sources = as_sources(images)
    pictures = TrainingPictures(sources, image_size, crop=crop, seed=seed)
    pictures[(0, 0)]  # a folder without a readable picture is found out here
    processes = devices * nodes
    steps = max_steps if max_steps is not None else -(-epochs * len(sources) // (batch_size * processes))
    if network is None:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            network = TransformerNet()
    settings: dict[str, Any] = {
        "style": fingerprint([target]),
        "features": getattr(features, "description", type(features).__name__).partition("; ")[0],
        "layers": [list(names) for names in layers],
        "weights": [content_weight, style_weight, tv_weight, style_strength],
        "network": {"kind": network.kind, **network.options()},
        "pictures": len(sources),
        "batch": batch_size * processes,
        "image_size": image_size,
        "crop": crop,
        "lr": lr,
        "seed": seed,
    }
    network.train().requires_grad_(True)
    saved = None if resume is None else read_checkpoint(_NAME, resume, settings)
    losses = PerceptualLoss(features, target, *layers)
    module = StyleTraining(network, losses, weighting, lr=lr, steps=steps)
    if saved is not None:
        module.restore(saved)
    name = Path(style).stem if isinstance(style, str | os.PathLike) else ""

    def write(trained: StyleTraining) -> None:
        if out is not None:
            facts = {**settings, "steps": trained.step}
            save_style_network(trained.network, out, style=name, settings=facts)

    log = open_log(_NAME, log_dir, log_format)
    files = TrainingFiles(_NAME, write, checkpoint, checkpoint_every, settings, callback, log_every, log)

    def loader(rank: int) -> DataLoader[Any]:
        batches = TrainingBatches(
            len(sources), batch_size, steps, start=module.step, seed=seed, rank=rank, processes=processes
        )
        return training_loader(pictures, batches, collate, workers=workers, seed=seed)

    if module.step < steps:
        fit(module, loader, files, place, devices=devices, nodes=nodes, precision=precision)
    else:
        write(module)
    return network.eval()


def _check(options: dict[str, Any]) -> None:
    check_numbers(_NAME, options)
    if options["image_size"] < 1:
        raise ValueError(f"train_fast_style: expected image_size of at least 1, got {options['image_size']}")
    network = options["network"]
    if not (network is None or isinstance(network, TransformerNet | JohnsonNet)):
        got = type(network).__name__
        raise TypeError(f"train_fast_style: expected network a TransformerNet or JohnsonNet, got {got}")
    if options["out"] is not None:
        check_model_path(options["out"], "transformer" if network is None else network.kind)


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


def _weighting(
    features: nn.Module, content: float | None, style: float | None, tv: float, strength: float
) -> TermWeights:
    published = (
        isinstance(features, VGGFeatures)
        and features.arch == "vgg16"
        and features.preprocessing.convention.name == "torchvision"
    )
    if published and content is None and style is None:
        content, style = _EXAMPLES_CONTENT, _EXAMPLES_STYLE * strength / _USUAL_STRENGTH
    return TermWeights(1.0 if content is None else content, style, tv, strength=strength)
