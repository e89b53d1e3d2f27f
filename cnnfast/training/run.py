"""What the functions that train have in common: their arguments, and how a training begins and ends."""

from __future__ import annotations

from typing import Any

import torch

from cnnfast._extension import fast_dtype
from cnnfast.training.files import LOGGERS

AMP = ("auto", "bf16", "none")
"""Mixed precision: where the hardware is fast at it, always, never."""


def check_numbers(function: str, options: dict[str, Any]) -> None:
    """Refuse what no training takes.

    Raises:
        ValueError: names the option, what it wants and what it got.
    """
    for name in ("epochs", "batch_size", "checkpoint_every", "log_every", "devices", "nodes"):
        if options[name] < 1:
            raise ValueError(f"{function}: expected {name} of at least 1, got {options[name]}")
    if options["max_steps"] is not None and options["max_steps"] < 1:
        raise ValueError(f"{function}: expected max_steps of at least 1, got {options['max_steps']}")
    if options["workers"] < 0:
        raise ValueError(f"{function}: expected workers of at least 0, got {options['workers']}")
    if not 0 < options["lr"] < float("inf"):
        raise ValueError(f"{function}: expected a positive lr, got {options['lr']}")
    for name, allowed in (("amp", AMP), ("log_format", LOGGERS)):
        if options[name] not in allowed:
            raise ValueError(f"{function}: expected {name} among {', '.join(allowed)}, got {options[name]!r}")


def precision_for(amp: str, device: torch.device) -> torch.dtype:
    """The dtype of mixed precision that one of `AMP` means, or torch.float32.

    Example:
        >>> import torch
        >>> from cnnfast.training.run import precision_for
        >>> precision_for("bf16", torch.device("cpu"))
        torch.bfloat16
    """
    if amp == "auto":
        return fast_dtype(device)
    return torch.bfloat16 if amp == "bf16" else torch.float32
