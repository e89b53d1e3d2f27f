"""One step of the training of a style network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnfast.models.style.feed_forward.data import Crops
from cnnfast.models.style.feed_forward.losses import TERMS, PerceptualLoss, TermWeights
from cnnfast.training.step import Progress, Training

if TYPE_CHECKING:
    from cnnfast.models.style.feed_forward.examples_network import TransformerNet
    from cnnfast.models.style.feed_forward.paper_network import JohnsonNet


@dataclass(frozen=True)
class TrainingProgress(Progress):
    """What a callback learns after every step; the terms are "content", "style" and "tv".

    Attributes:
        style_weight: at present.
    """

    style_weight: float

    def metrics(self) -> dict[str, float]:
        """Entries of a log."""
        return {**super().metrics(), "style_weight": self.style_weight}


class StyleTraining(Training):
    """A network in training; the losses' targets and their weights are part of its state dict.

    Args:
        network: to train.
        losses: content, style and smoothness.
        weights: of these.
        lr: of Adam.
        steps: of the whole training.
    """

    network: TransformerNet | JohnsonNet

    def __init__(
        self,
        network: TransformerNet | JohnsonNet,
        losses: PerceptualLoss,
        weights: TermWeights,
        *,
        lr: float,
        steps: int,
    ) -> None:
        super().__init__(network, steps=steps)
        self.losses, self.weights = losses, weights
        self._lr = lr

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), self._lr)

    def begin(self) -> None:
        """The extractor follows the network to its device."""
        self.losses.place(self.device)

    def terms(self, batch: Crops) -> dict[str, Tensor]:
        """Content, style and smoothness."""
        output = self.network(self.network.preprocess(batch.pictures))
        with torch.autocast(self.device.type, enabled=False):
            terms = self.losses(self.network.postprocess(output.float()), batch.pictures)
        return dict(zip(TERMS, terms, strict=True))

    def observe(self, means: Mapping[str, Tensor]) -> None:
        """The style's weight may depend on them."""
        self.weights.observe(torch.stack(list(means.values())))

    def loss(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The terms with their weights."""
        return self.weights(torch.stack(list(terms.values())))

    def describe(self, progress: Progress) -> TrainingProgress:
        """With the style's weight."""
        return TrainingProgress(**vars(progress), style_weight=float(self.weights.style_weight))
