"""Examples of a training: unreadable ones are skipped, and random changes depend on seed and number alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sized
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import Dataset

from cnnfast._errors import InputError

Batch = TypeVar("Batch")


class TrainingExamples(Dataset[Batch], ABC, Generic[Batch]):
    """A data set by the keys of :class:`~cnnfast.training.batches.TrainingBatches`.

    An example that cannot be read is skipped, and the next one taken. A subclass says how an example is read, and makes
    a batch of one from it; batches have an attribute `skipped`, a list of what was said about unreadable examples.

    What is said names the example, also where memory is short or a library fails.

    Attributes:
        unreadable: exceptions of an example that cannot be read or prepared; the first one is raised if none can.

    Args:
        data: has as many examples.
        name: of a function or class for messages.
        seed: of the random changes.

    Raises:
        Exception: the first of `unreadable`, if no example can be read, when one is asked for.
    """

    # A tensor that finds no memory is a RuntimeError.
    unreadable: tuple[type[Exception], ...] = (InputError, ValueError, OSError, RuntimeError, MemoryError)

    def __init__(self, data: Sized, name: str, seed: int) -> None:
        self._count, self._name, self._seed = len(data), name, seed

    @abstractmethod
    def read(self, index: int) -> Any:
        """An example; raises one of `unreadable` where it cannot be read."""

    @abstractmethod
    def prepare(self, example: Any, generator: torch.Generator, skipped: list[str]) -> Batch:
        """A batch of one example.

        Args:
            example: from `read`.
            generator: of the random numbers for this example.
            skipped: what was said about those that could not be read.
        """

    def describe(self, index: int) -> str:
        """An example's name for messages."""
        return f"example {index}"

    def __len__(self) -> int:
        """Number of examples, those included that cannot be read."""
        return self._count

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """A batch of one example."""
        ordinal, index = key
        skipped: list[str] = []
        for step in range(self._count):
            chosen = (index + step) % self._count
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + ordinal) % 2**63)
            try:
                return self.prepare(self.read(chosen), generator, skipped)
            except self.unreadable as error:
                name, what = self.describe(chosen), str(error) or type(error).__name__
                skipped.append(what if name in what else f"{name}: {what}")
        raise self.unreadable[0](f"{self._name}: expected a picture that can be read, got none; {skipped[0]}")
