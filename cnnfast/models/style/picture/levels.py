"""A run that optimises a picture from coarse to fine: levels, tiles, progress and checkpoints."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from cnnfast._checkpoint import check_settings, damaged
from cnnfast._errors import InputError
from cnnfast._extension import default_device
from cnnfast.models.style.picture.checkpoint import KINDS, checkpoint_format, load_checkpoint
from cnnfast.models.style.picture.memory import plan_tile
from cnnfast.models.style.picture.objective import PictureObjective
from cnnfast.models.style.picture.optimizer import PictureOptimizer


@dataclass(frozen=True)
class RunProgress:
    """Argument of a callback after every iteration.

    Attributes:
        level: 1 for the coarsest.
        levels: number of levels.
        iteration: iterations done on this level.
        iterations: iterations planned for this level; it ends earlier when no step lowers the loss any more.
        loss: relative loss: 1 for a picture whose features are all zero, 0 for a perfect match.
        size: (height, width) of this level's picture.
        image: call it for the current picture [3,H,W] in [0,1], a copy.
        checkpoint: call it for a dict from which the run resumes and which loads with
            ``torch.load(weights_only=True)``. It remains usable after an exception has ended the run.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    loss: float
    size: tuple[int, int]
    image: Callable[[], Tensor]
    checkpoint: Callable[[], dict[str, Any]]


Callback = Callable[[RunProgress], None]


class AnyLevel(Protocol):
    """One step of a schedule."""

    @property
    def picture(self) -> tuple[int, int]:
        """(height, width) of the picture."""

    @property
    def iterations(self) -> int:
        """Number of iterations."""


Objective = TypeVar("Objective", bound=PictureObjective)
LevelKind = TypeVar("LevelKind", bound=AnyLevel)


class LevelRun(ABC, Generic[Objective, LevelKind]):
    """One run over all levels.

    `_position` is the level and its optimiser, replaced in one assignment so that every checkpoint is consistent.

    Args:
        kind: kind of the checkpoints, see :mod:`~cnnfast.models.style.picture.checkpoint`.
        network: the feature network of the objective.
        objective: to minimise; a level's targets are captured by `_begin`.
        plan: levels, coarse to fine.
        tiles: px of a tile or None, for each level.
        callback: called after every iteration.
    """

    def __init__(
        self,
        kind: str,
        network: nn.Module,
        objective: Objective,
        plan: Sequence[LevelKind],
        tiles: Sequence[int | None],
        callback: Callback | None,
    ) -> None:
        self._kind, self._network, self._objective = kind, network, objective
        self._plan, self._tiles, self._callback = plan, tiles, callback
        self._position: tuple[int, PictureOptimizer] | None = None
        self._history: list[list[float]] = []

    def run(self, resume: str | os.PathLike[str] | Mapping[str, Any] | None) -> Tensor:
        """Run all levels, or those that remain after a checkpoint; the result is [3,H,W] in [0,1]."""
        index, picture, previous = 0, None, None
        checkpoint = None if resume is None else load_checkpoint(resume, self._kind)
        if checkpoint is not None:
            name = KINDS[self._kind][1]
            wanted = f"{name}: expected a whole checkpoint{'' if isinstance(resume, Mapping) else f' in {resume}'}"
            with damaged(wanted):
                saved, present = _without_iterations(checkpoint["settings"]), _without_iterations(self._fingerprints)
                check_settings(name, saved, present)
                index, picture = checkpoint["level"], checkpoint["optimizer"]["x"]
                self._history = [[int(level), int(i), float(loss)] for level, i, loss in checkpoint["history"]]
                if type(index) is not int or not 0 <= index < len(self._plan):
                    raise InputError(f"{wanted}, got one of level {index!r}")
        try:
            while index < len(self._plan):
                if checkpoint is None:
                    optimizer = self._begin(index, picture, previous)
                else:
                    with damaged(wanted):
                        optimizer = self._begin(index, picture, previous)
                        optimizer.load_state_dict(checkpoint["optimizer"])
                    checkpoint = None
                self._position = (index, optimizer)
                self._optimize(index, optimizer)
                index, picture, previous = index + 1, optimizer.result, optimizer
        finally:
            self._objective.restore()
        return self._shown(optimizer.result)

    @abstractmethod
    def _begin(self, index: int, picture: Tensor | None, previous: PictureOptimizer | None) -> PictureOptimizer:
        """Capture the targets of a level and make its optimiser.

        Args:
            index: of the level.
            picture: result of the level before, or None to start anew.
            previous: optimiser of the level before; None when resuming.
        """

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """All that the result depends on, as plain values; a checkpoint resumes only where they are equal."""

    def _shown(self, picture: Tensor) -> Tensor:
        """The optimiser's picture as the caller gets it."""
        return picture.clamp(0, 1).expand(3, -1, -1).clone()

    def _optimize(self, index: int, optimizer: PictureOptimizer) -> None:
        level = self._plan[index]
        while optimizer.iterations < level.iterations and not optimizer.stalled:
            loss = self._objective.relative(optimizer.step())
            self._history.append([index + 1, optimizer.iterations, loss])
            if self._callback is not None:
                self._callback(
                    RunProgress(
                        index + 1,
                        len(self._plan),
                        optimizer.iterations,
                        level.iterations,
                        loss,
                        level.picture,
                        self._present,
                        self._checkpoint,
                    )
                )

    def _present(self) -> Tensor:
        assert self._position is not None
        return self._shown(self._position[1].result)

    def _checkpoint(self) -> dict[str, Any]:
        assert self._position is not None
        level, optimizer = self._position
        return {
            "format": checkpoint_format(self._kind),
            "settings": self._fingerprints,
            "level": level,
            "optimizer": optimizer.state_dict(),
            "history": [list(entry) for entry in self._history],
        }

    @cached_property
    def _fingerprints(self) -> dict[str, Any]:
        return self._describe()


def _without_iterations(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a continued run must share: it may have more iterations, or fewer, than planned at first."""
    return {**settings, "plan": [row[:-1] for row in settings["plan"]]}


def plan_tiles(
    function: str,
    network: nn.Module,
    levels: Iterable[Sequence[tuple[str, tuple[int, int]]]],
    tile: int | str | None,
    optimizer: str,
    *,
    channels: int,
) -> list[int | None]:
    """Px of a tile for each level, None for no tiles, chosen before the first level starts.

    Args:
        function: name for messages.
        network: see :func:`~cnnfast.models.style.picture.memory.plan_tile`.
        levels: for each level the name and (height, width) of every picture that goes through the network.
        tile: px, None, or "auto" to choose by the free memory.
        optimizer: name of the picture's optimiser.
        channels: number of channels of the picture.

    Raises:
        ValueError: a picture that does not fit into the memory, or is smaller than the network takes.
    """
    smallest = getattr(network, "minimum_size", 1)
    tiles: list[int | None] = []
    for pictures in levels:
        for name, (height, width) in pictures:
            if min(height, width) < smallest:
                raise InputError(
                    f"{function}: expected a {name} of at least {smallest} px on every level, got {height}x{width} px"
                )
        chosen = [plan_tile(function, network, size, tile, optimizer, channels=channels) for _, size in pictures]
        tiles.append(min((px for px in chosen if px is not None), default=None))
    return tiles


def choose_device(image: object, device: torch.device | str | None) -> torch.device:
    """The given device, else that of a tensor, else a GPU for which there are kernels, else the CPU."""
    if device is not None:
        return torch.device(device)
    if isinstance(image, Tensor):
        return image.device
    return default_device()
