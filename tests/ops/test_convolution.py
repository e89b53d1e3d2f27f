"""The internal 3x3 convolution by tiles: values, determinism, transforms, errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnnfast.ops import _convolution

pytestmark = pytest.mark.sanitized

OPERATOR = torch.ops.cnnfast._convolution3x3.default


def arrays(batch, inputs, outputs, height, width, seed=0):
    """x, weight and bias in channels_last, of values that nearly cancel: the hardest for rounding."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, inputs, height, width, generator=generator)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5
    bias = torch.randn(outputs, generator=generator)
    last = torch.channels_last
    return x.contiguous(memory_format=last), weight.contiguous(memory_format=last), bias


def plain(x, weight, bias, padding, transposed):
    """The same by PyTorch."""
    if transposed:
        return F.conv_transpose2d(x, weight, bias, padding=2 - padding)
    return F.conv2d(x, weight, bias, padding=padding)


def error(actual, exact):
    """Largest error, in standard deviations of the exact result."""
    return float((actual - exact).abs().max() / exact.std())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(
    "size",
    [
        (1, 32, 32, 1, 3),
        (1, 32, 64, 3, 3),
        (2, 64, 32, 5, 8),
        (1, 96, 32, 17, 23),
        (3, 32, 96, 13, 12),
        (1, 128, 160, 31, 29),
        (1, 256, 160, 9, 40),  # too many weights to be kept: by panels
        (1, 512, 512, 6, 7),
    ],
)
def test_values(size, padding, transposed):
    batch, inputs, outputs, height, width = size
    x, weight, bias = arrays(batch, inputs, outputs, height, width)
    if transposed:
        weight = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    if min(height, width) + 2 * padding < 3:
        with pytest.raises(RuntimeError, match="x must not be smaller than the weights"):
            OPERATOR(x, weight, bias, padding, transposed)
        return
    y = OPERATOR(x, weight, bias, padding, transposed)
    exact = plain(x.double(), weight.double(), bias.double(), padding, transposed)
    assert y.shape == exact.shape and y.is_contiguous(memory_format=torch.channels_last)
    assert error(y, exact) < 2e-5
    without = OPERATOR(x, weight, None, padding, transposed)
    torch.testing.assert_close(without + bias.view(1, -1, 1, 1), y, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_values_of_large_layers():
    for size in [(1, 64, 64, 250, 131), (1, 128, 128, 126, 127), (1, 256, 512, 65, 64), (2, 512, 512, 33, 34)]:
        x, weight, bias = arrays(*size)
        exact = plain(x.double(), weight.double(), bias.double(), 1, False)
        ours, theirs = (f(x, weight, bias, 1, False) for f in (OPERATOR, plain))
        # Twice the error of the direct algorithm, as the choice of the points promises.
        assert (ours - exact).square().mean().sqrt() < 4 * (theirs - exact).square().mean().sqrt() + 1e-7


@pytest.mark.parametrize("size", [(1, 32, 64, 33, 18), (1, 512, 160, 20, 20)])
def test_same_bits_for_every_number_of_threads(size, restore_threads):
    x, weight, bias = arrays(*size)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(OPERATOR(x, weight, bias, 1, False))
    assert all(torch.equal(result, results[0]) for result in results)


def test_each_picture_on_its_own():
    x, weight, bias = arrays(3, 32, 32, 17, 18)
    together = OPERATOR(x, weight, bias, 1, False)
    for i in range(3):
        assert torch.equal(OPERATOR(x[i : i + 1], weight, bias, 1, False)[0], together[i])


def test_any_strides():
    x, weight, bias = arrays(2, 64, 32, 20, 22)
    y = OPERATOR(x, weight, bias, 1, False)
    wide = torch.zeros(2, 64, 20, 44)
    wide[..., ::2] = x
    assert torch.equal(OPERATOR(wide[..., ::2], weight.contiguous(), bias.repeat_interleave(2)[::2], 1, False), y)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_spreads_at_least_as_far_as_it_must(value):
    x, weight, bias = arrays(1, 32, 32, 20, 20)
    x[0, 3, 7, 9] = value
    y = OPERATOR(x, weight, bias, 1, False)
    assert not y[..., 6:9, 8:11].isfinite().any()
    assert y[..., 12:, :].isfinite().all()


@pytest.mark.parametrize("shape", [(0, 32, 20, 20), (1, 32, 0, 4), (1, 32, 2, 9)])
def test_empty_results(shape):
    _, weight, bias = arrays(1, 32, 64, 3, 3)
    padding = 1 if 0 in shape else 0
    x = torch.zeros(shape)
    y = OPERATOR(x, weight, bias, padding, False)
    assert y.shape == (shape[0], 64, shape[2] + 2 * padding - 2, shape[3] + 2 * padding - 2) and y.numel() == 0


def test_shapes_without_data_and_compiled():
    x, weight, bias = arrays(2, 32, 64, 17, 18)
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(OPERATOR, (x, weight, bias, 2, False), test_utils=tests)
    torch.library.opcheck(OPERATOR, (x, weight.transpose(0, 1), None, 0, True), test_utils=tests)


def test_vmap():
    x, weight, bias = arrays(6, 32, 64, 16, 17)
    expected = OPERATOR(x, weight, bias, 1, False)
    pictures = x.unflatten(0, (2, 3))
    for stacked, dim in ((pictures, 0), (pictures.movedim(0, 1), 1)):
        mapped = torch.vmap(lambda p: OPERATOR(p, weight, bias, 1, False), dim)(stacked)
        assert torch.equal(mapped.flatten(0, 1), expected)
    weights = torch.stack([weight, 2 * weight])
    mapped = torch.vmap(lambda w: OPERATOR(x, w, None, 1, False))(weights)
    assert torch.equal(mapped[1], OPERATOR(x, 2 * weight, None, 1, False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(32, 8, 8)}, "x must have 4 dimensions, got 3"),
        ({"x": torch.zeros(1, 32, 8, 8, dtype=torch.float64)}, "x must be float32"),
        ({"x": torch.zeros(1, 64, 8, 8)}, "x must have 32 channels, got 64"),
        ({"weight": torch.zeros(32, 32, 3)}, "weight must have 4 dimensions, got 3"),
        ({"weight": torch.zeros(32, 32, 3, 5)}, r"weight must be \(O, I, 3, 3\)"),
        ({"weight": torch.zeros(32, 32, 3, 3).bfloat16()}, "weight must be float32"),
        ({"weight": torch.zeros(40, 32, 3, 3)}, "channels must be multiples of 32, got 32 and 40"),
        ({"bias": torch.zeros(1, 32)}, "bias must have 1 dimensions, got 2"),
        ({"bias": torch.zeros(31)}, "bias must have 32 values, got 31"),
        ({"padding": 3}, "padding must be 0, 1 or 2, got 3"),
        ({"padding": -1}, "padding must be 0, 1 or 2, got -1"),
    ],
)
def test_errors(change, message):
    x, weight, bias = arrays(1, 32, 32, 8, 8)
    arguments = {"x": x, "weight": weight, "bias": bias, "padding": 1, "transposed": False} | change
    with pytest.raises(RuntimeError, match=f"_convolution3x3: {message}"):
        OPERATOR(*arguments.values())


def test_what_it_takes():
    x, weight, _ = arrays(1, 32, 32, 16, 16)
    assert _convolution.takes(x, weight)
    last = torch.channels_last
    for other in (
        x.contiguous(),
        x.double(),
        x.bfloat16(),
        x.to("meta"),
        x[..., :15],
        x[:, :24].contiguous(memory_format=last),
    ):
        assert not _convolution.takes(other, weight if other.shape[1] == 32 else weight[:, :24])
    assert not _convolution.takes(x, torch.zeros(32, 32, 5, 5))
    with torch.autocast("cpu", torch.bfloat16):
        assert not _convolution.takes(x, weight)
