"""What a family gives to a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from cnnfast.training.examples import TrainingExamples
from cnnfast.training.step import Training


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a family gives to a training.

    Attributes:
        function: that trains, for messages and checkpoints.
        examples: the pictures.
        collate: examples to a batch.
        build: number of all steps to network, loss and optimiser.
        settings: plain values that a resumed training must share.
        save: writes a network to a file, with settings of its training.
        find_unused: whether some steps leave parameters without a gradient.
    """

    function: str
    examples: TrainingExamples[Any]
    collate: Callable[[Sequence[Any]], Any]
    build: Callable[[int], Training]
    settings: Mapping[str, Any]
    save: Callable[[nn.Module, str | os.PathLike[str], Mapping[str, Any]], None]
    find_unused: bool = False
