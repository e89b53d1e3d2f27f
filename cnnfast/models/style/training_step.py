"""One step of the training of a style network, as a Lightning module."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnfast.models.style.data import Crops
from cnnfast.models.style.losses import TERMS, PerceptualLoss, TermWeights

try:
    import pytorch_lightning as pl
except ImportError as error:
    raise ImportError(
        "train_fast_style: expected the package pytorch-lightning, got none; "
        "install it with: pip install 'cnnfast[train]'"
    ) from error

if TYPE_CHECKING:
    from cnnfast.models.style.johnson import JohnsonNet
    from cnnfast.models.style.transformer import TransformerNet

logger = logging.getLogger(__name__)

_PATIENCE = 20


class Stop(Exception):
    """Training cannot go on; the message says why."""


@dataclass(frozen=True)
class TrainingProgress:
    """What a callback learns after every step.

    Attributes:
        step: steps done, those of the resumed run included.
        steps: of the whole training.
        loss: weighted sum of the terms, mean over all processes.
        terms: "content", "style" and "tv" without their weights.
        style_weight: at present.
        skipped_steps: left out because a loss or gradient was not finite.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    style_weight: float
    skipped_steps: int


class StyleTraining(pl.LightningModule):
    """A network in training; the losses' targets, their weights and the numbers of steps are part of its state dict.

    Attributes:
        progress: of the last step.
        asked_to_stop: set it to end the training, on all processes, after one more step.
        stopping: whether this was the last step.

    Args:
        network: to train.
        losses: content, style and smoothness.
        weights: of these.
        lr: of Adam.
        steps: of the whole training.
        precision: torch.float32 or torch.bfloat16, of the convolutions of the network.
    """

    counters: Tensor

    def __init__(
        self,
        network: TransformerNet | JohnsonNet,
        losses: PerceptualLoss,
        weights: TermWeights,
        *,
        lr: float,
        steps: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.losses, self.weights = network, losses, weights
        self.steps = steps
        self.progress: TrainingProgress | None = None
        self.asked_to_stop = self.stopping = False
        self._lr, self._compute = lr, precision
        self._optimizer_state: dict[str, Any] | None = None
        self._named: set[str] = set()
        self._bad_in_a_row = 0
        # Steps done, and steps left out.
        self.register_buffer("counters", torch.zeros(2, dtype=torch.int64))

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.counters[0])

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint of Lightning."""
        self.load_state_dict(checkpoint["state_dict"])
        self._optimizer_state = checkpoint["optimizer_states"][0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with the state of a resumed run."""
        optimizer = torch.optim.Adam(self.network.parameters(), self._lr)
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        return optimizer

    def on_fit_start(self) -> None:
        """The extractor follows the network to its device."""
        self.losses.place(self.device)

    def training_step(self, batch: Crops, index: int) -> None:
        """Loss, gradient, and Adam's step where both are finite."""
        self._name(batch.skipped)
        terms = self._terms(batch.pictures)
        flags = torch.stack([terms.new_tensor(float(self.asked_to_stop)), *terms.detach()])
        means: Tensor = self.trainer.strategy.reduce(flags, reduce_op="mean")
        # One process is asked to stop, and all do so after the same step.
        self.stopping, means = bool(means[0] > 0), means[1:]
        finite = bool(torch.isfinite(means).all())
        if finite:
            self.weights.observe(means)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.weights(terms))
        finite = finite and self._gradients_finite()
        if finite:
            optimizer.step()
        self.counters += torch.tensor([1, not finite], device=self.counters.device)
        self._note(means, finite)

    def _terms(self, pictures: Tensor) -> Tensor:
        output = self.network(self.network.preprocess(pictures))
        with torch.autocast(self.device.type, enabled=False):
            return self.losses(self.network.postprocess(output.float()), pictures)

    def _gradients_finite(self) -> bool:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return bool(torch.isfinite(nn.utils.get_total_norm(gradients)))

    def _note(self, means: Tensor, finite: bool) -> None:
        loss = float(self.weights(means))
        terms = dict(zip(TERMS, means.tolist(), strict=True))
        step, skipped = self.counters.tolist()
        self.progress = TrainingProgress(step, self.steps, loss, terms, float(self.weights.style_weight), skipped)
        self._bad_in_a_row = 0 if finite else self._bad_in_a_row + 1
        if not finite:
            logger.warning("step %d was left out: its loss or gradient is not finite", step)
        if self._bad_in_a_row == _PATIENCE:
            raise Stop(
                f"train_fast_style: expected finite losses and gradients, got none in {_PATIENCE} steps in a row, the "
                f"last one step {step}: {', '.join(f'{name} {value:.3g}' for name, value in terms.items())}"
            )

    def _name(self, skipped: list[str]) -> None:
        for line in skipped:
            if line not in self._named:
                self._named.add(line)
                logger.warning("skipped: %s", line)
