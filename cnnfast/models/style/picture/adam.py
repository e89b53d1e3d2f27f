"""Adam over one picture, clamped, with an exponential mean of the iterates as result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cnnfast.models.style.picture.optimizer import Bounds, Evaluate, PictureOptimizer, State, check_shape

_ADAM = ("step", "exp_avg", "exp_avg_sq")  # names of the state of torch's Adam


class _Moments(NamedTuple):
    """Adam's own state after a step, the running mean of the iterates, and the last picture with a finite loss."""

    adam: dict[str, Any]
    average: Tensor
    steps: int
    good: Tensor


class Adam(PictureOptimizer):
    """``torch.optim.Adam`` with the iterate clamped after every step and an exponential mean of the iterates as result.

    The result is a_t / (1 - decay^t), a_t = decay a_{t-1} + (1 - decay) x_t, which removes the jitter of a constant
    learning rate. Memory is 6 n values, a seventh of :class:`~cnnfast.models.style.picture.lbfgs.LBFGS` with a history
    of 20.

    After a non-finite loss or gradient the last good x is restored, the moments are cleared and the learning rate is a
    quarter until the next finite one; the fifth failure in a row raises.

    Args:
        x: start, see :class:`PictureOptimizer`.
        evaluate: ``x -> (loss, gradient)``.
        lr: learning rate, in units of x.
        betas: decay of the first and second moments.
        decay: of the exponential mean of the iterates, in [0, 1); with 0 the result is the newest iterate.
        bounds: ``(low, high)`` or None.
        describe_failure: text for the error after five failures.

    Raises:
        ValueError: ``decay`` is outside [0, 1); see also :class:`PictureOptimizer`.

    Source: D. P. Kingma, J. Ba, "Adam: A method for stochastic optimization", ICLR 2015; the mean of the iterates after
    B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30,
    1992.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.picture.adam import Adam
        >>> optimizer = Adam(torch.ones(3), lambda x: ((x * x).sum(), 2 * x), decay=0.9)
        >>> for _ in range(300):
        ...     loss = optimizer.step()
        >>> bool(optimizer.result.abs().max() < 1e-2)
        True
    """

    def __init__(
        self,
        x: Tensor,
        evaluate: Evaluate,
        *,
        lr: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: float = 0.99,
        bounds: Bounds | None = None,
        describe_failure: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(x, evaluate, bounds=bounds, describe_failure=describe_failure)
        if not 0 <= decay < 1:
            raise ValueError(f"Adam: expected a decay in [0, 1), got {decay}")
        self._lr, self._betas, self._decay = lr, betas, decay
        self._state = self._state._replace(extra=self._no_moments())

    def _no_moments(self) -> _Moments:
        return _Moments({}, torch.zeros_like(self._state.x), 0, self._state.x)

    def step(self) -> float:
        """One evaluation and one update; the loss belongs to the picture before the update."""
        state = self._state
        loss, gradient = self._evaluate(state.x)
        finite = torch.isfinite(loss) & torch.isfinite(gradient).all()
        value, is_finite = torch.stack([loss.detach(), finite.to(loss.dtype)]).tolist()
        if not is_finite:
            self._state = self._failed(state._replace(x=state.extra.good), state.extra._replace(adam={}))
            return state.loss
        x, moments = self._update(state, gradient)
        self._state = State(x, value, state.iterations + 1, 0, 1.0, False, moments)
        return value

    def _update(self, state: State, gradient: Tensor) -> tuple[Tensor, _Moments]:
        parameter = torch.nn.Parameter(state.x.clone())
        parameter.grad = gradient.detach()
        adam = torch.optim.Adam([parameter], lr=self._lr * state.scale, betas=self._betas)
        moments = state.extra
        if moments.adam:
            adam.state[parameter] = {key: value.clone() for key, value in moments.adam.items()}
        adam.step()
        x = self._project(parameter.detach())
        average = torch.lerp(moments.average, x, 1 - self._decay)
        return x, _Moments(dict(adam.state[parameter]), average, moments.steps + 1, state.x)

    def warm_start(self, previous: Adam) -> None:
        """Take over the moments and the step count of an optimiser of another size, x [C,H,W], before the first step.

        First moments are enlarged bicubically, second ones bilinearly, so that they stay positive. The mean of the
        iterates starts from nothing.
        """
        height, width = self._state.x.shape[-2:]
        adam = {}
        for key, value in previous._state.extra.adam.items():
            if value.dim() == 3:
                mode = "bicubic" if key == "exp_avg" else "bilinear"
                value = functional.interpolate(value[None], (height, width), mode=mode, align_corners=False)[0]
            adam[key] = value.clone()
        self._state = self._state._replace(extra=self._state.extra._replace(adam=adam))

    @property
    def result(self) -> Tensor:
        """Bias-corrected mean of the iterates; the start before the first step."""
        state = self._state
        if state.extra.steps == 0:
            return state.x
        return self._project(state.extra.average / (1 - self._decay**state.extra.steps))

    def state_dict(self) -> dict[str, Any]:
        """State as plain tensors and numbers."""
        state, saved = self._common_state()
        moments = state.extra
        saved["adam"] = {key: value.clone() for key, value in moments.adam.items()}
        saved |= {"average": moments.average.clone(), "count": moments.steps, "good": moments.good.clone()}
        return saved

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue bit for bit from :meth:`state_dict`; raises ValueError for another shape."""
        fields = self._load_common(saved)
        x = fields["x"]
        # Adam keeps its step count on the CPU whatever the device of the parameter.
        adam = {key: value.to("cpu" if key == "step" else x.device, copy=True) for key, value in saved["adam"].items()}
        for key in adam:
            check_shape(adam, key, () if key == "step" else x.shape)
        average, good = (check_shape(saved, key, x.shape).to(x, copy=True) for key in ("average", "good"))
        if type(saved["count"]) is not int or saved["count"] < 0 or (adam and set(adam) != set(_ADAM)):
            raise ValueError(f"Adam: expected a count and {', '.join(_ADAM)}, got {saved['count']!r} and {list(adam)}")
        self._state = State(**fields, extra=_Moments(adam, average, saved["count"], good))
