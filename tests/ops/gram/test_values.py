"""Values and first gradients of the fused Gram functions against their plain PyTorch twins in float64."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.gram.cases import CASES
from tests.ops.tensors import random_tensor, relative_error

pytestmark = [pytest.mark.emulated, pytest.mark.sanitized_once]

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FORWARD = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-5, torch.float16: 2e-5}
GRADIENT = FORWARD | {torch.bfloat16: 1e-2, torch.float16: 1e-3}
CHANNELS = [0, 1, 4, 5, 6, 9, 16, 17, 31, 32, 33, 64, 65, 130]
POSITIONS = [0, 1, 15, 16, 17, 255, 1023, 1024, 1025, 5000]
SHAPES = (
    [(2, channels, 37) for channels in CHANNELS]
    + [(2, channels, 300) for channels in CHANNELS]
    + [(2, 5, positions) for positions in POSITIONS]
    + [(1, 33, positions) for positions in POSITIONS]
    + [(batch, 7, 19) for batch in range(4)]
    + [(3, 1, 1), (1, 0, 0), (0, 0, 0), (1, 257, 3), (2, 100, 129)]
)
BY_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
EVERY_SHAPE = [(torch.float32, shape) for shape in SHAPES] + [
    (dtype, shape)
    for offset, dtype in enumerate([torch.float64, torch.bfloat16, torch.float16])
    for shape in SHAPES[offset::3]
]


def double(tensor):
    return tensor.detach().double().requires_grad_()


def weight_gradient_terms(exact, upstream):
    """Bound of the terms of a pixel weight's gradient, which cancel where a region has few positions."""
    features = [tensor.detach().flatten() for name, tensor in exact.items() if name in ("x", "y")]
    total = exact["pixel_weight"].detach().sum().clamp_min(1)
    largest = [values.abs().max() if values.numel() else 0.0 for values in features]
    return float(upstream.abs().sum() * largest[0] * largest[-1] / total)


def assert_equals_twin(function, tensors, **options):
    """Values, and the gradients of a random projection, equal those of the twin in float64."""
    dtype = tensors["x"].dtype
    exact = {name: double(tensor) for name, tensor in tensors.items()}
    tensors = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    actual, expected = getattr(ops, function)(**tensors, **options), getattr(reference, function)(**exact, **options)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert actual.is_contiguous()
    assert relative_error(actual, expected) <= FORWARD[dtype]
    upstream = random_tensor(*expected.shape, seed=99, device=expected.device)
    upstream = upstream / largest(torch.autograd.grad(expected, exact["x"], upstream, retain_graph=True)[0])
    actual_grads = torch.autograd.grad(actual, list(tensors.values()), upstream.to(actual.dtype))
    expected_grads = torch.autograd.grad(expected, list(exact.values()), upstream)
    for name, actual_grad, expected_grad in zip(tensors, actual_grads, expected_grads, strict=True):
        assert actual_grad.dtype == tensors[name].dtype, name
        terms = weight_gradient_terms(exact, upstream) if name == "pixel_weight" and "target" not in exact else 0.0
        assert relative_error(actual_grad, expected_grad, terms) <= GRADIENT[dtype], name


def largest(tensor):
    """Largest absolute value, 1 where there is none; gradients divided by it fit into half precision."""
    return tensor.abs().max().item() or 1.0 if tensor.numel() else 1.0


@pytest.mark.parametrize(("dtype", "shape"), EVERY_SHAPE, ids=str)
@pytest.mark.sanitized
class TestAgainstTwin:
    def test_gram_matrix(self, device, dtype, shape):
        x = random_tensor(*shape, dtype=dtype, device=device)
        assert_equals_twin("gram_matrix", {"x": x}, normalize="none")
        assert_equals_twin("gram_matrix", {"x": x + 1}, centered=True)

    def test_gram_matrix_with_regions(self, device, dtype, shape):
        x = random_tensor(*shape, dtype=dtype, device=device)
        maps = (random_tensor(shape[0], 2, shape[2], device=device, seed=1) - 0.3).clamp_min(0).to(dtype)
        assert_equals_twin("gram_matrix", {"x": x, "pixel_weight": maps}, normalize="chw")
        if shape[2] > 1:  # of one position the covariance is zero up to rounding
            assert_equals_twin("gram_matrix", {"x": x, "pixel_weight": maps[:, 0] + 0.25}, centered=True)

    def test_cross_gram(self, device, dtype, shape):
        x = random_tensor(*shape, dtype=dtype, device=device)
        y = random_tensor(shape[0], (shape[1] * 2) % 39, shape[2], dtype=dtype, device=device, seed=1)
        assert_equals_twin("cross_gram", {"x": x, "y": y})

    def test_gram_mse_loss(self, device, dtype, shape):
        x = random_tensor(*shape, dtype=dtype, device=device)
        target = random_tensor(shape[1], shape[1], dtype=dtype, device=device, seed=1)
        assert_equals_twin("gram_mse_loss", {"x": x, "target": target})
        assert_equals_twin("gram_mse_loss", {"x": x, "target": target}, reduction="none", centered=True)


@pytest.mark.compute_sanitizer
@BY_DTYPE
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_combination_of_arguments(case, device, dtype):
    assert_equals_twin(case.function, case.tensors(dtype, device), **case.options)


def strided_copy(x, size, stride, offset=0):
    """The values of x in a tensor of the given strides, surrounded by NaN."""
    reach = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
    storage = torch.full((reach + 5,), math.nan, dtype=x.dtype, device=x.device)
    return storage.as_strided(size, stride, offset).copy_(x)


def padded(x):
    return torch.nn.functional.pad(x, (2, 3, 1, 2, 1, 2, 1, 1), value=math.nan)


LAYOUTS = {
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed image": lambda x: x.mT.contiguous().mT,
    "transposed batch and channels": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "columns slowest": lambda x: x.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0),
    "slice of all axes": lambda x: padded(x)[1:-1, 1:-2, 1:-2, 2:-3],
    "slice of channels_last": lambda x: padded(x).to(memory_format=torch.channels_last)[1:-1, 1:-2, 1:-2, 2:-3],
    "channels of channels_last": lambda x: torch.cat([x, x * math.nan], 1).to(memory_format=torch.channels_last)[
        :, : x.shape[1]
    ],
    "every second channel": lambda x: torch.stack([x, x * math.nan], 2).flatten(1, 2)[:, ::2],
    "every second column": lambda x: torch.stack([x, x * math.nan], 4).flatten(3, 4)[..., ::2],
    "offset": lambda x: strided_copy(x, x.shape, x.contiguous().stride(), 3),
    "gaps between rows": lambda x: strided_copy(
        x, x.shape, (x[0].numel() * 2 + 5, x[0, 0].numel() * 2, 2 * x.shape[3], 1)
    ),
}


@pytest.mark.covering
@BY_DTYPE
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (3, 40, 9, 5), (1, 1, 3, 1), (2, 17, 1, 1)], ids=str)
class TestLayouts:
    def make(self, shape, layout, dtype, device):
        x = random_tensor(*shape, dtype=dtype, device=device)
        laid = LAYOUTS[layout](x)
        torch.testing.assert_close(laid, x, rtol=0, atol=0)
        return laid

    def test_gram_matrix(self, shape, layout, dtype, device):
        x = self.make(shape, layout, dtype, device)
        assert_equals_twin("gram_matrix", {"x": x})
        assert_equals_twin("gram_matrix", {"x": x}, centered=True)

    def test_loss(self, shape, layout, dtype, device):
        x = self.make(shape, layout, dtype, device)
        target = random_tensor(shape[1], shape[1], dtype=dtype, device=device, seed=2).mT
        assert_equals_twin("gram_mse_loss", {"x": x, "target": target})

    def test_cross_gram_and_weights(self, shape, layout, dtype, device):
        x = self.make(shape, layout, dtype, device)
        y = random_tensor(shape[0], 3, *shape[2:], dtype=dtype, device=device, seed=2)
        weight = LAYOUTS[layout](random_tensor(*shape, dtype=dtype, device=device, seed=3).abs())
        assert_equals_twin("cross_gram", {"x": x, "y": y, "pixel_weight": weight[:, :1]})
        assert_equals_twin("cross_gram", {"x": y, "y": x})
        assert_equals_twin("gram_matrix", {"x": x, "pixel_weight": weight}, normalize="none")


@BY_DTYPE
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (3,), (2, 3), (0, 1), (0, 1, 2, 3)], ids=str)
def test_expanded_inputs(device, dtype, axes):
    shape = [1 if axis in axes else size for axis, size in enumerate((2, 5, 6, 7))]
    x = random_tensor(*shape, dtype=dtype, device=device)
    weight = random_tensor(*shape, dtype=dtype, device=device, seed=1).abs()
    target = random_tensor(1, 5, dtype=dtype, device=device, seed=2).expand(5, 5)
    expanded, weight = x.expand(2, 5, 6, 7), weight.expand(2, 5, 6, 7)
    assert_equals_twin("gram_matrix", {"x": expanded})
    assert_equals_twin("gram_matrix", {"x": expanded, "pixel_weight": weight})
    assert_equals_twin("gram_mse_loss", {"x": expanded, "target": target})
    assert_equals_twin("cross_gram", {"x": expanded, "y": expanded[:, :2]})


def test_expanded_upstream_gradient(device):
    x = random_tensor(2, 5, 6, 7, device=device).requires_grad_()
    (grad,) = torch.autograd.grad(ops.gram_matrix(x).sum(), x)
    (expected,) = torch.autograd.grad(reference.gram_matrix(x).sum(), x)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("out_dtype", DTYPES, ids=str)
@BY_DTYPE
def test_out_dtype(device, dtype, out_dtype):
    x = random_tensor(2, 5, 30, dtype=dtype, device=device).requires_grad_()
    gram = ops.gram_matrix(x, out_dtype=out_dtype)
    assert gram.dtype == out_dtype
    torch.testing.assert_close(gram, ops.gram_matrix(x).to(out_dtype), rtol=0, atol=0)
    (grad,) = torch.autograd.grad(gram.sum(), x)
    assert grad.dtype == dtype


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "hw", "chw", 3.0])
class TestNothingToSum:
    def test_no_positions(self, device, normalize, centered):
        x = torch.zeros(2, 3, 0, 5, device=device, requires_grad=True)
        gram = ops.gram_matrix(x, normalize, centered=centered)
        assert torch.equal(gram, torch.zeros(2, 3, 3, device=device))
        assert torch.autograd.grad(gram.sum(), x)[0].shape == x.shape
        loss = ops.gram_mse_loss(x, torch.ones(3, 3, device=device), normalize=normalize, centered=centered)
        torch.testing.assert_close(loss, torch.tensor(0.25, device=device))

    def test_empty_region(self, device, normalize, centered):
        x = random_tensor(2, 3, 4, 5, device=device).requires_grad_()
        weight = torch.zeros(2, 2, 4, 5, device=device, dtype=torch.float64)
        weight[0, 1] = 1
        weight.requires_grad_()
        grams = ops.gram_matrix(x, normalize, pixel_weight=weight, centered=centered)
        assert torch.equal(grams[:, 0], torch.zeros_like(grams[:, 0]))
        assert torch.equal(grams[1], torch.zeros_like(grams[1]))
        assert grams[0, 1].abs().max() > 0.01
        grad_x, grad_weight = torch.autograd.grad(grams.sum(), (x, weight))
        assert torch.equal(grad_x[1], torch.zeros_like(grad_x[1]))
        if normalize in ("hw", "chw"):
            assert torch.equal(grad_weight[:, 0], torch.zeros_like(grad_weight[:, 0]))
        assert grad_x.isfinite().all() and grad_weight.isfinite().all()

    def test_loss_with_an_empty_region(self, device, normalize, centered):
        x = random_tensor(1, 3, 4, 5, device=device).requires_grad_()
        options = {"normalize": normalize, "centered": centered, "scale": "sum"}
        weight = torch.zeros(1, 1, 4, 5, device=device, dtype=torch.float64)
        loss = ops.gram_mse_loss(x, torch.ones_like(x[0, :, :3, 0]), pixel_weight=weight, **options)
        torch.testing.assert_close(loss, torch.full_like(loss, 9.0))
        assert torch.equal(torch.autograd.grad(loss, x)[0], torch.zeros_like(x))


def test_empty_batch_and_no_channels(device):
    target = torch.ones(3, 3, device=device)
    for reduction, shape in [("mean", ()), ("sum", ()), ("none", (0,))]:
        x = torch.zeros(0, 3, 4, 5, device=device, requires_grad=True)
        loss = ops.gram_mse_loss(x, target, reduction=reduction)
        assert torch.equal(loss, torch.zeros(shape, device=device))
        assert torch.autograd.grad(loss.sum(), x)[0].shape == x.shape
    x = torch.zeros(2, 0, 4, 5, device=device, requires_grad=True)
    loss = ops.gram_mse_loss(x, target[:0, :0])
    assert loss.item() == 0
    assert torch.autograd.grad(loss, x)[0].shape == x.shape


@BY_DTYPE
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
class TestNonFinite:
    def test_row_and_column_of_the_channel(self, device, dtype, value):
        x = random_tensor(2, 20, 70, dtype=dtype, device=device)
        x[1, 7, 33] = value
        gram = ops.gram_matrix(x)
        touched = torch.zeros(2, 20, 20, dtype=torch.bool, device=device)
        touched[1, 7], touched[1, :, 7] = True, True
        assert torch.equal(gram.isfinite(), ~touched)
        assert torch.equal(gram[1, 7], reference.gram_matrix(x)[1, 7].float().to(gram.dtype)) or math.isnan(value)

    def test_loss_and_gradient(self, device, dtype, value):
        x = random_tensor(2, 5, 70, dtype=dtype, device=device)
        x[1, 2, 3] = value
        x.requires_grad_()
        losses = ops.gram_mse_loss(x, torch.eye(5, device=device), reduction="none")
        assert losses[0].isfinite()
        assert losses[1].isnan() if math.isnan(value) else not losses[1].isfinite()
        (grad,) = torch.autograd.grad(losses.sum(), x)
        assert grad[0].isfinite().all()
        assert grad[1].isnan().any()

    def test_target_and_weights(self, device, dtype, value):
        x = random_tensor(1, 5, 70, dtype=dtype, device=device)
        target = torch.eye(5, device=device)
        target[1, 2] = value
        assert not ops.gram_mse_loss(x, target).isfinite()
        if value != -math.inf:
            weight = torch.ones(1, 70, device=device)
            weight[0, 3] = value
            assert not ops.gram_matrix(x, pixel_weight=weight).isfinite().any()
