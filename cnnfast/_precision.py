"""The operator by which the CUDA kernels read PyTorch's setting of float32 matrix products.

C++ cannot read the setting through the stable ABI; it can call an operator, when a kernel is started. So a compiled or
exported program follows the setting of the time at which it runs, as PyTorch's own matrix products do.
"""

from __future__ import annotations

import torch

_library = torch.library.Library("cnnfast", "FRAGMENT")
_library.define("_allows_tf32() -> bool")


def _allows_tf32() -> bool:
    """Whether products of float32 matrices on CUDA may be rounded to TF32."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


_library.impl("_allows_tf32", _allows_tf32, "CompositeExplicitAutograd")
