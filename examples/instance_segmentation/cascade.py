"""Boundary-aware masks in a cascade: two networks of five stages, alike but for their masks, on overlapping shapes.

One has binary masks inside its boxes, the other object masks that may leave them. Compared are their own detections,
and their masks (of stage 2, before the box is corrected) in given boxes that miss parts of their object. Prints a table
and writes a picture.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.models.detection.anchor_utils import AnchorGenerator

from cnnfast.detection.data import SyntheticInstances, perturb_boxes
from cnnfast.detection.metrics import mask_iou, voc_ap_r
from cnnfast.images import save_image
from cnnfast.models.instance_segmentation import MNCCascade, mask_loss_weight
from examples.common import Progress, cell, experiment_parser, fit, markdown_table, print_progress, write_results
from examples.instance_segmentation.scenes import (
    BOX_IOUS,
    SIDE,
    Scene,
    Settings,
    box_columns,
    dilated_backbone,
    evaluation_scenes,
    mask_scores,
    training_scenes,
)
from examples.instance_segmentation.sheet import comparison_sheet

MASK_HEADS = {"binary": "binary masks", "omn": "object masks"}
"""As `MNCCascade` and as tables call them."""

_WIDTH = 24
_CHUNK = 16
_WARMUP = 0.1

SETTINGS = Settings(steps=300, batch=8, learning_rate=3e-3, testing=128, objects=2)
"""The learning rate rises over a tenth of the steps and falls to 0 as a cosine."""


@dataclass(frozen=True)
class Result:
    """A trained cascade and how good it is.

    Attributes:
        mask_head: "binary" or "omn".
        seed: of the network, its training pictures and their order.
        model: the cascade, in evaluation mode.
        losses: sums of the losses of all steps.
        ap50: mean AP^r of the detections at 0.5.
        ap70: mean AP^r of the detections at 0.7.
        boxes: mean AP^r at 0.7, mean IoU and share of IoU >= 0.7 of masks in given boxes, for each of `BOX_IOUS`.
    """

    mask_head: str
    seed: int
    model: MNCCascade
    losses: list[float]
    ap50: float
    ap70: float
    boxes: list[tuple[float, float, float]]


def train_and_test(mask_head: str, seed: int, settings: Settings, progress: Progress | None = None) -> Result:
    """A cascade trained end to end; pictures, their order and settings are the same for both mask heads."""
    scenes = training_scenes(settings, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = small_cascade(mask_head).to(settings.device)
        losses = _train(MASK_HEADS[mask_head], model, scenes, settings, progress)
    model.eval()
    scenes = evaluation_scenes(settings)
    found = [detections for part in _chunks(scenes) for detections in _detections(model, part)]
    scores = [_box_score(masks_in_boxes(model, scenes, boxes), scenes) for boxes in evaluation_boxes(scenes)]
    return Result(mask_head, seed, model, losses, _ap(found, scenes, 0.5), _ap(found, scenes, 0.7), scores)


def small_cascade(mask_head: str) -> MNCCascade:
    """A cascade of five stages for pictures of 64 px."""
    backbone: Any = dilated_backbone(_WIDTH)
    backbone.out_channels = _WIDTH
    return MNCCascade(
        backbone,
        len(SyntheticInstances.categories) + 1,
        mask_head,
        anchors=AnchorGenerator(((16, 24, 32),), ((1.0,),)),
        width=128,
        min_box_size=4,
        candidates=200,
        proposals=50,
        min_size=SIDE,
        max_size=SIDE,
    )


def _train(
    name: str, model: MNCCascade, scenes: Sequence[Scene], settings: Settings, progress: Progress | None
) -> list[float]:
    object_masks = [module for module in model.modules() if hasattr(module, "lambda_mask")]
    model.train()

    def loss(step: int) -> Tensor:
        for branch in object_masks:
            branch.lambda_mask = mask_loss_weight(step, settings.steps)
        chosen = [scenes[index] for index in torch.randint(len(scenes), (settings.batch,)).tolist()]
        losses = model([image for image, _ in chosen], [target for _, target in chosen])
        return torch.stack([*losses.values()]).sum()

    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    schedule = OneCycleLR(optimizer, settings.learning_rate, settings.steps, pct_start=_WARMUP)
    return fit(name, loss, optimizer, schedule, settings.steps, progress)


def evaluation_boxes(scenes: Sequence[Scene]) -> list[list[Tensor]]:
    """The same boxes for all seeds and mask heads: for each of `BOX_IOUS` and each scene, [n,4]."""
    generator = torch.Generator().manual_seed(0)
    return [[perturb_boxes(target["boxes"], (SIDE, SIDE), iou, generator) for _, target in scenes] for iou in BOX_IOUS]


@torch.no_grad()
def _detections(model: MNCCascade, scenes: Sequence[Scene]) -> list[dict[str, Tensor]]:
    return model([image for image, _ in scenes])


def masks_in_boxes(model: MNCCascade, scenes: Sequence[Scene], boxes: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Masks and classes of given boxes, by scene."""
    found = []
    for part, own in zip(_chunks(scenes), _chunks(boxes), strict=True):
        found += model.segment_boxes([image for image, _ in part], own)
    return found


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _box_score(found: Sequence[dict[str, Tensor]], scenes: Sequence[Scene]) -> tuple[float, float, float]:
    pairs = zip(found, scenes, strict=True)
    ious = torch.cat([mask_iou(result["masks"][:, 0], target["masks"]).diagonal() for result, (_, target) in pairs])
    return _ap(found, scenes, 0.7), *mask_scores(ious)


def _ap(found: Sequence[dict[str, Tensor]], scenes: Sequence[Scene], iou: float) -> float:
    return voc_ap_r(found, (target for _, target in scenes), iou)


def example_sheet(results: Sequence[Result], rows: int, settings: Settings) -> Tensor:
    """The first test scenes in the boxes that overlap least: the whole objects, then the masks of each cascade."""
    scenes = evaluation_scenes(settings)
    boxes = evaluation_boxes(scenes)[0][:rows]
    scenes = scenes[:rows]
    columns = {"boxes and whole objects": [target["masks"].bool() for _, target in scenes]}
    for result in results:
        found = masks_in_boxes(result.model, scenes, boxes)
        columns[MASK_HEADS[result.mask_head]] = [masks["masks"][:, 0] for masks in found]
    return comparison_sheet([image for image, _ in scenes], boxes, columns)


def results_table(results: Sequence[Result]) -> str:
    """A row for each cascade."""
    rows = []
    for result in results:
        scores = ([result.ap50], [result.ap70], *result.boxes)
        rows.append([MASK_HEADS[result.mask_head], str(result.seed), *map(cell, scores)])
    return markdown_table(["masks", "seed", "AP^r .5", "AP^r .7", *box_columns()], rows)


def _facts(result: Result) -> dict[str, Any]:
    ap70, ious, shares = zip(*result.boxes, strict=True)
    own = {"mask_head": result.mask_head, "seed": result.seed, "ap50": result.ap50, "ap70": result.ap70}
    return own | {"box_ap70": ap70, "box_mean_iou": ious, "box_share": shares}


def main(arguments: Sequence[str] | None = None, settings: Settings = SETTINGS) -> None:
    """The command."""
    parser = experiment_parser("instance_segmentation.cascade", __doc__, settings.steps)
    parser.add_argument("--heads", nargs="+", choices=MASK_HEADS, default=list(MASK_HEADS), help="masks to compare")
    options = parser.parse_args(arguments)
    settings = replace(settings, steps=options.steps, device=options.device)
    started = time.monotonic()
    progress = print_progress(settings.steps)
    results = [train_and_test(head, seed, settings, progress) for seed in options.seeds for head in options.heads]
    save_image(example_sheet(results[: len(options.heads)], options.rows, settings), options.output)
    if options.results is not None:
        write_results(options.results, {"steps": settings.steps, "test_ious": BOX_IOUS}, list(map(_facts, results)))
    print("AP^r of own detections; in given boxes, by their IoU: AP^r .7 / mean IoU / share of IoU >= 0.7\n")
    print(results_table(results))
    print(f"\n{options.output}: scenes with the boxes that overlap least; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
