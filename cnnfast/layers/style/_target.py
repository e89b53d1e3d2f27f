"""Base class of the losses against a captured target."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cnnfast.arguments.checks import finite_number


class TargetLoss(nn.Module):
    """Base of the losses that compare features with a target captured from other features.

    The target lives in the buffers named by `_targets`, which are None (and absent from the state_dict) until
    `capture` fills them; another `capture` replaces it. Loading a state_dict fills them as well, so that a fresh module
    can be restored.

    Args:
        weight: Factor of the loss.
        device: Device of the target; None keeps the device of the captured features.
        dtype: Dtype of the target; None keeps the dtype of the captured statistics.
    """

    _targets: ClassVar[tuple[str, ...]] = ("target",)

    def __init__(
        self, weight: float = 1.0, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.weight = finite_number(type(self).__name__, "weight", weight)
        self._factory: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in self._targets:
            self.register_buffer(name, None)

    @property
    def captured(self) -> bool:
        """Whether there is a target to compare with."""
        return all(getattr(self, name) is not None for name in self._targets)

    def reset_parameters(self) -> None:
        """Forget the target."""
        for name in self._targets:
            setattr(self, name, None)

    def extra_repr(self) -> str:
        """Describe the options in the printed module."""
        return f"weight={self.weight:g}, captured={self.captured}"

    def _placed(self, statistic: Tensor) -> Tensor:
        """The statistic, detached, with the device and dtype given to the constructor.

        Under ``torch.inference_mode`` a copy that autograd may use: the target outlives that mode.
        """
        placed = statistic.detach().to(**self._factory)
        if not placed.is_inference():
            return placed
        with torch.inference_mode(False):
            return placed.clone()

    def _require_target(self) -> None:
        if not self.captured:
            name = type(self).__name__
            raise RuntimeError(
                f"{name}: expected a target, got none; call capture(features) or load a state_dict first"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self._targets:
            stored = state_dict.get(prefix + name)
            if stored is not None and getattr(self, name) is None:
                with torch.inference_mode(False):  # as in _placed
                    setattr(self, name, torch.empty_like(stored, **self._factory))
        super()._load_from_state_dict(state_dict, prefix, *args)
