"""Base of the optimisers over one picture: bounds, recovery from non-finite values, states that survive interrupts.

They minimise ``f(x)`` over a single tensor ``x`` of any shape, under optional bounds ``low <= x <= high``. Every
``step`` builds the next state beside the current one and replaces it in one assignment. An exception at any moment, for
instance a ``KeyboardInterrupt``, therefore leaves a state that can be saved and resumed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnnfast._errors import DivergedError

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
Bounds = tuple[Tensor | float, Tensor | float]

MAX_FAILURES = 5


class State(NamedTuple):
    """All that an iteration passes to the next; replaced as a whole, never changed in place."""

    x: Tensor
    loss: float
    iterations: int
    failures: int
    scale: float
    stalled: bool
    extra: Any


class PictureOptimizer(ABC):
    """Base class of the optimisers.

    Args:
        x: start, floating point, any shape with at least one element; copied and clamped into the bounds.
        evaluate: maps a tensor shaped like ``x`` to ``(loss, gradient)``, a scalar and a tensor shaped like ``x``.
        bounds: ``(low, high)``, numbers or tensors that broadcast against ``x``, or None.
        describe_failure: called after a non-finite evaluation; its text, such as a layer's name, is part of the error.

    Raises:
        ValueError: ``x`` is empty or a lower bound exceeds its upper bound.
        TypeError: ``x`` is not floating point.
        RuntimeError: (from :meth:`step`) five evaluations in a row gave a NaN or an infinity.
    """

    def __init__(
        self,
        x: Tensor,
        evaluate: Evaluate,
        *,
        bounds: Bounds | None = None,
        describe_failure: Callable[[], str] | None = None,
    ) -> None:
        name = type(self).__name__
        if not x.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point x, got {x.dtype}")
        if x.numel() == 0:
            raise ValueError(f"{name}: expected x with at least one element, got shape {tuple(x.shape)}")
        self._evaluate = evaluate
        self._describe_failure = describe_failure
        self._bounds: tuple[Tensor, Tensor] | None = None
        if bounds is not None:
            low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in bounds)
            if bool((low > high).any()):
                raise ValueError(f"{name}: expected bounds with low <= high, got a low above its high")
            self._bounds = (low, high)
        start = self._project(x.detach().clone(memory_format=torch.contiguous_format))
        self._state = State(start, math.nan, 0, 0, 1.0, False, None)

    def _project(self, x: Tensor) -> Tensor:
        return x if self._bounds is None else torch.clamp(x, *self._bounds)

    def _failed(self, state: State, extra: Any) -> State:
        """State after a non-finite evaluation: the last good picture and a quarter of the step length."""
        failures = state.failures + 1
        if failures >= MAX_FAILURES:
            where = f" in {self._describe_failure()}" if self._describe_failure is not None else ""
            raise DivergedError(
                f"{type(self).__name__}: expected a finite loss and gradient, got a NaN or infinity{where} "
                f"{failures} times in a row"
            )
        return state._replace(failures=failures, scale=state.scale / 4, extra=extra, iterations=state.iterations + 1)

    @abstractmethod
    def step(self) -> float:
        """One iteration; returns the loss of the newest accepted picture (NaN before the first)."""

    @property
    def result(self) -> Tensor:
        """The current result, shaped like ``x``."""
        return self._state.x

    @property
    def loss(self) -> float:
        """Loss of the newest accepted picture; NaN before the first evaluation."""
        return self._state.loss

    @property
    def iterations(self) -> int:
        """Calls of :meth:`step` so far."""
        return self._state.iterations

    @property
    def stalled(self) -> bool:
        """Whether no step can lower the loss any more: the gradient is zero or below the rounding error."""
        return self._state.stalled

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers that continue the run bit for bit; loads with ``torch.load(weights_only=True)``."""

    @abstractmethod
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict` of an optimiser of the same kind, shape and settings."""

    def _common_state(self) -> tuple[State, dict[str, Any]]:
        state = self._state
        saved = {key: value for key, value in state._asdict().items() if key != "extra"}
        saved["x"] = state.x.clone()
        saved["kind"] = type(self).__name__
        return state, saved

    def _load_common(self, saved: dict[str, Any]) -> dict[str, Any]:
        name, x = type(self).__name__, self._state.x
        if saved.get("kind") != name:
            raise ValueError(f"{name}: expected the state of a {name}, got one of {saved.get('kind')}")
        if saved["x"].shape != x.shape:
            raise ValueError(f"{name}: expected a state of shape {tuple(x.shape)}, got {tuple(saved['x'].shape)}")
        kinds = {"loss": float, "iterations": int, "failures": int, "scale": float, "stalled": bool}
        for key, kind in kinds.items():
            if type(saved[key]) is not kind:
                raise ValueError(f"{name}: expected {key} of type {kind.__name__}, got {saved[key]!r}")
        return {"x": saved["x"].to(x, copy=True), **{key: saved[key] for key in kinds}}


def check_shape(saved: Mapping[str, Any], key: str, shape: Sequence[int]) -> Tensor:
    """The tensor of a saved state under a key.

    Raises:
        ValueError: it is no tensor of this shape.
    """
    value = saved[key]
    if not isinstance(value, Tensor) or value.shape != tuple(shape):
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"expected {key} as a tensor {list(shape)}, got {got}")
    return value
