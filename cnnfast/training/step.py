"""What a family says about its training: the loss of a step, the optimiser, and what it adds to the progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast._checkpoint import damaged


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
        self._wanted = ""  # for messages about that state
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

    def restore(self, checkpoint: Mapping[str, Any], wanted: str) -> None:
        """Take up the state of a checkpoint.

        Raises:
            InputError: it is damaged; the message begins with what was wanted.
        """
        with damaged(wanted):
            self.load_state_dict(checkpoint["state_dict"])
            self._optimizer_state = checkpoint["optimizer_states"][0]
        self._wanted = wanted

    def restored_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, with the state of a resumed run."""
        optimizer = self.build_optimizer()
        if self._optimizer_state is not None:
            with damaged(self._wanted):
                usual = {key: type(value) for key, value in optimizer.param_groups[0].items()}
                optimizer.load_state_dict(self._optimizer_state)
                _check_optimizer(optimizer, usual)
            self._optimizer_state = None
        return optimizer


def _check_optimizer(optimizer: torch.optim.Optimizer, usual: Mapping[str, type]) -> None:
    """Check a loaded state, which torch takes whatever it holds: kinds of the settings, shapes of the tensors.

    Raises:
        ValueError: a setting is missing or of another kind than usual, or a tensor has not the parameter's shape.
    """
    for group in optimizer.param_groups:
        for key, kind in usual.items():
            alike = {int: (int, float), float: (int, float), type(None): (bool, type(None))}.get(kind, kind)
            value = group.get(key)
            beyond = isinstance(value, int | float) and not abs(value) < 2**63  # NaN, too
            if key not in group or beyond or not isinstance(value, alike):
                raise ValueError(f"expected {key} of type {kind.__name__}, got {value!r}")
        for parameter in group["params"]:
            for name, kept in optimizer.state.get(parameter, {}).items():
                if kept is None:  # before the first step with a momentum
                    continue
                if not isinstance(kept, Tensor) or (kept.dim() and kept.shape != parameter.shape):
                    got = list(kept.shape) if isinstance(kept, Tensor) else type(kept).__name__
                    raise ValueError(f"expected {name} {list(parameter.shape)}, got {got}")
