"""The fused Gram functions inside PyTorch: opcheck, compiler, export, AOTInductor, autocast, fake tensors."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

import cnnfast
from cnnfast import ops, reference
from tests.ops.gram.cases import CASES, FEW_CASES
from tests.ops.promises import WithoutData, check_compiled, compiled_tests
from tests.ops.tensors import random_tensor

ROWS = (2, 3, 20)


def layouts(dtype):
    """Features [2,3,20], contiguous, with channels innermost, with gaps, expanded, and empty ones."""
    x = random_tensor(*ROWS, dtype=dtype)
    return [
        x,
        x.transpose(1, 2).contiguous().transpose(1, 2),
        random_tensor(2, 6, 41, dtype=dtype)[:, ::2, 1::2],
        x[:1].expand(2, -1, -1),
        x[..., :0],
        x[:0],
        x[:, :0],
    ]


def options(x):
    """(weight, normalize, divisor, centered) with and without weights, one and several regions, all divisors."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    maps = random_tensor(x.shape[0], 2, x.shape[2], dtype=dtype).abs()
    return [(None, 1, 1.0, False), (maps, 2, 1.0, True), (maps[:1, :1], 0, 2.5, False)]


def operator_samples(dtype):
    """Name and arguments of every private operator, for every layout and option."""
    accumulated = torch.float64 if dtype == torch.float64 else torch.float32
    for x in layouts(dtype):
        batch, channels, positions = x.shape
        y = random_tensor(batch, 4, positions, dtype=dtype, seed=1)
        for option in options(x):
            regions = 1 if option[0] is None else option[0].shape[1]
            if option[0] is not None and option[0].shape[0] > batch:
                continue
            square = random_tensor(batch, regions, channels, channels, dtype=accumulated, seed=2)
            wide = random_tensor(batch, regions, channels, 4, dtype=accumulated, seed=3)
            gamma = random_tensor(batch, regions, dtype=accumulated, seed=4)
            for target in (square, square[:1].contiguous()) if batch else (square,):
                yield "gram_mse", (x, target, *option)
                yield "_gram_mse_backward", (gamma, square, x, target, *option)
            yield "gram", (x, *option)
            yield "_gram_backward", (square, x, *option)
            yield "cross_gram", (x, y, *option)
            yield "_cross_gram_backward", (wide, y, *option)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "name", ["gram", "_gram_backward", "cross_gram", "_cross_gram_backward", "gram_mse", "_gram_mse_backward"]
)
def test_opcheck(name, dtype, requires_grad):
    samples = [args for sample, args in operator_samples(dtype) if sample == name]
    if dtype != torch.float64 or requires_grad:
        samples = samples[:: 1 if dtype == torch.float64 else 4]
    checks = ("test_schema", "test_faketensor") if not requires_grad else ("test_autograd_registration",)
    for args in samples:
        tensors = [a.detach().requires_grad_() if requires_grad and torch.is_tensor(a) else a for a in args]
        torch.library.opcheck(getattr(torch.ops.cnnfast, name).default, tuple(tensors), test_utils=checks)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(
    "name", ["gram", "_gram_backward", "cross_gram", "_cross_gram_backward", "gram_mse", "_gram_mse_backward"]
)
def test_opcheck_of_dynamic_shapes(name, requires_grad):
    samples = [args for sample, args in operator_samples(torch.float32) if sample == name]
    for args in samples[::7]:
        tensors = [a.detach().requires_grad_() if requires_grad and torch.is_tensor(a) else a for a in args]
        check = "test_aot_dispatch_dynamic"
        torch.library.opcheck(getattr(torch.ops.cnnfast, name).default, tuple(tensors), test_utils=check)


class TestCompile(compiled_tests(CASES, FEW_CASES, check_compiled)):
    """Each case, and the number of graphs."""

    def test_sizes_may_change_without_recompiling(self, device):
        compiled, counter = self.counted(ops.gram_mse_loss)
        for batch, channels, height, width in [(2, 3, 4, 5), (3, 5, 6, 7), (4, 9, 12, 5), (7, 8, 3, 31)]:
            x = random_tensor(batch, channels, height, width, device=device)
            target = torch.eye(channels, device=device)
            torch.testing.assert_close(compiled(x, target), ops.gram_mse_loss(x, target))
        assert counter.frame_count == 1

    def test_channels_last(self, device):
        x = random_tensor(2, 3, 4, 5, device=device).to(memory_format=torch.channels_last).requires_grad_()
        compiled = torch.compile(lambda x: ops.gram_matrix(torch.relu(x) * 2), fullgraph=True, backend="aot_eager")
        expected = ops.gram_matrix(torch.relu(x) * 2)
        torch.testing.assert_close(compiled(x), expected)
        (actual,) = torch.autograd.grad(compiled(x).sum(), x)
        torch.testing.assert_close(actual, torch.autograd.grad(expected.sum(), x)[0])

    def test_wrong_shape_is_an_error(self, device):
        compiled = torch.compile(ops.gram_mse_loss, fullgraph=True, backend="aot_eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match=r"expected target of shape"):
            compiled(torch.ones(2, 3, 4, device=device), torch.eye(4, device=device))


class StyleNetwork(nn.Module):
    """Every Gram function once."""

    def forward(self, x, weight, target):
        gram = ops.gram_matrix(x, pixel_weight=weight, centered=True)
        cross = ops.cross_gram(x, x[:, :2], "chw")
        return gram, cross, ops.gram_mse_loss(x, target, 2.0, pixel_weight=weight)


def network_inputs(batch=2, height=4, width=5):
    x = random_tensor(batch, 3, height, width, dtype=torch.float32)
    return x, random_tensor(batch, 1, height, width, dtype=torch.float32, seed=1).abs(), torch.eye(3)


def dynamic_shapes():
    batch, height, width = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "height", "width"))
    sizes = {0: batch, 2: height, 3: width}
    return {"x": sizes, "weight": sizes, "target": None}


class TestExport:
    def test_save_and_load(self):
        program = torch.export.export(StyleNetwork(), network_inputs(), dynamic_shapes=dynamic_shapes())
        assert {"cnnfast.gram.default", "cnnfast.cross_gram.default", "cnnfast.gram_mse.default"} <= {
            str(node.target) for node in program.graph.nodes
        }
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        for sizes in [(2, 4, 5), (3, 7, 6)]:
            inputs = network_inputs(*sizes)
            for actual, expected in zip(loaded(*inputs), StyleNetwork()(*inputs), strict=True):
                torch.testing.assert_close(actual, expected)

    @pytest.mark.slow
    def test_ahead_of_time_inductor(self, tmp_path):
        program = torch.export.export(StyleNetwork(), network_inputs(), dynamic_shapes=dynamic_shapes())
        package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "style.pt2"))
        loaded = torch._inductor.aoti_load_package(package)
        for sizes in [(2, 4, 5), (3, 7, 6)]:
            inputs = network_inputs(*sizes)
            for actual, expected in zip(loaded(*inputs), StyleNetwork()(*inputs), strict=True):
                torch.testing.assert_close(actual, expected)


class TestAutocast:
    @pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
    @pytest.mark.parametrize("case", FEW_CASES, ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
    def test_nothing_is_cast_down(self, case, module, device, dtype):
        tensors = case.tensors(dtype, device)
        expected = case(module, tensors)
        with torch.autocast(device, torch.bfloat16):
            actual = case(module, tensors)
        assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(actual, expected)

    def test_after_a_convolution(self, device):
        convolution = nn.Conv2d(3, 8, 3).to(device)
        image = random_tensor(1, 3, 9, 9, dtype=torch.float32, device=device).requires_grad_()
        with torch.autocast(device, torch.bfloat16):
            features = convolution(image)
            loss = ops.gram_mse_loss(features, torch.eye(8, device=device))
        assert features.dtype == torch.bfloat16 and loss.dtype == torch.float32
        loss.backward()
        assert image.grad.dtype == torch.float32 and image.grad.abs().max() > 0


@pytest.mark.parametrize("case", CASES, ids=str)
class TestWithoutData(WithoutData):
    """Of every case."""


def test_more_elements_than_32_bits_can_count():
    x = torch.empty(3, 1 << 12, 1 << 20, device="meta", dtype=torch.bfloat16)
    assert ops.gram_matrix(x).shape == (3, 1 << 12, 1 << 12)


def test_package_exports_the_functions():
    assert set(ops.__all__) >= {"cross_gram", "gram_matrix", "gram_mse_loss"}
    assert cnnfast.__version__
