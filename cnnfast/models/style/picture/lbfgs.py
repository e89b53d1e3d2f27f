"""Limited-memory BFGS over one picture, in matrix form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnnfast.models.style.picture.optimizer import Bounds, Evaluate, PictureOptimizer, State, check_shape
from cnnfast.models.style.picture.preconditioner import Preconditioner

HISTORY = 20
MAX_HALVINGS = 10
ARMIJO = 1e-4
CURVATURE = 1e-10
GROWTH = 10.0


class _Pairs(NamedTuple):
    """Rows of the history in use, oldest first, and the matrices S Y^T and Y Z^T of these pairs in float64."""

    slots: tuple[int, ...]
    sy: Tensor
    yz: Tensor


class _Memory(NamedTuple):
    """The gradient at the current picture and the pairs of earlier steps."""

    gradient: Tensor
    pairs: _Pairs


class _Verdict(NamedTuple):
    """Measurements of a trial point, and whether it is accepted."""

    loss: float
    finite: bool
    accepted: bool
    predicted: float
    sy: float
    yy: float
    gradient: float


class LBFGS(PictureOptimizer):
    r"""Limited-memory BFGS in compact form with an Armijo search, bounds by projection and recovery from NaN.

    The steps s_i = x_{i+1} - x_i and the products z_i = P y_i of the gradient changes y_i with a fixed preconditioner P
    are the rows of two matrices S and Z. With R the upper triangle of S Y^T, D its diagonal and gamma = s^T y / y^T z
    of the newest pair, the inverse Hessian times g is

        H g = gamma P g + S^T R^-T ((D + gamma Y Z^T) u - gamma Z g) - gamma Z^T u,   u = R^-1 S g,

    two passes over the history and a few products of history x history matrices, instead of 4 x history small kernels.
    The step is x' = clip(x - t H g), with t halved until f(x') <= f(x) + 1e-4 g^T (x' - x). Elements that sit on a
    bound with the gradient pushing outward are frozen for the step, and clipped elements leave the new pair. The first
    step is t = min(1, 1/|g|_1); a pair with s^T y <= 1e-10 y^T y is dropped. As long as there is no pair, because f
    curves downward along the steps, each accepted step makes the next one ten times as long.

    After a non-finite loss or gradient the last good x is kept, the history is cleared and the next step is a quarter
    as long; the fifth failure in a row raises. On CUDA one evaluation costs one synchronisation.

    Args:
        x: start, see :class:`PictureOptimizer`.
        evaluate: ``x -> (loss, gradient)``.
        history: number m of pairs; memory is 2 (m + 1) n values.
        bounds: ``(low, high)`` or None.
        preconditioner: multiplies a tensor shaped like ``x`` by P, a symmetric positive definite matrix close to the
            inverse Hessian up to a factor; None is the identity.
        describe_failure: text for the error after five failures.

    Raises:
        ValueError: ``history`` is not positive; see also :class:`PictureOptimizer`.

    Source: R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited
    memory methods", Math. Programming 63 (1994), theorem 2.2; the projection after D. P. Bertsekas, "Projected Newton
    methods for optimization problems with simple constraints", SIAM J. Control Optim. 20 (1982).

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.lbfgs import LBFGS
        >>> def evaluate(x):
        ...     d = x - torch.tensor([3.0, -1.0])
        ...     return (d * d).sum(), 2 * d
        >>> optimizer = LBFGS(torch.zeros(2), evaluate, bounds=(-2.0, 2.0))
        >>> for _ in range(20):
        ...     loss = optimizer.step()
        >>> [round(v, 4) for v in optimizer.result.tolist()]
        [2.0, -1.0]
    """

    def __init__(
        self,
        x: Tensor,
        evaluate: Evaluate,
        *,
        history: int = HISTORY,
        bounds: Bounds | None = None,
        preconditioner: Preconditioner | None = None,
        describe_failure: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(x, evaluate, bounds=bounds, describe_failure=describe_failure)
        if history < 1:
            raise ValueError(f"LBFGS: expected a history of at least 1, got {history}")
        self.history = history
        self._precondition = (lambda v: v) if preconditioner is None else preconditioner
        # One row more than pairs: a new pair never overwrites a row that the current state still needs.
        self._rows = x.new_zeros(history + 1, 2, x.numel())
        # The small matrices are cheap in float64, which all devices but MPS have.
        self._small = torch.float32 if x.device.type == "mps" else torch.float64
        self._state = self._state._replace(extra=_Memory(torch.zeros_like(self._state.x), self._no_pairs()))

    def _no_pairs(self) -> _Pairs:
        empty = self._rows.new_zeros(0, 0, dtype=self._small)
        return _Pairs((), empty, empty)

    def _free(self, x: Tensor, gradient: Tensor) -> Tensor | None:
        """Elements that may move: not on a bound, or on one with the descent direction pointing inward."""
        if self._bounds is None:
            return None
        low, high = self._bounds
        return ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))

    def _inner(self, slots: tuple[int, ...], vector: Tensor) -> Tensor:
        """Inner products of the rows in use, s and z, with a vector: [pairs, 2]."""
        s, z = self._rows[: max(slots) + 1].unbind(1)
        products = torch.stack([s @ vector.reshape(-1), z @ vector.reshape(-1)], 1)
        return products[list(slots)].to(self._small)

    def _direction(self, pairs: _Pairs, gradient: Tensor) -> Tensor:
        """-H g, or -P g while there are no pairs."""
        if not pairs.slots:
            return -self._precondition(gradient)
        products = self._inner(pairs.slots, gradient)
        r, d = torch.triu(pairs.sy), pairs.sy.diagonal()
        gamma = d[-1] / pairs.yz[-1, -1]
        u = torch.linalg.solve_triangular(r, products[:, :1], upper=True)
        inner = d[:, None] * u + gamma * (pairs.yz @ u - products[:, 1:])
        weights = torch.cat([torch.linalg.solve_triangular(r.T, inner, upper=False), -gamma * u], dim=1)
        used = max(pairs.slots) + 1
        # Unused rows get the coefficient zero; their values are finite, so they add nothing.
        coefficients = torch.zeros(used, 2, dtype=gradient.dtype, device=gradient.device)
        coefficients[list(pairs.slots)] = weights.to(gradient.dtype)
        s, z = self._rows[:used].unbind(1)
        past = coefficients[:, 0] @ s + coefficients[:, 1] @ z
        return -(gamma.to(gradient.dtype) * self._precondition(gradient) + past.view_as(gradient))

    def _remember(self, pairs: _Pairs, s: Tensor, y: Tensor) -> _Pairs:
        slots = pairs.slots
        sy, yz = pairs.sy, pairs.yz
        if len(slots) == self.history:
            slots, sy, yz = slots[1:], sy[1:, 1:], yz[1:, 1:]
        slot = next(i for i in range(self.history + 1) if i not in pairs.slots)
        self._rows[slot, 0] = s.view(-1)
        self._rows[slot, 1] = self._precondition(y).reshape(-1)
        slots = (*slots, slot)
        # One call gives s_i^T y and z_i^T y of the new y with every pair.
        products = self._inner(slots, y)
        new_sy = torch.zeros(len(slots), len(slots), dtype=sy.dtype, device=sy.device)
        new_yz = torch.zeros_like(new_sy)
        new_sy[:-1, :-1], new_yz[:-1, :-1] = sy, yz
        # Only the upper triangle of S Y^T enters the formula, so the new row is never needed.
        new_sy[:, -1] = products[:, 0]
        new_yz[:, -1] = new_yz[-1, :] = products[:, 1]
        return _Pairs(slots, new_sy, new_yz)

    def _start(self, state: State) -> State:
        loss, gradient = self._evaluate(state.x)
        if not bool(torch.isfinite(loss) & torch.isfinite(gradient).all()):
            return self._failed(state, state.extra)
        memory = _Memory(gradient.detach().clone(), state.extra.pairs)
        return state._replace(loss=float(loss), failures=0, scale=1.0, extra=memory)

    def step(self) -> float:
        """One iteration: a direction, a line search of up to ten halvings, an update of the history."""
        if math.isnan(self._state.loss):
            started = self._start(self._state)
            if math.isnan(started.loss):
                self._state = started
                return started.loss
            self._state = started
        if not self._state.stalled:
            self._state = self._search(self._state)
        else:
            self._state = self._state._replace(iterations=self._state.iterations + 1)
        return self._state.loss

    def _search(self, state: State) -> State:
        x, (gradient, pairs) = state.x, state.extra
        forgetful = _Memory(gradient, self._no_pairs())
        free = self._free(x, gradient)
        masked = gradient if free is None else gradient * free
        direction = self._direction(pairs, masked)
        if free is not None:
            direction = direction * free
        length: Tensor | float = state.scale
        if not pairs.slots:
            length = torch.clamp(1 / direction.abs().sum(), max=1.0) * state.scale
        steepest = masked.abs().max()
        for halving in range(MAX_HALVINGS + 1):
            trial = self._project(torch.add(x, direction * (length * 0.5**halving)))
            loss, new_gradient = self._evaluate(trial)
            new_gradient = new_gradient.detach().clone()
            s, y, verdict = self._judge(state, trial, loss, new_gradient, steepest)
            if verdict.gradient == 0:
                return state._replace(stalled=True, iterations=state.iterations + 1)
            if not verdict.finite:
                return self._failed(state, forgetful)
            if verdict.accepted:
                kept = self._remember(pairs, s, y) if verdict.sy > CURVATURE * verdict.yy else pairs
                scale = 1.0 if kept.slots else GROWTH * state.scale
                memory = _Memory(new_gradient, kept)
                return State(trial, verdict.loss, state.iterations + 1, 0, scale, False, memory)
            if verdict.predicted >= 0 and pairs.slots:
                break
        # Where even steepest descent finds no lower value, changes of f are below its rounding error.
        stalled = not pairs.slots and state.scale <= 1
        return state._replace(extra=forgetful, stalled=stalled, scale=1.0, iterations=state.iterations + 1)

    def _judge(
        self, state: State, trial: Tensor, loss: Tensor, gradient: Tensor, steepest: Tensor
    ) -> tuple[Tensor, Tensor, _Verdict]:
        """The new pair and the measurements of a trial point, fetched from the device in one transfer."""
        s, y = trial - state.x, gradient - state.extra.gradient
        predicted = torch.dot(state.extra.gradient.view(-1), s.view(-1))
        if self._bounds is not None:
            low, high = self._bounds
            inside = (trial > low) & (trial < high)
            s, y = s * inside, y * inside
        finite = torch.isfinite(loss) & torch.isfinite(gradient).all()
        sy, yy = torch.dot(s.view(-1), y.view(-1)), torch.dot(y.view(-1), y.view(-1))
        numbers = [v.detach().to(self._small) for v in (loss, finite, predicted, sy, yy, steepest)]
        value, is_finite, expected, sy_value, yy_value, largest = torch.stack(numbers).tolist()
        noise = 4 * torch.finfo(loss.dtype).eps * abs(state.loss)
        accepted = expected < 0 and value <= state.loss + ARMIJO * expected + noise
        return s, y, _Verdict(value, bool(is_finite), accepted, expected, sy_value, yy_value, largest)

    def state_dict(self) -> dict[str, Any]:
        """State as plain tensors and numbers; the history holds the pairs in use, oldest first."""
        state, saved = self._common_state()
        gradient, pairs = state.extra
        saved |= {"history": self.history, "slots": list(pairs.slots), "sy": pairs.sy.clone(), "yz": pairs.yz.clone()}
        saved["gradient"] = gradient.clone()
        saved["rows"] = self._rows[list(pairs.slots)]
        return saved

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue bit for bit from :meth:`state_dict`; raises ValueError for another shape or history."""
        fields = self._load_common(saved)
        if saved["history"] != self.history:
            raise ValueError(f"LBFGS: expected a state with history {self.history}, got {saved['history']}")
        slots = tuple(saved["slots"])
        if len(set(slots)) < len(slots) or any(
            type(slot) is not int or not 0 <= slot <= self.history for slot in slots
        ):
            raise ValueError(f"LBFGS: expected different slots of 0..{self.history}, got {saved['slots']}")
        count = len(slots)
        rows = check_shape(saved, "rows", (count, *self._rows.shape[1:]))
        small = [check_shape(saved, key, (count, count)) for key in ("sy", "yz")]
        gradient = check_shape(saved, "gradient", fields["x"].shape)
        self._rows.zero_()
        self._rows[list(slots)] = rows.to(self._rows)
        sy, yz = (matrix.to(self._rows.device, self._small, copy=True) for matrix in small)
        memory = _Memory(gradient.to(fields["x"], copy=True), _Pairs(slots, sy, yz))
        self._state = State(**fields, extra=memory)
