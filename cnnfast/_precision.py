"""Tells the CUDA kernels PyTorch's setting of float32 matrix products.

C++ cannot read the setting through the stable ABI; it can call an operator when it starts a kernel. So a compiled or
exported program follows the setting of the time at which it runs, as PyTorch's own matrix products do. In a program
without Python the operator's implementation in ``csrc/ops.cpp`` answers: no TF32.
"""

from __future__ import annotations

import torch


def _allows_tf32() -> bool:
    """Whether products of float32 matrices on CUDA may be rounded to TF32."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# An operator without tensors is dispatched to BackendSelect first; C++ registers its default behind that.
_library = torch.library.Library("cnnfast", "IMPL")
_library.impl("_allows_tf32", _allows_tf32, "BackendSelect")
