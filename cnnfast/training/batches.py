"""Which example is seen at which step: it depends on nothing but the seed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class TrainingBatches(Sampler[list[tuple[int, int]]]):
    """Keys of training examples, batch by batch, in a new order in every epoch.

    A key is (number of the example since the beginning of training, its index). Step s of N processes with batches of B
    takes the examples s N B to (s + 1) N B; process r takes every N-th of them, beginning with the r-th. So N processes
    together see the same examples as one process with batches of N B, and a run that is resumed at step s sees the same
    as one that was never interrupted.

    Args:
        examples: how many there are.
        batch_size: B, of each process.
        steps: number of all steps, those before `start` included.
        start: first step.
        seed: of the orders.
        rank: r.
        processes: N.

    Example:
        >>> from cnnfast.training.batches import TrainingBatches
        >>> whole = [key for batch in TrainingBatches(5, 4, 3) for key in batch]
        >>> halves = [list(TrainingBatches(5, 2, 3, rank=rank, processes=2)) for rank in (0, 1)]
        >>> sorted(halves[0][2] + halves[1][2]) == whole[8:12]
        True
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        steps: int,
        *,
        start: int = 0,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._examples, self._batch_size, self._steps, self._start = examples, batch_size, steps, start
        self._seed, self._rank, self._processes = seed, rank, processes

    def __len__(self) -> int:
        """Number of batches."""
        return max(0, self._steps - self._start)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """From the first step to the last."""
        epoch, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self._start, self._steps):
            begin = step * self._processes * self._batch_size + self._rank
            batch = []
            for ordinal in range(begin, begin + self._processes * self._batch_size, self._processes):
                if ordinal // self._examples != epoch:
                    epoch = ordinal // self._examples
                    generator = torch.Generator().manual_seed((self._seed * 999_983 + epoch) % 2**63)
                    order = torch.randperm(self._examples, generator=generator)
                batch.append((ordinal, int(order[ordinal % self._examples])))
            yield batch


def training_loader(
    dataset: Dataset[Any],
    batches: TrainingBatches,
    collate: Callable[[Sequence[Any]], Any],
    *,
    workers: int = 0,
    seed: int = 0,
) -> DataLoader[Any]:
    """A loader of the batches; the state of torch's global random generator is not changed.

    Args:
        dataset: of examples by their keys.
        batches: which keys come when.
        collate: examples to a batch.
        workers: processes that read; with 0 this one does.
        seed: of the random numbers of these processes.
    """
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        generator=generator,
        worker_init_fn=_ignore_ctrl_c,
    )


def _ignore_ctrl_c(_worker: int) -> None:
    """A terminal sends Ctrl-C to the workers too, but the training still needs a batch, and ends them itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
