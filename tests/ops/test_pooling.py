"""The internal 2x2 pooling behind a ReLU: PyTorch's values and gradients, determinism, transforms, errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnnfast.ops import _pooling

pytestmark = pytest.mark.sanitized

FORWARD = torch.ops.cnnfast._relu_pool2x2.default
BACKWARD = torch.ops.cnnfast._relu_pool2x2_backward.default
DTYPES = (torch.float32, torch.bfloat16)


def maps(*shape, dtype=torch.float32, seed=0):
    """Values of few levels, half of them negative or zero, so that many are equal; channels_last."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, shape, generator=generator) / 4 + torch.randint(0, 2, shape, generator=generator) / 64
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def plain(x, average):
    """The same by PyTorch."""
    return F.avg_pool2d(F.relu(x), 2) if average else F.max_pool2d(F.relu(x), 2)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 64, 2, 2), (1, 128, 2, 3), (2, 64, 5, 4), (3, 192, 9, 11), (1, 512, 16, 18)])
def test_values_and_gradients(size, dtype, average):
    x = maps(*size, dtype=dtype)
    results = []
    for pool in (lambda x: _pooling.relu_pool2x2(x, average=average), lambda x: plain(x, average)):
        leaf = x.clone().requires_grad_()
        y = pool(leaf)
        generator = torch.Generator().manual_seed(1)
        direction = torch.randn(y.shape, generator=generator).to(dtype)
        results.append((y, *torch.autograd.grad(y, leaf, direction)))
    ours, theirs = results
    # The mean of four bfloat16 rounds differently in PyTorch, once for the sum and once for the quotient.
    tolerance = {"rtol": 0, "atol": 0} if dtype is torch.float32 or not average else {"rtol": 2**-7, "atol": 0}
    torch.testing.assert_close(ours, theirs, **tolerance)
    assert all(result.is_contiguous(memory_format=torch.channels_last) for result in ours)


@pytest.mark.parametrize("average", [False, True])
def test_nan_and_infinity_spread_as_in_pytorch(average):
    x = maps(1, 64, 8, 8)
    x[0, 1, 2, 3], x[0, 2, 2, 2], x[0, 3, 4, 5] = float("nan"), float("inf"), -float("inf")
    for channels, values in (((0, 4, 4), float("nan")), ((5, 7, 7), float("inf"))):
        x[0][channels] = values
    torch.testing.assert_close(FORWARD(x, average)[0], plain(x, average), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("average", [False, True])
def test_same_bits_for_every_number_of_threads_and_any_strides(average, restore_threads):
    x = maps(2, 64, 40, 61)
    grad = torch.randn(2, 64, 20, 30)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        for given in (x, x.contiguous()):
            pooled, bits = FORWARD(given, average)
            results.append((pooled, bits, BACKWARD(grad, bits, 40, 61, average)))
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


@pytest.mark.parametrize("shape", [(0, 64, 4, 4), (1, 64, 1, 4), (1, 64, 0, 0), (1, 0, 4, 4)])
@pytest.mark.parametrize("average", [False, True])
def test_empty_results(shape, average):
    x = torch.zeros(shape, requires_grad=True)
    y = FORWARD(x, average)[0]
    assert y.shape == (shape[0], shape[1], shape[2] // 2, shape[3] // 2)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.zeros(shape))


@pytest.mark.parametrize("average", [False, True])
def test_second_derivative(average):
    """Pooling is piecewise linear: the derivative of the gradient along v is the pooling of v with the same bits."""
    x = maps(1, 128, 5, 6).requires_grad_()
    grads = []
    for pool in (lambda x: _pooling.relu_pool2x2(x, average=average), lambda x: plain(x, average)):
        v = torch.ones(1, 128, 2, 3, requires_grad=True)
        (gradient,) = torch.autograd.grad(pool(x), x, v, create_graph=True)
        generator = torch.Generator().manual_seed(1)
        (second,) = torch.autograd.grad(gradient, v, torch.randn(x.shape, generator=generator))
        grads.append(second)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("average", [False, True])
def test_contracts(average):
    x = maps(2, 64, 5, 6).requires_grad_()
    torch.library.opcheck(FORWARD, (x, average))
    pooled, bits = FORWARD(x.detach(), average)
    torch.library.opcheck(BACKWARD, (pooled.requires_grad_(), bits, 5, 6, average))


@pytest.mark.parametrize("average", [False, True])
def test_vmap(average):
    x = maps(6, 64, 6, 7)
    pooled, bits = FORWARD(x, average)
    stacked = x.unflatten(0, (2, 3))
    for given, dim in ((stacked, 0), (stacked.movedim(0, 2), 2)):
        mapped = torch.vmap(lambda p: FORWARD(p, average), dim)(given)
        assert all(torch.equal(m.flatten(0, 1), r) for m, r in zip(mapped, (pooled, bits), strict=True))
    gradient = BACKWARD(pooled, bits, 6, 7, average)
    several = torch.vmap(lambda g: BACKWARD(g, bits, 6, 7, average))(torch.stack([pooled, 2 * pooled]))
    torch.testing.assert_close(several, torch.stack([gradient, 2 * gradient]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(64, 4, 4)}, "x must have 4 dimensions, got 3"),
        ({"x": torch.zeros(1, 64, 4, 4, dtype=torch.float64)}, "x must be float32 or bfloat16"),
        ({"x": torch.zeros(1, 96, 4, 4)}, "channels must be a multiple of 64, got 96"),
    ],
)
def test_errors(change, message):
    with pytest.raises(RuntimeError, match=f"_relu_pool2x2: {message}"):
        FORWARD(change["x"], False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grad": torch.zeros(1, 64, 2)}, "grad must have 4 dimensions, got 3"),
        ({"bits": torch.zeros(1, 2, 2, 64)}, "bits must be uint8, on the device of grad"),
        ({"bits": torch.zeros(1, 64, 2, 2).byte()}, "bits must have the shape of grad, channels last"),
        ({"height": 6}, "height and width must be those of an input of 2x2 values, got 6x4"),
        ({"width": -1}, "height and width must be those of an input of 2x2 values, got 4x-1"),
    ],
)
def test_errors_of_the_gradient(change, message):
    arguments = {"grad": torch.zeros(1, 64, 2, 2), "bits": torch.zeros(1, 2, 2, 64).byte(), "height": 4, "width": 4}
    with pytest.raises(RuntimeError, match=f"_relu_pool2x2_backward: {message}"):
        BACKWARD(*(arguments | change).values(), False)


def test_what_it_takes():
    x = maps(1, 64, 6, 6)
    assert _pooling.takes(x) and _pooling.takes(x.bfloat16())
    for other in (x.contiguous(), x.double(), x.half(), x.to("meta"), maps(1, 96, 6, 6)):
        assert not _pooling.takes(other)
    seen = []
    torch.func.grad(lambda x: (seen.append(_pooling.takes(x)), x.sum())[1])(x)
    assert seen == [False]
