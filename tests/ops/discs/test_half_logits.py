"""Logits that a half type cannot hold are its largest finite values; so is their gradient."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops, reference


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("union", ["sum", "noisy_or", "max"])
def test_logits_are_finite(module, union, dtype):
    size = 400 if module is ops else 40
    bins = torch.ones(1, 1, size, size, dtype=dtype, requires_grad=True)
    radius = [150] if module is ops and union != "max" else [4]
    scale = {"weight": torch.full((1,), 5000.0)} if union == "sum" and module is reference else {}
    logits = module.inverse_distance_transform(bins, radius, return_logits=True, pad=0, union=union, **scale)
    assert logits.dtype == dtype and logits.isfinite().all()
    if union == "sum" and dtype == torch.float16:
        assert logits[0, 0, size // 2, size // 2] == torch.finfo(dtype).max
    logits.float().mean().backward()
    assert bins.grad.isfinite().all()


def test_a_bias_of_one_element_is_a_scalar():
    """As that of torch's ConvTranspose2d with one output channel."""
    bins, bias = torch.rand(2, 3, 5, 6), torch.tensor([-1.5], requires_grad=True)
    for module in (ops, reference):
        result = module.inverse_distance_transform(bins, [0, 1, 2], bias=bias)
        assert torch.equal(result, module.inverse_distance_transform(bins, [0, 1, 2], bias=-1.5))
        (gradient,) = torch.autograd.grad(result.sum(), bias)
        assert gradient.shape == (1,)
