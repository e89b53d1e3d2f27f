"""Logits that a half type cannot hold are its largest finite values, with the gradient that they would have had."""

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


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_a_logit_beyond_the_half_type_keeps_its_gradient(module):
    """A loss can move it: the gradient is that of float32."""
    gradients = []
    for dtype in (torch.float16, torch.float32):
        weight = torch.full((1,), 2e4, requires_grad=True)
        bins = torch.ones(1, 1, 6, 6, dtype=dtype, requires_grad=True)
        logits = module.inverse_distance_transform(bins, [2], weight, return_logits=True)
        assert logits.max() == (65504 if dtype == torch.float16 else 13 * 2e4)
        target = torch.zeros_like(logits)
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), target.float()).backward()
        gradients.append((bins.grad.float(), weight.grad))
    for half, single in zip(*gradients, strict=True):
        torch.testing.assert_close(half, single, rtol=2e-3, atol=1e-3)
        assert half.abs().min() > 0


def test_a_tangent_passes_too():
    bins = torch.ones(1, 1, 6, 6, dtype=torch.float16)

    def logits(bins):
        return ops.inverse_distance_transform(bins, [2], torch.full((1,), 2e4), return_logits=True, pad=0).float()

    _, tangent = torch.func.jvp(logits, (bins,), (torch.full_like(bins, 1e-3),))
    assert tangent.min() > 0


def test_an_overflow_of_float32_is_limited_like_any():
    bins = torch.full((1, 1, 6, 6), 3e38, dtype=torch.bfloat16, requires_grad=True)
    logits = ops.inverse_distance_transform(bins, [2], return_logits=True)
    assert logits.isfinite().all()
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
