"""Training of instance segmentation on any data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from cnnfast._options import option
from cnnfast.detection.data.training import AnnotatedPictures, TrainingScenes, collate
from cnnfast.detection.sizes import check_resizable
from cnnfast.features.pretrained import load_pretrained
from cnnfast.models.instance_segmentation.architectures import CLASSLESS, ModelSettings, build_model
from cnnfast.models.instance_segmentation.model_files import check_model_path, save_model
from cnnfast.models.instance_segmentation.training_step import Recipe, SegmentationTraining
from cnnfast.training.options import TrainingOptions
from cnnfast.training.run import run
from cnnfast.training.step import Progress
from cnnfast.training.task import Task

__all__ = ["Progress", "Recipe", "SegmentationOptions", "train_segmentation"]

_NAME = "train_segmentation"


@dataclass(kw_only=True)
class SegmentationOptions(TrainingOptions):
    """Options of `train_segmentation`: those of :class:`~cnnfast.training.options.TrainingOptions`."""

    epochs: int = option("passes over the pictures", default=12, minimum=1)
    batch_size: int = option("pictures a step, on each device", "--batch", default=2, minimum=1)
    seed: int = option("of first weights, order, mirrored pictures, sampled boxes", default=42)
    amp: str = option(
        "auto, float32 or bfloat16 (mixed precision)",
        "--dtype",
        default="float32",
        choices=("auto", "float32", "bfloat16"),
    )


def train_segmentation(
    data: AnnotatedPictures,
    settings: ModelSettings,
    classes: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    weights: str | os.PathLike[str] | None = None,
    recipe: Recipe | None = None,
    callback: Callable[[Progress], bool | None] | None = None,
    **options: Any,
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
        recipe: optimiser, learning rate and the like; None is a new `Recipe`.
        callback: called after every step; returning True ends the training, after a checkpoint.
        **options: those of `SegmentationOptions`, such as `max_steps`, `batch_size`, `out` and `device`.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: a bad option, no pictures, or another run's checkpoint.
        TypeError: an option of another name.
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
    chosen = SegmentationOptions(**options)
    _check(chosen, data, classes, settings)
    pictures = chosen.batch_size * chosen.processes
    rate = recipe.rate(pictures)
    with torch.random.fork_rng([]):
        torch.manual_seed(chosen.seed)
        network = build_model(settings).train()

    def build(steps: int) -> SegmentationTraining:
        if weights is not None and chosen.resume is None:
            load_pretrained(network, weights)
        return SegmentationTraining(network, recipe, lr=rate, steps=steps, seed=chosen.seed)

    def save(network: nn.Module, path: str | os.PathLike[str], training: Mapping[str, Any]) -> None:
        save_model(network, path, settings, classes, category_ids=category_ids, training=training)

    task = Task(
        function=_NAME,
        examples=TrainingScenes(
            data,
            flip=recipe.flip,
            classless=settings.kind in CLASSLESS,
            seed=chosen.seed,
            check=partial(check_resizable, _NAME, transform=network.transform),
        ),
        collate=collate,
        build=build,
        settings={
            "model": settings.plain(),
            "classes": list(classes),
            "pictures": len(data),
            "batch": pictures,
            "recipe": {**asdict(recipe), "lr": rate},
            "seed": chosen.seed,
        },
        save=save,
        find_unused=True,
    )
    return run(task, chosen, callback)


def _check(options: TrainingOptions, data: AnnotatedPictures, classes: Sequence[str], settings: ModelSettings) -> None:
    options.check(_NAME)
    if len(data) == 0:
        raise ValueError("train_segmentation: expected pictures, got none")
    if len(classes) != settings.num_classes - 1:
        wanted = settings.num_classes - 1
        raise ValueError(f"train_segmentation: expected the names of {wanted} classes, got {len(classes)}")
    if options.out is not None:
        check_model_path(options.out)
