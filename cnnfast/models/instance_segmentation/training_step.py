"""One step of the training of instance segmentation, and how its learning rate and weights change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast.detection.data.training import Scenes
from cnnfast.models.instance_segmentation.object_masks.losses import mask_loss_weight
from cnnfast.training.step import Training

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine", "constant")

_MOMENTUM = 0.9
# Learning rate of SGD for each picture of a step, as 0.02 for 16 of them; of AdamW for any number.
_SGD_LR = 0.02 / 16
_ADAMW_LR = 2e-4
# Where the schedule "step" divides the learning rate by 10: 20 of 25 thousand steps, and near the end.
_DROPS = (0.8, 0.95)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: "sgd" (momentum 0.9) or "adamw".
        lr: learning rate after the warm-up; None is 0.00125 for each picture of a step (SGD), or 0.0002 (AdamW).
        weight_decay: of weights; biases and norms have none.
        schedule: of the learning rate: "step" (a tenth after 80 % and again after 95 % of the steps), "cosine" (to 0)
            or "constant".
        warmup: steps over which it rises.
        flip: whether half of the pictures are mirrored.

    Raises:
        ValueError: an unknown word, or a number out of range.

    Example:
        >>> from cnnfast.models.instance_segmentation.training_step import Recipe
        >>> Recipe().rate(16), Recipe("adamw").rate(16)
        (0.02, 0.0002)
    """

    optimizer: str = "sgd"
    lr: float | None = None
    weight_decay: float = 5e-4
    schedule: str = "step"
    warmup: int = 0
    flip: bool = True

    def __post_init__(self) -> None:
        """Checks all of them."""
        words = (("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES))
        for name, value, known in words:
            if value not in known:
                raise ValueError(f"train_segmentation: expected {name} {' or '.join(known)}, got {value!r}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"train_segmentation: expected a positive lr, got {self.lr}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"train_segmentation: expected weight_decay of at least 0, got {self.weight_decay}")
        if self.warmup < 0:
            raise ValueError(f"train_segmentation: expected warmup of at least 0, got {self.warmup}")

    def rate(self, pictures: int) -> float:
        """The learning rate for so many pictures a step, those of all processes."""
        if self.lr is not None:
            return self.lr
        return _ADAMW_LR if self.optimizer == "adamw" else _SGD_LR * pictures


def lr_factor(step: int, steps: int, schedule: str, warmup: int) -> float:
    """What the learning rate is multiplied with: a linear rise over `warmup` steps, then the schedule.

    Args:
        step: from 0 on.
        steps: of the whole training.
        schedule: "step" (a tenth after 80 % and again after 95 % of the steps), "cosine" (to 0) or "constant".
        warmup: steps.

    Example:
        >>> from cnnfast.models.instance_segmentation.training_step import lr_factor
        >>> [round(lr_factor(step, 100, "step", 10), 4) for step in (0, 9, 50, 80, 99)]
        [0.1, 1.0, 1.0, 0.1, 0.01]
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "step":
        drops = sum(step >= share * steps for share in _DROPS)
        return float(rise * 0.1**drops)
    return rise


class SegmentationTraining(Training):
    """A network of instance segmentation in training.

    Boxes that are sampled at a step depend on the seed, the step and the process alone, so a resumed run goes on as the
    unbroken one would. Object masks weigh their two losses as
    :func:`~cnnfast.models.instance_segmentation.object_masks.losses.mask_loss_weight` says.

    Args:
        network: to train.
        recipe: how.
        lr: learning rate after the warm-up.
        steps: of the whole training.
        seed: of the sampled boxes.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, *, lr: float, steps: int, seed: int = 0) -> None:
        super().__init__(network, steps=steps)
        self._recipe, self._lr, self._seed = recipe, lr, seed
        self._object_masks: list[Any] = [module for module in network.modules() if hasattr(module, "lambda_mask")]

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Of all parameters that are not frozen."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self._recipe.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        if self._recipe.optimizer == "adamw":
            return torch.optim.AdamW(groups, self._lr)
        return torch.optim.SGD(groups, self._lr, momentum=_MOMENTUM)

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Learning rate and weights of this step."""
        rate = self._lr * lr_factor(self.step, self.steps, self._recipe.schedule, self._recipe.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for module in self._object_masks:
            module.lambda_mask = mask_loss_weight(self.step, self.steps)

    def terms(self, batch: Scenes) -> dict[str, Tensor]:
        """The losses of the network."""
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):
            numbers = torch.tensor([self._seed, self.step, self.rank])
            torch.manual_seed(int((numbers * torch.tensor([1_000_003, 8191, 1])).sum()) % 2**63)
            losses: dict[str, Tensor] = self.network(batch.pictures, batch.targets)
        return {name: loss.float() for name, loss in losses.items()}
