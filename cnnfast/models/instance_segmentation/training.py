"""Training of instance segmentation on any data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from cnnfast._extension import default_device
from cnnfast.detection.data.training import AnnotatedPictures, TrainingScenes, collate
from cnnfast.features.pretrained import load_pretrained
from cnnfast.models.instance_segmentation.architectures import CLASSLESS, ModelSettings, build_model
from cnnfast.models.instance_segmentation.model_files import check_model_path, save_model
from cnnfast.models.instance_segmentation.training_step import Recipe, SegmentationTraining
from cnnfast.training.batches import TrainingBatches, training_loader
from cnnfast.training.files import TrainingFiles, open_log, read_checkpoint
from cnnfast.training.loop import fit
from cnnfast.training.run import check_numbers, precision_for
from cnnfast.training.step import Progress

__all__ = ["Progress", "Recipe", "train_segmentation"]

_NAME = "train_segmentation"


def train_segmentation(
    data: AnnotatedPictures,
    settings: ModelSettings,
    classes: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    weights: str | os.PathLike[str] | None = None,
    epochs: int = 12,
    max_steps: int | None = None,
    batch_size: int = 2,
    recipe: Recipe | None = None,
    seed: int = 42,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 500,
    resume: str | os.PathLike[str] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    log_format: str = "csv",
    log_every: int = 10,
    amp: str = "none",
    workers: int = 2,
    device: torch.device | str | None = None,
    devices: int = 1,
    nodes: int = 1,
    callback: Callable[[Progress], bool | None] | None = None,
) -> nn.Module:
    r"""Train a network that finds objects and their masks.

    All losses of the network are summed. Object masks add :math:`\lambda_b CE + \lambda_m BCE` of the bins and of the
    mask that they decode to, with :math:`\lambda_m` 0.1 in the first third of the steps and 1 then.

    A step whose loss or gradient is NaN or infinite is left out. Pictures that cannot be read are skipped and named in
    the log. Their order, the mirrored ones and the sampled boxes depend on the seed alone, so a resumed run goes on as
    the unbroken one would.

    Args:
        data: a data set; ``data[i]`` is a picture [3,H,W] in [0,1] and a dict of boxes [n,4] (x0,y0,x1,y1), labels [n]
            from 1 on and masks [n,H,W].
        settings: of the network.
        classes: their names, without the background.
        category_ids: their numbers in COCO files; by default 1, 2, 3 ...
        weights: a file to start from, see :func:`~cnnfast.features.pretrained.load_pretrained`;
            set ``settings.frozen``, too, for the batch norms of large networks trained with few pictures a step.
        epochs: passes over the pictures, if `max_steps` is None.
        max_steps: number of steps.
        batch_size: pictures a step, of each process.
        recipe: optimiser, learning rate and the like; None is a new `Recipe`.
        seed: of the initial weights, the order, the mirrored pictures and the sampled boxes.
        out: file for the network, written with every checkpoint and at the end, see
            :func:`~cnnfast.models.instance_segmentation.model_files.save_model`.
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
        RuntimeError: the loss was NaN or infinite 20 times in a row; the last checkpoint is kept.
        ImportError: Lightning's Fabric, or TensorBoard for its log, is not installed.

    Source: He et al., "Mask R-CNN", ICCV 2017; Dai, He, Sun, "Instance-aware Semantic Segmentation via Multi-task
        Network Cascades", CVPR 2016; Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings
        >>> from cnnfast.models.instance_segmentation.training import train_segmentation
        >>> mask = torch.zeros(1, 64, 64, dtype=torch.bool)
        >>> mask[:, 20:40, 10:50] = True
        >>> target = {"boxes": torch.tensor([[10.0, 20.0, 50.0, 40.0]]), "labels": torch.tensor([1]), "masks": mask}
        >>> data = [(0.5 * torch.rand(3, 64, 64) + 0.5 * mask, target)]
        >>> settings = ModelSettings("maskrcnn", "small", min_size=64, max_size=64)
        >>> network = train_segmentation(
        ...     data, settings, ["bar"], max_steps=1, batch_size=1, workers=0, device="cpu"
        ... )
        >>> network.training
        False
    """
    recipe = recipe or Recipe()
    processes = devices * nodes
    rate = recipe.rate(batch_size * processes)
    _check(locals() | {"lr": rate}, data, classes, settings)
    place = default_device() if device is None else torch.device(device)
    precision = precision_for(amp, place)
    steps = max_steps if max_steps is not None else -(-epochs * len(data) // (batch_size * processes))
    scenes = TrainingScenes(data, flip=recipe.flip, classless=settings.kind in CLASSLESS, seed=seed)
    scenes[(0, 0)]  # a data set without a readable picture is found out here
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build_model(settings).train()
    facts: dict[str, Any] = {
        "model": settings.plain(),
        "classes": list(classes),
        "pictures": len(data),
        "batch": batch_size * processes,
        "recipe": {**asdict(recipe), "lr": rate},
        "seed": seed,
    }
    module = SegmentationTraining(network, recipe, lr=rate, steps=steps, seed=seed)
    if resume is not None:
        module.restore(read_checkpoint(_NAME, resume, facts))
    elif weights is not None:
        load_pretrained(network, weights)

    def write(trained: SegmentationTraining) -> None:
        if out is not None:
            training = {**facts, "steps": trained.step}
            save_model(trained.network, out, settings, classes, category_ids=category_ids, training=training)

    log = open_log(_NAME, log_dir, log_format)
    files = TrainingFiles(_NAME, write, checkpoint, checkpoint_every, facts, callback, log_every, log)

    def loader(rank: int) -> DataLoader[Any]:
        batches = TrainingBatches(
            len(data), batch_size, steps, start=module.step, seed=seed, rank=rank, processes=processes
        )
        return training_loader(scenes, batches, collate, workers=workers, seed=seed)

    if module.step < steps:
        fit(module, loader, files, place, devices=devices, nodes=nodes, precision=precision, find_unused=True)
    else:
        write(module)
    return network.eval()


def _check(options: dict[str, Any], data: AnnotatedPictures, classes: Sequence[str], settings: ModelSettings) -> None:
    check_numbers(_NAME, options)
    if len(data) == 0:
        raise ValueError("train_segmentation: expected pictures, got none")
    if len(classes) != settings.num_classes - 1:
        wanted = settings.num_classes - 1
        raise ValueError(f"train_segmentation: expected the names of {wanted} classes, got {len(classes)}")
    if options["out"] is not None:
        check_model_path(options["out"])
