"""What a family says about its training: the loss of a step, the optimiser, and what it adds to the progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


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


class Training(nn.Module, ABC):
    """A network in training; a subclass gives the terms of the loss and the optimiser.

    Its state dict is what a checkpoint holds beside the optimiser's state: the network, the numbers of steps, and what
    a subclass registers.

    Attributes:
        rank: number of this process among all of them.
        counters: steps done, and steps left out.

    Args:
        network: to train.
        steps: of the whole training.
    """

    counters: Tensor

    def __init__(self, network: nn.Module, *, steps: int) -> None:
        super().__init__()
        self.network, self.steps, self.rank = network, steps, 0
        self._optimizer_state: dict[str, Any] | None = None
        self.register_buffer("counters", torch.zeros(2, dtype=torch.int64))

    @abstractmethod
    def build_optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of the network."""

    @abstractmethod
    def terms(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss, scalars, under the same names on all processes.

        Args:
            batch: what the data set's `collate` made, on the device of the network.
        """

    def loss(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The terms with their weights."""
        return torch.stack(list(terms.values())).sum()

    def observe(self, means: Mapping[str, Tensor]) -> None:
        """Called with the terms, means over all processes, before the loss is made of them, where all are finite."""

    def begin(self) -> None:
        """Called once before the first step, when the network is on its device."""

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Called before every step."""

    def describe(self, progress: Progress) -> Progress:
        """The progress of a step, to which a subclass may add."""
        return progress

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.counters[0])

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.counters.device

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss; gradients are averaged over processes for calls of the module, not of its methods."""
        return self.terms(batch)

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.load_state_dict(checkpoint["state_dict"])
        self._optimizer_state = checkpoint["optimizer_states"][0]

    def restored_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, with the state of a resumed run."""
        optimizer = self.build_optimizer()
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        return optimizer
