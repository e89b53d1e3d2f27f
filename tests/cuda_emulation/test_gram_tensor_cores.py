"""The Gram kernels for tensor cores, run on the CPU in three thread orders: where they are taken, how exact they are.

Their sums are cut off as on an A100, so the bounds here hold with the least exact tensor cores that the kernels run on.
"""

from __future__ import annotations

import pytest
import torch
import torch._dynamo.testing

from tests.cuda_emulation import emulation
from tests.cuda_emulation.emulated_cases import LAYOUTS, Exact, emulated, features
from tests.ops.tensors import random_tensor, relative_error, relu_features

pytestmark = [
    pytest.mark.skipif(
        not (emulation.KERNELS and emulation.compiler()), reason="needs the CUDA sources and a C++ compiler"
    ),
    pytest.mark.sanitized_where("float32", "float64-rows", "float16-channels_last", "bfloat16-slice", "tf32-rows"),
]
KINDS = {"tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
GRADIENT = {"tf32": 3e-6, "bfloat16": 4e-3, "float16": 5e-4}
# Rows that begin at multiples of 16 bytes and others; one, several and broken panels, tiles and chunks.
SIZES = [(2, 8), (8, 1), (16, 64), (64, 72), (65, 65), (72, 130), (130, 136), (24, 1000)]


@pytest.fixture
def allow_tf32():
    """Sets PyTorch's precision of float32 matrix products for the test."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def tf32(values):
    """The nearest numbers with 10 bits behind the point; halves are such numbers."""
    if values.dtype != torch.float32:
        return values
    return ((values.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def plain(name, *arguments):
    """What the kernels without tensor cores return: those of a GPU of compute capability 7.5."""
    with emulation.architecture(75):
        return emulated(name, *arguments)


@pytest.mark.covering
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", ["rows", "channels_last"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("allow_tf32")
class TestAgainstDefinition:
    """The definitions with operands rounded to TF32, where they are not halves."""

    def test_products(self, kind, layout, size):
        x = features((2, *size), KINDS[kind], layout)
        y = features((2, size[0] % 9 + 2, size[1]), KINDS[kind], layout, seed=1)
        exact = Exact(tf32(x), None, 2, 1.0, False)
        gram = emulated("gram", x, None, 2, 1.0, False)
        assert relative_error(gram, exact.products(exact.x)) <= 1e-6
        assert torch.equal(gram, gram.mT)
        cross = emulated("cross_gram", x, y, None, 2, 1.0, False)
        assert relative_error(cross, exact.products(tf32(y).double()[:, None])) <= 1e-6

    def test_loss(self, kind, layout, size):
        x = features((2, *size), KINDS[kind], layout)
        target = random_tensor(1, 1, size[0], size[0], dtype=torch.float32, seed=2)
        squares, difference = emulated("gram_mse", x, target, None, 1, 1.0, False)
        exact = Exact(tf32(x), None, 1, 1.0, False)
        expected = exact.products(exact.x) - target.double()
        assert relative_error(squares, expected.square().sum((2, 3))) <= 2e-6
        assert relative_error(difference, (expected + expected.mT) / 2) <= 2e-6

    def test_gradients(self, kind, layout, size):
        x = features((2, *size), KINDS[kind], layout)
        grad = random_tensor(2, 1, 70, size[0], dtype=torch.float32, seed=3)
        found = emulated("_cross_gram_backward", grad, x, None, 0, 8.0, False)
        factor = tf32(grad / 8) if kind == "tf32" else grad / 8
        expected = (factor.double() @ tf32(x).double()[:, None]).sum(1)
        assert found.dtype == x.dtype
        assert relative_error(found, expected) <= GRADIENT[kind]
        square = random_tensor(2, 1, size[0], size[0], dtype=torch.float32, seed=4)
        square = square + square.mT
        scale = torch.full((2, 1), 0.25)
        found = emulated("_gram_mse_backward", scale, square, x, square, None, 0, 1.0, False)
        factor = tf32(square) if kind == "tf32" else square
        assert relative_error(found, (factor.double() @ tf32(x).double()[:, None]).sum(1)) <= GRADIENT[kind]


@pytest.mark.sanitized
class TestChoice:
    """Tensor cores are taken where they are as exact as promised, and only there."""

    X = staticmethod(lambda dtype: features((1, 40, 264), dtype))

    def test_float32_is_not_rounded_unless_allowed(self):
        x, grad = self.X(torch.float32), random_tensor(1, 1, 40, 40, dtype=torch.float32)
        for name, tensors in (("gram", (x, None)), ("_gram_backward", (grad, x, None))):
            assert torch.equal(emulated(name, *tensors, 1, 1.0, False), plain(name, *tensors, 1, 1.0, False))

    @pytest.mark.parametrize("setting", ["word", "flag", "backend", "everywhere"])
    def test_every_way_to_allow_it(self, setting):
        x, matmul = self.X(torch.float32), torch.backends.cuda.matmul
        exact = emulated("gram", x, None, 1, 1.0, False)
        try:
            if setting == "word":
                torch.set_float32_matmul_precision("medium")
            elif setting == "flag":
                matmul.allow_tf32 = True
            elif setting == "backend":
                matmul.fp32_precision = "tf32"
            else:
                matmul.fp32_precision, torch.backends.fp32_precision = "none", "tf32"
            rounded = emulated("gram", x, None, 1, 1.0, False)
        finally:
            torch.backends.fp32_precision = "none"
            matmul.fp32_precision = "ieee"
            torch.set_float32_matmul_precision("highest")
        assert 1e-6 < relative_error(rounded, exact.double()) < 1e-3
        assert torch.equal(emulated("gram", x, None, 1, 1.0, False), exact)

    @pytest.mark.usefixtures("allow_tf32")
    @pytest.mark.parametrize("kind", KINDS)
    def test_old_gpus_use_the_plain_kernels(self, kind):
        """There the bits are those of the same features in float32, not rounded."""
        x, grad = self.X(KINDS[kind]), random_tensor(1, 1, 40, 40, dtype=torch.float32)
        assert torch.equal(plain("gram", x, None, 1, 1.0, False), plain("gram", x.float(), None, 1, 1.0, False))
        found = plain("_gram_backward", grad, x, None, 1, 1.0, False)
        assert torch.equal(found, plain("_gram_backward", grad, x.float(), None, 1, 1.0, False).to(x.dtype))
        assert not torch.equal(emulated("gram", x, None, 1, 1.0, False), plain("gram", x, None, 1, 1.0, False))

    @pytest.mark.usefixtures("allow_tf32")
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("weighted", "centered"), [(True, False), (False, True)])
    def test_weighted_and_centred_features_are_not_rounded(self, kind, weighted, centered):
        x = self.X(KINDS[kind])
        weight = random_tensor(1, 1, 264, dtype=torch.float32, seed=1).abs() if weighted else None
        gram = emulated("gram", x, weight, 1, 1.0, centered)
        assert torch.equal(gram, plain("gram", x, weight, 1, 1.0, centered))
        found = emulated("_gram_backward", gram, x, weight, 1, 1.0, centered)
        assert torch.equal(found, plain("_gram_backward", gram, x, weight, 1, 1.0, centered))

    @HALVES
    @pytest.mark.parametrize("layouts", [("rows", "channels_last"), ("slice", "rows"), ("strided", "rows")], ids=str)
    def test_layouts_that_differ(self, dtype, layouts):
        x, y = (LAYOUTS[layout](random_tensor(1, 24, 136, dtype=dtype, seed=s)) for s, layout in enumerate(layouts))
        gram = emulated("cross_gram", x, y, None, 0, 1.0, False)
        assert relative_error(gram[:, 0], x.double() @ y.double().mT) <= 1e-6


@HALVES
class TestPrecision:
    @pytest.mark.parametrize("layout", ["rows", "channels_last"])
    def test_many_positions(self, dtype, layout):
        """Sums that are cut off drift with their length; at most 1e-6 for any number of positions."""
        x = LAYOUTS[layout](relu_features(8, 3, 20_000, dtype=dtype))  # a block sums 303 positions and more
        emulation.load()
        emulation.set_order("forward")
        gram = torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)
        assert relative_error(gram[:, 0], x.double() @ x.double().mT / x.shape[2]) <= 4e-7

    def test_equal_features(self, dtype):
        x = torch.full((64, 1, 10_000), 7.3, dtype=dtype)  # so many images that a block sums 1,280 positions
        emulation.load()
        gram = torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)
        assert (gram.double() / x[0, 0, 0].double().square() - 1).abs().max() <= 3e-7

    def test_features_of_300(self, dtype):
        """One product alone, 90,000, exceeds the largest float16."""
        x = torch.full((1, 2, 1 << 18), 300.0, dtype=dtype)
        emulation.load()
        gram = torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)
        assert torch.equal(gram, torch.full((1, 1, 2, 2), 9e4))
        squares, difference = torch.ops.cnnfast_emulated.gram_mse(x[..., :64], gram * 0, None, 1, 1.0, False)
        assert torch.equal(squares, torch.tensor([[4 * 9e4**2]]))
        grad = torch.ones(1, 1)
        found = torch.ops.cnnfast_emulated._gram_mse_backward(grad, difference, x[..., :64], gram, None, 0, 1e7, False)
        expected = torch.full((1, 2, 64), 2 * 4 * 9e4 * 300 / 1e7, dtype=dtype)
        torch.testing.assert_close(found, expected, rtol=torch.finfo(dtype).eps, atol=0)

    @pytest.mark.parametrize("channels", [9, 200])
    def test_gradient_is_rounded_once(self, dtype, channels):
        x = random_tensor(1, channels, 80, dtype=dtype)
        grad = random_tensor(1, 1, 24, channels, dtype=torch.float32, seed=1)
        found = emulated("_cross_gram_backward", grad, x, None, 0, 1.0, False)
        expected, terms = grad[0].double() @ x.double(), grad[0].double().abs() @ x.double().abs()
        info = torch.finfo(dtype)
        assert ((found.double() - expected).abs() <= info.eps / 2 * expected.abs() + 5e-7 * terms).all()

    def test_factors_below_the_smallest_half(self, dtype):
        """The factor of a texture loss is often below 6e-8, which float16 cannot hold."""
        x = random_tensor(1, 40, 80, dtype=dtype) * 1000
        grad = random_tensor(1, 1, 24, 40, dtype=torch.float32, seed=1)
        found = emulated("_cross_gram_backward", grad, x, None, 0, 2e8, False).double()
        expected = grad[0].double() @ x.double() / 2e8
        assert (found - expected).abs().max() <= torch.finfo(dtype).eps * expected.abs().max() + 3e-8

    @pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
    def test_not_finite(self, dtype, value):
        x = random_tensor(1, 3, 72, dtype=dtype)
        x[0, 1, 7] = value
        gram = emulated("gram", x, None, 1, 1.0, False)[0, 0]
        exact = x[0].double() @ x[0].double().T / 72
        torch.testing.assert_close(gram.double(), exact, rtol=1e-5, atol=1e-5, equal_nan=True)

    def test_factor_that_is_not_finite(self, dtype):
        x, grad = torch.ones(1, 3, 8, dtype=dtype), torch.ones(1, 1, 3, 3)
        grad[..., 1, 2] = torch.inf
        found = emulated("_cross_gram_backward", grad, x, None, 0, 1.0, False)
        expected = torch.tensor([3.0, torch.inf, 3.0], dtype=dtype)[None, :, None].expand(1, 3, 8)
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("allow_tf32")
class TestInsidePyTorch:
    """The setting is read when a kernel starts, whatever PyTorch is doing then."""

    @pytest.fixture
    def x(self):
        emulation.load()
        emulation.set_order("forward")
        with emulation.emulated_kernels():
            yield features((2, 12, 64), torch.float32)

    def test_compiled(self, x):
        from cnnfast import ops

        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(ops.gram_matrix, fullgraph=True, backend=counter)
        assert torch.equal(compiled(x), ops.gram_matrix(x))
        torch.set_float32_matmul_precision("highest")
        exact = compiled(x)
        assert torch.equal(exact, ops.gram_matrix(x))
        torch.set_float32_matmul_precision("high")
        assert not torch.equal(compiled(x), exact)

    def test_vmap(self, x):
        from cnnfast import ops

        mapped = torch.vmap(ops.gram_matrix)(torch.stack([x, 2 * x]))
        torch.testing.assert_close(mapped, torch.stack([ops.gram_matrix(x), ops.gram_matrix(2 * x)]), rtol=0, atol=0)

    def test_gradient_on_another_thread(self, x):
        from cnnfast import ops

        x = x.requires_grad_()
        (grad,) = torch.autograd.grad(ops.gram_matrix(x)[:, :5].sum(), x)
        torch.set_float32_matmul_precision("highest")
        (exact,) = torch.autograd.grad(ops.gram_matrix(x)[:, :5].sum(), x)
        assert 1e-6 < relative_error(grad, exact.double()) < 1e-3
