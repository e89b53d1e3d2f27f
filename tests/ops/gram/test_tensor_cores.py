"""The Gram functions where tensor cores may compute them: halves, and float32 if it may be rounded to TF32."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops
from tests.ops.tensors import random_tensor, relative_error

pytestmark = pytest.mark.emulated
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
GRADIENT = {torch.float32: 5e-6, torch.bfloat16: 5e-3, torch.float16: 1e-3}
LAYOUTS = {"rows": lambda x: x, "columns": lambda x: x.mT.contiguous().mT}
# Rows that begin at multiples of 16 bytes, and others.
SHAPES = [(2, 72, 136), (1, 130, 264), (1, 65, 99)]


@pytest.fixture
def allow_tf32():
    """Sets PyTorch's precision of float32 matrix products for the test."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def rounds_to_tf32(request, device):
    """Whether the setting changes anything: on the CPU it does not."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return request.node.callspec.params["device"] == "emulated"


def value_and_gradient(x, target):
    x = x.detach().requires_grad_()
    gram = ops.gram_matrix(x)
    return gram.detach(), *torch.autograd.grad((gram * target).sum(), x)


def errors(x):
    """Relative errors of the Gram matrix and of a gradient against float64."""
    target = random_tensor(x.shape[1], x.shape[1], device=x.device, seed=1)
    target = target * x.shape[2] / x.shape[1] ** 0.5  # gradients near one
    found, exact = value_and_gradient(x, target.float()), value_and_gradient(x.double(), target)
    return [relative_error(a, e) for a, e in zip(found, exact, strict=True)]


@pytest.mark.compute_sanitizer
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
class TestTensorCores:
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_exact_by_default(self, device, dtype, layout, shape):
        value, gradient = errors(LAYOUTS[layout](random_tensor(*shape, dtype=dtype, device=device)))
        assert value <= 1e-6 and gradient <= GRADIENT[dtype]

    def test_rounded_where_allowed(self, device, request, allow_tf32, layout, shape):
        value, gradient = errors(LAYOUTS[layout](random_tensor(*shape, dtype=torch.float32, device=device)))
        if rounds_to_tf32(request, device):
            assert 1e-6 < value < 1e-3 and 1e-6 < gradient < 1e-3
        else:
            assert value <= 1e-6 and gradient <= 5e-6

    @pytest.mark.parametrize("options", [{"centered": True}, {"pixel_weight": True}], ids=str)
    def test_weighted_and_centred_features_are_never_rounded(self, device, allow_tf32, layout, shape, options):
        x = LAYOUTS[layout](random_tensor(*shape, dtype=torch.float32, device=device))
        if "pixel_weight" in options:
            options = {"pixel_weight": random_tensor(shape[0], shape[2], device=device, seed=1).abs()}
        gram = ops.gram_matrix(x, **options)
        assert relative_error(gram, ops.gram_matrix(x.double(), **options)) <= 1e-6
