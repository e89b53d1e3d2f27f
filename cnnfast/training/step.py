"""One step of a training, as a Lightning module."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast.training.lightning import pl

logger = logging.getLogger(__name__)

_PATIENCE = 20


class Stop(Exception):
    """Training cannot go on; the message says why."""


@dataclass(frozen=True)
class Progress:
    """What a callback learns after every step.

    Attributes:
        step: steps done, those of the resumed run included.
        steps: of the whole training.
        loss: what was minimised, mean over all processes.
        terms: of the loss, without their weights.
        skipped_steps: left out because a loss or gradient was not finite.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    skipped_steps: int

    def metrics(self) -> dict[str, float]:
        """Entries of a log."""
        return {"loss": self.loss, **self.terms, "skipped_steps": float(self.skipped_steps)}


class Training(pl.LightningModule):
    """A network in training; the numbers of steps are part of its state dict.

    A step whose loss or gradient is NaN or infinite changes nothing but these numbers. After 20 of them in a row the
    training ends.

    Attributes:
        progress: of the last step.
        asked_to_stop: set it to end the training, on all processes, after one more step.
        stopping: whether this was the last step.

    Args:
        function: name for messages.
        network: to train.
        steps: of the whole training.
    """

    counters: Tensor

    def __init__(self, function: str, network: nn.Module, *, steps: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.steps = network, steps
        self.progress: Progress | None = None
        self.asked_to_stop = self.stopping = False
        self._function = function
        self._optimizer_state: dict[str, Any] | None = None
        self._named: set[str] = set()
        self._bad_in_a_row = 0
        # Steps done, and steps left out.
        self.register_buffer("counters", torch.zeros(2, dtype=torch.int64))

    @abstractmethod
    def build_optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of the network."""

    @abstractmethod
    def terms(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss, scalars, under the same names on all processes."""

    def loss(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The terms with their weights."""
        return torch.stack(list(terms.values())).sum()

    def observe(self, means: Mapping[str, Tensor]) -> None:
        """Called with the terms, means over all processes, before the loss is made of them, where all are finite."""

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Called before every step."""

    def describe(self, progress: Progress) -> Progress:
        """The progress, with what else there is to say."""
        return progress

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.counters[0])

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint of Lightning."""
        self.load_state_dict(checkpoint["state_dict"])
        self._optimizer_state = checkpoint["optimizer_states"][0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser, with the state of a resumed run."""
        optimizer = self.build_optimizer()
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        return optimizer

    def training_step(self, batch: Any, index: int) -> None:
        """Loss, gradient, and the optimiser's step where both are finite."""
        self._name(batch.skipped)
        optimizer: Any = self.optimizers()
        self.prepare(optimizer)
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        terms = self.terms(batch)
        means = self._means(terms)
        finite = all(bool(torch.isfinite(mean)) for mean in means.values())
        if finite:
            self.observe(means)
        optimizer.zero_grad()
        self.manual_backward(self.loss(terms))
        finite = finite and self._gradients_finite()
        if finite:
            optimizer.step()
        else:  # running statistics have seen what was not finite
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        self.counters += torch.tensor([1, not finite], device=self.counters.device)
        self._note(means, finite)

    def _means(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Over all processes; one of them is asked to stop, and all do so after the same step."""
        first = next(iter(terms.values())).detach()
        flags = torch.stack([first.new_tensor(float(self.asked_to_stop)), *(term.detach() for term in terms.values())])
        means: Tensor = self.trainer.strategy.reduce(flags, reduce_op="mean")
        self.stopping = bool(means[0] > 0)
        return dict(zip(terms, means[1:], strict=True))

    def _gradients_finite(self) -> bool:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return bool(torch.isfinite(nn.utils.get_total_norm(gradients)))

    def _note(self, means: Mapping[str, Tensor], finite: bool) -> None:
        loss = float(self.loss(means))
        terms = {name: float(mean) for name, mean in means.items()}
        step, skipped = self.counters.tolist()
        self.progress = self.describe(Progress(step, self.steps, loss, terms, skipped))
        self._bad_in_a_row = 0 if finite else self._bad_in_a_row + 1
        if not finite:
            logger.warning("step %d was left out: its loss or gradient is not finite", step)
        if self._bad_in_a_row == _PATIENCE:
            raise Stop(
                f"{self._function}: expected finite losses and gradients, got none in {_PATIENCE} steps in a row, the "
                f"last one step {step}: {', '.join(f'{name} {value:.3g}' for name, value in terms.items())}"
            )

    def _name(self, skipped: Iterable[str]) -> None:
        for line in skipped:
            if line not in self._named:
                self._named.add(line)
                logger.warning("skipped: %s", line)
