"""Decides whether a call goes to a compiled operator or to its plain PyTorch twin."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast import _extension
from cnnfast._errors import DeviceError

_KERNEL_DEVICES = ("cpu", "cuda", "meta")


def takes_twin(function: str, x: Tensor) -> bool:
    """Whether the twin must answer: no kernel exists for x's device, or a transform is active that operators lack.

    Operators have autograd and vmap rules; ``torch.func`` gradients and forward-mode AD pass through a registered
    operator without its derivative, so these go through the twin, which PyTorch differentiates itself.

    Raises:
        RuntimeError: x is on a CUDA device and this installation has no CUDA kernels, or none for that GPU.
    """
    if not isinstance(x, Tensor) or x.device.type not in _KERNEL_DEVICES:
        return True  # the twin raises the error for an x that is not a tensor
    if x.device.type == "cuda" and _extension.cuda_error:
        raise DeviceError(f"{function}: x is on {x.device}, but {_extension.cuda_error}")
    if torch.compiler.is_compiling():
        return False
    if x.device.type == "cuda" and (error := _extension.cuda_device_error(x.device.index)):
        raise DeviceError(f"{function}: x is on {x.device}, but {error}")
    return torch.autograd.forward_ad._current_level >= 0 or _differentiating_transform()


def may_need_gradient(tensor: Tensor | None) -> bool:
    """Whether a gradient of the tensor may be needed; under a transform, requires_grad does not tell."""
    return tensor is not None and (tensor.requires_grad or torch._C._are_functorch_transforms_active())


def _differentiating_transform() -> bool:
    if not torch._C._are_functorch_transforms_active():
        return False
    vmap = torch._C._functorch.TransformType.Vmap
    stack = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() != vmap for level in stack)
