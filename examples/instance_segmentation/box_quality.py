"""Boundary-aware masks win where boxes miss parts of their object: three small networks in boxes that do.

Pictures of one shape each, in boxes whose IoU with the object's own is between 0.4 and 0.7 in training. Compared are a
binary mask in the box, an object mask network on the same features, and, as a control, a binary mask whose features and
cells come from the box grown to the window of the object mask network. Prints a table and writes a picture.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import TensorDataset

from cnnfast.detection.data import perturb_boxes
from cnnfast.detection.metrics import mask_iou
from cnnfast.images import save_image
from cnnfast.models.instance_segmentation import paste_windows
from examples.common import Progress, cell, experiment_parser, fit, markdown_table, print_progress, write_results
from examples.instance_segmentation.mask_methods import SIZE, MaskMethod, MaskNetwork, compared_methods
from examples.instance_segmentation.scenes import (
    BOX_IOUS,
    SIDE,
    Scene,
    Settings,
    box_columns,
    evaluation_scenes,
    mask_scores,
    training_scenes,
)
from examples.instance_segmentation.sheet import comparison_sheet

_TRAINING_IOU = (0.4, 0.7)
_CHUNK = 64

SETTINGS = Settings(steps=1000, batch=16, learning_rate=5e-3, testing=256)
"""The learning rate falls to 0 as a cosine."""


@dataclass(frozen=True)
class Result:
    """A method on the test pictures.

    Attributes:
        method: its name.
        seed: of networks, training pictures and boxes; None for the best that the method could do.
        scores: mean IoU and share of IoU >= 0.7, for each of `BOX_IOUS`.
        network: trained.
    """

    method: str
    seed: int | None
    scores: list[tuple[float, float]]
    network: nn.Module | None = None


def compare(
    seed: int, methods: Sequence[MaskMethod], settings: Settings, progress: Progress | None = None
) -> list[Result]:
    """Train and test each method on the same pictures with the same boxes."""
    training = _stacked(training_scenes(settings, seed))
    testing = evaluation_pictures(settings)
    results = []
    for method in methods:
        network = train(method, training, seed, settings, progress)
        results.append(Result(method.name, seed, _scores(method, testing, network), network))
    return results


def ideal_results(methods: Sequence[MaskMethod], settings: Settings) -> list[Result]:
    """What each method reaches with an output without fault."""
    testing = evaluation_pictures(settings)
    return [Result(method.name, None, _scores(method, testing, None)) for method in methods]


def evaluation_pictures(settings: Settings) -> TensorDataset:
    """Images [n,3,H,W], masks [n,H,W] bool and tight boxes [n,4], the same ones for every seed."""
    return _stacked(evaluation_scenes(settings))


def evaluation_boxes(pictures: TensorDataset) -> list[Tensor]:
    """The same boxes [n,4] for every method and seed, for each of `BOX_IOUS`."""
    generator = torch.Generator().manual_seed(0)
    boxes = pictures.tensors[2]
    return [perturb_boxes(boxes, (SIDE, SIDE), iou, generator) for iou in BOX_IOUS]


def _stacked(scenes: Sequence[Scene]) -> TensorDataset:
    masks, boxes = (torch.cat([target[key] for _, target in scenes]) for key in ("masks", "boxes"))
    return TensorDataset(torch.stack([image for image, _ in scenes]), masks.bool(), boxes)


def train(
    method: MaskMethod, pictures: TensorDataset, seed: int, settings: Settings, progress: Progress | None = None
) -> nn.Module:
    """A network trained on pictures, with new boxes in every step, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = MaskNetwork(method.channels, method.context).to(settings.device)
    order = torch.empty(0, dtype=torch.int64)

    def loss(_: int) -> Tensor:
        nonlocal order
        if len(order) < settings.batch:
            order = torch.cat([order, torch.randperm(len(pictures), generator=generator)])
        chosen, order = order[: settings.batch], order[settings.batch :]
        images, masks, tight = pictures[chosen.to(settings.device)]
        boxes = perturb_boxes(tight, (SIDE, SIDE), _TRAINING_IOU, generator)
        return method.loss(network(images, boxes), masks, boxes)

    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    fit(method.name, loss, optimizer, CosineAnnealingLR(optimizer, settings.steps), settings.steps, progress)
    return network.eval()


@torch.no_grad()
def predict(method: MaskMethod, pictures: TensorDataset, boxes: Tensor, network: nn.Module | None) -> Tensor:
    """Masks [n,H,W] bool by a network, or (None) from an output without fault."""
    found = []
    images, masks, _ = pictures.tensors
    for image, mask, own in zip(*(part.split(_CHUNK) for part in (images, masks, boxes)), strict=True):
        windows = method.ideal_windows(mask, own) if network is None else method.windows(network(image, own))
        found.append(paste_windows(windows, own, SIZE, method.halo, (SIDE, SIDE), 0.5))
    return torch.cat(found)[:, 0]


def _scores(method: MaskMethod, pictures: TensorDataset, network: nn.Module | None) -> list[tuple[float, float]]:
    masks = pictures.tensors[1]
    return [
        mask_scores(mask_iou(predict(method, pictures, boxes, network), masks).diagonal())
        for boxes in evaluation_boxes(pictures)
    ]


def example_sheet(methods: Sequence[MaskMethod], results: Sequence[Result], rows: int, settings: Settings) -> Tensor:
    """The first test pictures in the boxes that overlap least: the whole object, then the mask of each method."""
    testing = evaluation_pictures(settings)
    pictures, boxes = TensorDataset(*testing[:rows]), evaluation_boxes(testing)[0][:rows]
    images, masks, _ = pictures.tensors
    columns = {"box and whole object": masks}
    for method, result in zip(methods, results, strict=True):
        columns[method.name] = predict(method, pictures, boxes, result.network)
    split = {title: list(part[:, None]) for title, part in columns.items()}
    return comparison_sheet(list(images), list(boxes[:, None]), split)


def results_table(runs: Sequence[Sequence[Result]], ideal: Sequence[Result]) -> str:
    """Mean IoU and share of objects with IoU >= 0.7, for each method and seed."""
    rows = []
    for index, best in enumerate(ideal):
        own = [run[index] for run in runs]
        rows += [[result.method, str(result.seed), *map(cell, result.scores)] for result in own]
        if len(own) > 1:
            means = torch.tensor([result.scores for result in own], dtype=torch.float64).mean(0)
            rows.append([best.method, "mean", *map(cell, means.tolist())])
        rows.append([best.method, "ideal", *map(cell, best.scores)])
    return markdown_table(["mask", "seed", *box_columns()], rows)


def _facts(result: Result) -> dict[str, Any]:
    ious, shares = zip(*result.scores, strict=True)
    return {"method": result.method, "seed": result.seed, "mean_iou": ious, "share": shares}


def main(arguments: Sequence[str] | None = None, settings: Settings = SETTINGS) -> None:
    """The command."""
    parser = experiment_parser("instance_segmentation.box_quality", __doc__, settings.steps)
    options = parser.parse_args(arguments)
    # The layers are so small that threads wait for one another longer than they work.
    torch.set_num_threads(1)
    settings = replace(settings, steps=options.steps, device=options.device)
    methods = compared_methods()
    started = time.monotonic()
    runs = [compare(seed, methods, settings, print_progress(settings.steps)) for seed in options.seeds]
    ideal = ideal_results(methods, settings)
    save_image(example_sheet(methods, runs[0], options.rows, settings), options.output)
    if options.results is not None:
        results = [result for run in (*runs, ideal) for result in run]
        write_results(options.results, {"steps": settings.steps, "test_ious": BOX_IOUS}, list(map(_facts, results)))
    print("mean IoU with the whole object / share of IoU >= 0.7, by IoU of the box\n")
    print(results_table(runs, ideal))
    print('\n"ideal" has no fault but those of its form. The control sees more of the picture than the other two.')
    print(f"{options.output}: pictures with the boxes that overlap least; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
