"""The convolution with frozen weights: that of PyTorch, without its memory."""

import pytest
import torch
from torch import nn

from cnnfast.features.frozen import FrozenConv2d
from cnnfast.ops import _convolution

MODES = ("zeros", "reflect", "replicate", "circular")


def pair(mode, *, kernel=3, dtype=torch.float64):
    """Ours, frozen, and PyTorch's with the same weights."""
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, kernel, padding=kernel // 2, padding_mode=mode, dtype=dtype)
    ours = FrozenConv2d(3, 4, kernel, padding=kernel // 2, padding_mode=mode, dtype=dtype)
    ours.load_state_dict(plain.state_dict())
    return ours.requires_grad_(False), plain


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(3, 3), (3, 8), (7, 5)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("mode", MODES)
def test_equals_pytorch(mode, kernel, size, memory_format):
    ours, plain = pair(mode, kernel=kernel)
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=memory_format)
    results = []
    for layer in (ours, plain):
        leaf = x.detach().clone().requires_grad_()
        y = layer(leaf)
        torch.manual_seed(1)
        (gradient,) = torch.autograd.grad(y, leaf, torch.randn(y.shape, dtype=y.dtype))
        results.append((y, gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_derivatives_of_both_orders_and_modes(mode):
    ours, _ = pair(mode)
    x = torch.randn(1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(ours, x)


@pytest.mark.parametrize("mode", MODES)
def test_keeps_nothing_but_its_weights(mode):
    ours, _ = pair(mode, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ours(torch.randn(1, 3, 8, 8, requires_grad=True))
    assert [t.data_ptr() for t in kept] == [ours.weight.data_ptr()]


def test_computes_in_the_dtype_of_its_input():
    ours, plain = pair("reflect", dtype=torch.float32)
    x = torch.randn(1, 3, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    y = ours(x)
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.float(), plain(x.float()), rtol=3e-2, atol=3e-2)
    y.sum().backward()
    assert x.grad.dtype is torch.bfloat16


def test_weights_that_need_a_gradient_get_one():
    ours, plain = pair("reflect")
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    ours.requires_grad_(True)(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    torch.testing.assert_close(ours.bias.grad, plain.bias.grad)


@pytest.mark.parametrize("mode", MODES)
def test_wide_layers_take_the_convolution_by_tiles(mode, monkeypatch):
    """Both directions, with the values of PyTorch, and forward mode."""
    calls, real = [], _convolution.convolution3x3
    monkeypatch.setattr(
        _convolution, "convolution3x3", lambda *a, **k: calls.append(k.get("transposed", False)) or real(*a, **k)
    )
    torch.manual_seed(0)
    ours = FrozenConv2d(32, 64, 3, padding=1, padding_mode=mode).requires_grad_(False)
    ours.to(memory_format=torch.channels_last)
    x, tangent = (torch.randn(2, 32, 17, 19).contiguous(memory_format=torch.channels_last) for _ in range(2))
    leaf = x.clone().requires_grad_()
    y = ours(leaf)
    (gradient,) = torch.autograd.grad(y.square().sum(), leaf)
    assert calls == [False, True]
    exact = ours.double()
    wide = x.double().requires_grad_()
    expected = exact(wide)
    torch.testing.assert_close(y, expected.float(), rtol=1e-5, atol=1e-5)
    (wanted,) = torch.autograd.grad(expected.square().sum(), wide)
    torch.testing.assert_close(gradient, wanted.float(), rtol=1e-4, atol=1e-4)
    _, change = torch.func.jvp(exact, (x.double(),), (tangent.double(),))
    _, ours_change = torch.func.jvp(ours.float(), (x,), (tangent,))
    assert len(calls) > 2
    torch.testing.assert_close(ours_change, change.float(), rtol=1e-5, atol=1e-5)
