"""Cascades with object masks and with binary masks, trained alike on small synthetic scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import Conv2dNormActivation

from cnnfast.detection.data.synthetic import SHAPES, SyntheticInstances, perturb_boxes
from cnnfast.detection.metrics.masks import mask_iou
from cnnfast.detection.metrics.voc import RegionAP
from cnnfast.models.instance_segmentation.mnc.masks import ObjectMaskBranch
from cnnfast.models.instance_segmentation.mnc.network import MNCCascade
from cnnfast.models.instance_segmentation.object_masks.losses import mask_loss_weight

_SIZE = 64
# Far from the seeds of training pictures.
_TEST_SEED = 10**12
_PICTURES_OF_A_SEED = 10**6
_CHUNK = 16
_WARMUP = 0.1
_WIDTH = 24

Scene = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class CascadeToySettings:
    """Sizes of the experiment.

    Attributes:
        steps: of training.
        batch: pictures in each.
        training: pictures to train on.
        testing: pictures to test on.
        objects: shapes in each picture.
        learning_rate: the largest of Adam, after a tenth of the steps; it falls to 0 as a cosine.
        test_ious: least and largest IoU of perturbed boxes with the object's own, for each test.
    """

    steps: int = 300
    batch: int = 8
    training: int = 640
    testing: int = 128
    objects: int = 2
    learning_rate: float = 3e-3
    test_ious: tuple[tuple[float, float], ...] = ((0.4, 0.55), (0.55, 0.7), (0.7, 0.9))


@dataclass(frozen=True)
class PerturbedScore:
    """Masks of given boxes that miss their object.

    Attributes:
        ap: mean AP^r at 0.7.
        iou: mean IoU of the masks with the whole objects.
        share: share of objects with an IoU of at least 0.7.
    """

    ap: float
    iou: float
    share: float


@dataclass(frozen=True)
class CascadeToyResult:
    """A trained cascade and how good it is.

    Attributes:
        model: the cascade, in evaluation mode.
        losses: sums of the losses of all steps.
        ap50: mean AP^r of the detections at 0.5.
        ap70: mean AP^r of the detections at 0.7.
        perturbed: masks of stage 2 in perturbed boxes, for each of the ranges of IoU.
    """

    model: MNCCascade
    losses: list[float]
    ap50: float
    ap70: float
    perturbed: list[PerturbedScore]


def run_cascade_toy(
    mask_head: str,
    seed: int = 0,
    settings: CascadeToySettings | None = None,
    *,
    callback: Callable[[str, int, float], None] | None = None,
) -> CascadeToyResult:
    """Train a small cascade of five stages end to end on `synthetic_instances`, and test it.

    Training pictures, order and settings are the same for both mask heads, and so are the test pictures and boxes for
    all seeds. Scores of perturbed boxes are those of masks of stage 2, before the box is corrected.

    Args:
        mask_head: "binary" or "omn".
        seed: of the network, its training pictures and their order.
        settings: of the experiment; None are those of `CascadeToySettings`.
        callback: called after every step with the mask head, the steps that are done, and the loss.

    Returns:
        The cascade and its scores.

    Raises:
        ValueError: another mask head, or a negative seed.

    Source: after the experiments of Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 4.

    Example:
        >>> from cnnfast.models.instance_segmentation.mnc_toy import CascadeToySettings, run_cascade_toy
        >>> result = run_cascade_toy("omn", settings=CascadeToySettings(steps=2, batch=2, training=4, testing=2))
        >>> len(result.losses), len(result.perturbed)
        (2, 3)
    """
    settings = settings or CascadeToySettings()
    if seed < 0:
        raise ValueError(f"run_cascade_toy: expected a seed of at least 0, got {seed}")
    scenes = _scenes(settings.training, seed * _PICTURES_OF_A_SEED, settings)
    losses = []
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = toy_cascade(mask_head)
        for loss in _train(model, scenes, settings):
            losses.append(loss)
            if callback is not None:
                callback(mask_head, len(losses), loss)
    model.eval()
    scenes = _scenes(settings.testing, _TEST_SEED, settings)
    detections = _in_parts(model, [image for image, _ in scenes])
    ap50, ap70 = _region_ap(detections, scenes, (0.5, 0.7))
    return CascadeToyResult(model, losses, ap50, ap70, _perturbed_scores(model, scenes, settings))


def _scenes(count: int, seed: int, settings: CascadeToySettings) -> list[Scene]:
    pictures = SyntheticInstances(count, seed, _SIZE, settings.objects)
    return [pictures[index] for index in range(count)]


def toy_cascade(mask_head: str) -> MNCCascade:
    """A cascade of five stages for pictures of 64 px, on five dilated convolutions of stride 2."""
    backbone: Any = nn.Sequential(
        Conv2dNormActivation(3, _WIDTH, stride=2),
        *(Conv2dNormActivation(_WIDTH, _WIDTH, dilation=dilation) for dilation in (1, 2, 4, 4)),
    )
    backbone.out_channels = _WIDTH
    anchors = AnchorGenerator(((16, 24, 32),), ((1.0,),))
    return MNCCascade(
        backbone,
        len(SHAPES) + 1,
        mask_head,
        anchors=anchors,
        width=128,
        min_box_size=4,
        candidates=200,
        proposals=50,
        min_size=_SIZE,
        max_size=_SIZE,
    )


def _train(model: MNCCascade, scenes: Sequence[Scene], settings: CascadeToySettings) -> Iterator[float]:
    """Losses of the steps."""
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    schedule = OneCycleLR(optimizer, settings.learning_rate, settings.steps, pct_start=_WARMUP)
    object_masks = [module for module in model.modules() if isinstance(module, ObjectMaskBranch)]
    model.train()
    for step in range(settings.steps):
        for branch in object_masks:
            branch.lambda_mask = mask_loss_weight(step, settings.steps)
        chosen = [scenes[index] for index in torch.randint(len(scenes), (settings.batch,)).tolist()]
        losses = model([image for image, _ in chosen], [target for _, target in chosen])
        loss = torch.stack([*losses.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()


def _in_parts(model: MNCCascade, images: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(images), _CHUNK):
        with torch.no_grad():
            yield from model(images[start : start + _CHUNK])


def _region_ap(found: Iterable[dict[str, Tensor]], scenes: Sequence[Scene], thresholds: Sequence[float]) -> list[float]:
    metric = RegionAP()
    for prediction, (_, target) in zip(found, scenes, strict=True):
        metric.update(prediction, target)
    return [metric.mean(threshold) for threshold in thresholds]


def _perturbed_scores(model: MNCCascade, scenes: Sequence[Scene], settings: CascadeToySettings) -> list[PerturbedScore]:
    generator = torch.Generator().manual_seed(0)
    scores = []
    for bounds in settings.test_ious:
        boxes = [perturb_boxes(target["boxes"], (_SIZE, _SIZE), bounds, generator) for _, target in scenes]
        found = [
            result
            for start in range(0, len(scenes), _CHUNK)
            for result in model.segment_boxes(
                [image for image, _ in scenes[start : start + _CHUNK]], boxes[start : start + _CHUNK]
            )
        ]
        ious = torch.cat(
            [
                mask_iou(result["masks"][:, 0], target["masks"]).diagonal()
                for result, (_, target) in zip(found, scenes, strict=True)
            ]
        )
        (ap,) = _region_ap(found, scenes, (0.7,))
        scores.append(PerturbedScore(ap, float(ious.mean()), float((ious >= 0.7).double().mean())))
    return scores
