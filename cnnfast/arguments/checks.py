"""Checks of arguments that all families of operators share.

Each raises one sentence, ``function: expected <what>, got <value>``. They are plain branches on shapes, dtypes and
devices, which ``torch.compile(fullgraph=True)`` turns into guards (it refuses a message of ``torch._check`` that
mentions a tensor).
"""

from __future__ import annotations

import math
import operator

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FLOATING_NAMES = "float64, float32, bfloat16 or float16"


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype in which sums over positions are formed: float64 for float64, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def has_values(tensor: Tensor) -> bool:
    """Whether reading a value is possible here: false while tracing, transforming, or recording a CUDA graph."""
    if torch.compiler.is_compiling() or type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_meta:
        return False
    if torch._C._are_functorch_transforms_active() or _get_current_dispatch_mode() is not None:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def check_tensor(function: str, tensor: Tensor, name: str) -> None:
    """Raise TypeError unless the argument is a dense tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{function}: expected {name} a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{function}: expected a dense {name}, got layout {tensor.layout}")


def check_floating(function: str, tensor: Tensor, name: str) -> None:
    """Raise TypeError unless the argument is a dense tensor of a supported floating dtype."""
    check_tensor(function, tensor, name)
    if tensor.dtype not in FLOATING:
        raise TypeError(f"{function}: expected {name} of dtype {FLOATING_NAMES}, got {tensor.dtype}")


def check_device(function: str, tensor: Tensor, x: Tensor, name: str, x_name: str = "x") -> None:
    """Raise ValueError unless the tensor is on the device of x."""
    if tensor.device != x.device:
        raise ValueError(f"{function}: expected {name} on {x.device} like {x_name}, got {tensor.device}")


def check_word(function: str, name: str, word: str, words: tuple[str, ...]) -> None:
    """Raise ValueError unless the word is one of those known."""
    if word not in words:
        listed = ", ".join(f'"{known}"' for known in words)
        raise ValueError(f"{function}: expected {name} one of {listed}, got {word!r}")


def number(value: object) -> int | float | None:
    """A number of any kind as Python's own, None for anything else: those of NumPy and tensors without axes count."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (np.generic, np.ndarray, Tensor)) and value.ndim == 0:
        item = value.item()
        return item if isinstance(item, (int, float)) and not isinstance(item, bool) else None
    return None


def whole_number(value: object) -> int | None:
    """An integer of any kind as Python's own (or a compiler's symbol), None for anything else.

    Example:
        >>> import numpy as np
        >>> from cnnfast.arguments.checks import whole_number
        >>> whole_number(np.int64(9)), whole_number(9.0), whole_number(True)
        (9, None, None)
    """
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, torch.SymInt)):
        return value  # type: ignore[return-value]
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        value = number(value)
        return value if isinstance(value, int) else None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def check_flag(function: str, name: str, value: object) -> None:
    """Raise TypeError unless the value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{function}: expected {name} True or False, got {value!r}")


def finite_number(function: str, name: str, value: object, shape: str = "") -> float:
    """The value of an argument that is a finite number, where a tensor of some shape may do as well.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite.
    """
    found = number(value)
    if found is None:
        other = f" or a tensor of shape {shape}" if shape else ""
        raise TypeError(f"{function}: expected {name} a number{other}, got {value!r}")
    if not -math.inf < found < math.inf:  # math.isfinite does not trace
        raise ValueError(f"{function}: expected a finite {name}, got {value!r}")
    return float(found)


def number_from_zero(function: str, name: str, value: object) -> float:
    """The value of an argument that is a finite number of at least 0, such as the weight of a loss.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite, or negative.
    """
    found = finite_number(function, name, value)
    if found < 0:
        raise ValueError(f"{function}: expected {name} of at least 0, got {value!r}")
    return found
