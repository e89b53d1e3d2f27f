"""Stages 2 to 5 of a multi-task network cascade: training on proposals and prediction from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from cnnfast.detection.roi_pooling import RoIPooler
from cnnfast.models.instance_segmentation.mnc.losses import MASK_WEIGHT, region_losses
from cnnfast.models.instance_segmentation.mnc.masks import inside
from cnnfast.models.instance_segmentation.mnc.rpn import clip_gradient
from cnnfast.models.instance_segmentation.mnc.stages import CascadeStage, StageOutput
from cnnfast.models.instance_segmentation.mnc.targets import (
    Target,
    match_rois,
    refine_boxes,
    sample_rois,
    segment_labels,
    with_ground_truth,
)

REFINED = "_refined"
"""Ending of the names of the losses of stages 4 and 5."""


@dataclass(frozen=True)
class BoxMasks:
    """The predictions of two stages for the boxes of one picture.

    Attributes:
        boxes: [n,4] in pixels of the network's input.
        windows: [n,1,S+2P,S+2P], masks in [0,1].
        scores: [n,1+C], of the segments.
    """

    boxes: Tensor
    windows: Tensor
    scores: Tensor


class Cascade(nn.Module):
    """Stages 2 and 3, and 4 and 5 on corrected boxes.

    Args:
        pooler: features of boxes.
        stages: one that all passes share, or one for each pass.
        passes: number of passes, 1 or 2.
        rois_per_image: boxes of each picture to train on.
        inside_box: crop masks to their box.
    """

    def __init__(
        self,
        pooler: RoIPooler,
        stages: Sequence[CascadeStage],
        passes: int,
        rois_per_image: int,
        inside_box: bool,
    ) -> None:
        super().__init__()
        self.pooler, self.stages = pooler, nn.ModuleList(stages)
        self.passes, self.rois_per_image, self.inside_box = passes, rois_per_image, inside_box

    @property
    def halo(self) -> int:
        """Cells around the box in the windows that are predicted."""
        return 0 if self.inside_box else self.stage(0).mask.halo

    def stage(self, index: int) -> CascadeStage:
        """The layers of a pass; the same object every time where they are shared."""
        stage = self.stages[min(index, len(self.stages) - 1)]
        assert isinstance(stage, CascadeStage)
        return stage

    def losses(
        self, batch: ImageList, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Weighted losses of all passes by name."""
        rois = sample_rois(proposals, targets, self.rois_per_image)
        losses: dict[str, Tensor] = {}
        for index in range(self.passes):
            stage = self.stage(index)
            pooled = self._pool(batch, features, rois.boxes)
            mask = stage.mask(pooled)
            labels = segment_labels(self._cut(stage.mask.windows(mask)), rois, targets, self.halo)
            # Masks that miss their object get no gradient from the classes.
            output = stage.regions(pooled, mask, labels > 0)
            own = stage.mask.losses(mask.of(torch.cat(rois.labels) > 0), rois.foreground(), targets)
            named = {name: MASK_WEIGHT * loss for name, loss in own.items()}
            named |= region_losses(output, rois, labels, targets)
            losses |= {name + (REFINED if index else ""): loss for name, loss in named.items()}
            if index + 1 < self.passes:
                boxes = self._refine(batch, rois.boxes, output, skip_background=True)
                rois = match_rois(with_ground_truth(boxes, targets), targets)
        return losses

    def predict(
        self, batch: ImageList, features: Mapping[str, Tensor], boxes: Sequence[Tensor]
    ) -> list[list[BoxMasks]]:
        """For each pass, the predictions of each picture."""
        results: list[list[BoxMasks]] = []
        output: StageOutput | None = None
        for index in range(self.passes):
            if output is not None:
                boxes = self._refine(batch, boxes, output, skip_background=False)
            stage = self.stage(index)
            pooled = self._pool(batch, features, boxes)
            output = stage.regions(pooled, stage.mask(pooled))
            counts = [len(part) for part in boxes]
            windows = self._cut(stage.mask.windows(output.mask, final=True)).split(counts)
            scores = output.segment_logits.float().softmax(1).split(counts)
            results.append([BoxMasks(*parts) for parts in zip(boxes, windows, scores, strict=True)])
        return results

    def _pool(self, batch: ImageList, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        height, width = batch.tensors.shape[-2:]
        return self.pooler(features, boxes, (height, width))

    def _cut(self, windows: Tensor) -> Tensor:
        return inside(windows, self.stage(0).mask.halo) if self.inside_box else windows

    def _refine(
        self, batch: ImageList, boxes: Sequence[Tensor], output: StageOutput, *, skip_background: bool
    ) -> list[Tensor]:
        deltas = clip_gradient(output.deltas) if self.pooler.method == "warp" else output.deltas.detach()
        return refine_boxes(boxes, deltas, output.segment_logits, batch.image_sizes, skip_background=skip_background)
