"""The Gram family's CUDA kernels, run on the CPU in three thread orders, against their definitions in float64."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.cuda_emulation import emulation
from tests.cuda_emulation.emulated_cases import (
    DTYPES,
    FORWARD,
    GRADIENT,
    LAYOUTS,
    NORMALIZE,
    Exact,
    emulated,
    features,
    pixel_weights,
)
from tests.ops.tensors import random_tensor, relative_error, relu_features

pytestmark = [
    pytest.mark.skipif(
        not (emulation.KERNELS and emulation.compiler()), reason="needs the CUDA sources and a C++ compiler"
    ),
    pytest.mark.sanitized_where("float32", "float64-rows", "float16-channels_last", "bfloat16-slice"),
]
# Around the sides of a tile (64), of a panel (32) and of the shortest chunk (256): one, several and broken ones.
SIZES = [(1, 1), (3, 31), (5, 257), (63, 33), (64, 32), (65, 64), (33, 700), (130, 40)]


def division_of(kind, centered):
    return NORMALIZE[kind], 2.5, centered


class Case:
    """One combination of dtype, layout, weights, centring and divisor, a size that changes with it."""

    def __init__(self, dtype, layout, weights, centered, size):
        channels, pixels = size
        if centered and channels * pixels == 1:
            pixels = 2  # of one position the covariance is zero up to rounding
        self.dtype = DTYPES[dtype]
        self.accumulation = torch.float64 if dtype == "float64" else torch.float32
        self.x = features((2, channels, pixels), self.dtype, layout)
        self.y = features((2, channels % 7 + 1, pixels), self.dtype, layout, seed=1)
        self.weight = pixel_weights(weights, 2, pixels, self.dtype)
        self.normalize = list(NORMALIZE)[(channels + pixels) % 3]
        self.division = division_of(self.normalize, centered)
        self.exact = Exact(self.x, self.weight, *self.division)
        self.regions = self.exact.weight.shape[1]

    def matrices(self, rows, columns, seed, batch=2):
        return random_tensor(batch, self.regions, rows, columns, seed=seed).to(self.accumulation)


COMBINATIONS = [
    pytest.param(*combination, SIZES[(index + index // 8) % 8], id="-".join(map(str, combination)))
    for index, combination in enumerate(
        itertools.product(DTYPES, LAYOUTS, ["none", "one", "shared", "regions"], [False, True])
    )
    if combination[0] in ("float32", "bfloat16") or combination[1] in ("rows", "channels_last")
]
EVERY_SIZE = [
    pytest.param("float32", layout, "none", False, size, id=f"{size}-{layout}")
    for size in SIZES
    for layout in ("rows", "channels_last")
]


@pytest.mark.covering
@pytest.mark.parametrize(("dtype", "layout", "weights", "centered", "size"), COMBINATIONS + EVERY_SIZE)
class TestAgainstDefinition:
    @pytest.fixture
    def case(self, dtype, layout, weights, centered, size):
        return Case(dtype, layout, weights, centered, size)

    def test_gram(self, case):
        gram = emulated("gram", case.x, case.weight, *case.division)
        assert gram.dtype == case.accumulation and gram.is_contiguous()
        assert relative_error(gram, case.exact.products(case.exact.x)) <= FORWARD[case.dtype]
        assert torch.equal(gram, gram.mT)
        assert case.regions == 1 or not gram[:, 1].any()

    def test_gram_backward(self, case):
        channels = case.x.shape[1]
        grad = case.matrices(channels, channels, 2)
        found = emulated("_gram_backward", grad.mT.contiguous().mT, case.x, case.weight, *case.division)
        assert found.dtype == case.dtype
        assert found.transpose(1, 2).is_contiguous() if self.last(case.x) else found.is_contiguous()
        assert relative_error(found, case.exact.mixed(grad.double() + grad.double().mT)) <= GRADIENT[case.dtype]

    def test_cross_gram(self, case):
        gram = emulated("cross_gram", case.x, case.y, case.weight, *case.division)
        y = case.exact.centre(case.y.double()[:, None])
        assert relative_error(gram, case.exact.products(y)) <= FORWARD[case.dtype]

    def test_cross_gram_backward(self, case):
        grad = case.matrices(5, case.y.shape[1], 3)
        found = emulated("_cross_gram_backward", grad, case.y, case.weight, *case.division)
        exact = Exact(case.y, case.weight, *case.division, channels=5)
        assert found.dtype == case.dtype
        assert found.transpose(1, 2).is_contiguous() if self.last(case.y) else found.is_contiguous()
        assert relative_error(found, exact.mixed(grad.double())) <= GRADIENT[case.dtype]

    def test_loss(self, case):
        channels = case.x.shape[1]
        target = case.matrices(channels, channels, 4, batch=channels % 2 + 1)
        squares, difference = emulated("gram_mse", case.x, target, case.weight, *case.division)
        exact = case.exact.products(case.exact.x) - target.double()
        assert relative_error(squares, exact.square().sum((2, 3))) <= FORWARD[case.dtype]
        assert relative_error(difference, (exact + exact.mT) / 2) <= FORWARD[case.dtype]
        assert torch.equal(difference, difference.mT)

    def test_loss_backward(self, case):
        channels = case.x.shape[1]
        difference = case.matrices(channels, channels, 5)
        difference = difference + difference.mT
        grad = random_tensor(2, case.regions, seed=6).to(case.accumulation)
        found = emulated("_gram_mse_backward", grad, difference, case.x, difference, case.weight, *case.division)
        exact = case.exact.mixed(4 * grad.double()[..., None, None] * difference.double())
        assert relative_error(found, exact) <= GRADIENT[case.dtype]

    @staticmethod
    def last(x):
        return x.shape[1] > 1 and x.stride(1) == 1 and x.stride(2) > 1


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("weights", ["none", "regions"])
@pytest.mark.sanitized
class TestEmpty:
    """Sums over nothing are zero, and nothing of size zero is launched."""

    def test_all(self, shape, weights):
        batch, channels, pixels = shape
        x, weight = torch.ones(shape), pixel_weights(weights, batch, pixels, torch.float32)
        regions = 1 if weight is None else 3
        division = (1, 1.0, True)
        zeros = torch.zeros(batch, regions, channels, channels)
        assert torch.equal(emulated("gram", x, weight, *division), zeros)
        assert torch.equal(emulated("cross_gram", x, x, weight, *division), zeros)
        squares, difference = emulated("gram_mse", x, zeros + 2, weight, *division)
        assert torch.equal(squares, torch.full((batch, regions), 4.0 * channels**2))
        assert torch.equal(difference, zeros - 2)
        assert torch.equal(emulated("_gram_backward", zeros, x, weight, *division), torch.zeros(shape))
        wide = torch.ones(batch, regions, 4, channels)
        found = emulated("_cross_gram_backward", wide, x, weight, 1, 1.0, False)
        assert found.shape == (batch, 4, pixels) and (channels > 0 or not found.any())

    def test_no_regions(self, shape, weights):
        batch, channels, pixels = shape
        weight = torch.ones(batch, 0, pixels)
        assert emulated("gram", torch.ones(shape), weight, 1, 1.0, False).shape == (batch, 0, channels, channels)
        grad = torch.ones(batch, 0, channels, channels)
        assert torch.equal(
            emulated("_gram_backward", grad, torch.ones(shape), weight, 1, 1.0, False), torch.zeros(shape)
        )


class TestPrecision:
    """The promises of the CPU's kernels hold for CUDA's: at most 1e-6 for any number of positions."""

    @pytest.mark.parametrize("layout", ["rows", "channels_last"])
    def test_many_positions(self, layout):
        x = LAYOUTS[layout](relu_features(1, 3, 300_001))
        expected = x.double() @ x.double().mT / x.shape[2]
        emulation.load()
        emulation.set_order("forward")
        gram = torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)
        assert relative_error(gram[:, 0], expected) <= 3e-7

    def test_equal_features(self):
        """Sums of equal numbers drift worst."""
        x = torch.full((64, 1, 20_000), 7.3)  # so many images that a block sums 2,500 positions
        emulation.load()
        gram = torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)
        assert (gram.double() / x[0, 0, 0].double().square() - 1).abs().max() <= 3e-7

    def test_centred_features_with_a_large_mean(self):
        x = (100 + 0.1 * random_tensor(1, 3, 20_000)).float()
        deviation = x.double() - x.double().mean(-1, keepdim=True)
        expected = deviation @ deviation.mT / x.shape[2]
        assert relative_error(emulated("gram", x, None, 1, 1.0, True)[:, 0], expected) <= 1e-4

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_large_halves_do_not_overflow(self, dtype):
        x = torch.full((1, 2, 5000), 300.0, dtype=dtype)
        assert torch.equal(emulated("gram", x, None, 0, 1.0, False), torch.full((1, 1, 2, 2), 9e4 * 5000))

    @pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
    def test_not_finite(self, value):
        x = random_tensor(1, 3, 40, dtype=torch.float32)
        x[0, 1, 7] = value
        gram = emulated("gram", x, None, 1, 1.0, False)[0, 0]
        exact = x[0].double() @ x[0].double().mT / 40
        torch.testing.assert_close(gram.double(), exact, rtol=1e-5, atol=1e-5, equal_nan=True)


class TestWorkspace:
    def test_more_matrices_than_the_workspace_holds(self):
        """A batch is summed in groups; 16,500 matrices need two."""
        x = random_tensor(16_500, 1, 2, dtype=torch.float32)
        emulation.load()
        emulation.set_order("forward")
        target = torch.zeros(1, 1, 1, 1)
        squares, _ = torch.ops.cnnfast_emulated.gram_mse(x, target, None, 0, 1.0, False)
        exact = x.double().square().sum((1, 2)).square()
        assert relative_error(squares[:, 0], exact) <= 1e-6


@pytest.mark.sanitized
class TestChecks:
    """Arguments that would read outside of memory are refused on CUDA as on the CPU."""

    @pytest.fixture(params=["cnnfast", "cnnfast_emulated"])
    def operators(self, request):
        emulation.load()
        return getattr(torch.ops, request.param)

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("gram", lambda x: (x[0], None)),
            ("gram", lambda x: (x.int(), None)),
            ("gram", lambda x: (x, x.new_ones(2, 1, 4))),
            ("gram", lambda x: (x, x.new_ones(3, 1, 5))),
            ("gram", lambda x: (x, x.new_ones(2, 1, 5).double())),
            ("_gram_backward", lambda x: (x.new_ones(2, 1, 3, 4), x, None)),
            ("_gram_backward", lambda x: (x.new_ones(1, 1, 3, 3), x, None)),
            ("cross_gram", lambda x: (x, x[:1], None)),
            ("cross_gram", lambda x: (x, x.double(), None)),
            ("cross_gram", lambda x: (x, x[..., 1:], None)),
            ("_cross_gram_backward", lambda x: (x.new_ones(2, 3, 3), x, None)),
            ("gram_mse", lambda x: (x, x.new_ones(2, 2, 3, 3), None)),
            ("gram_mse", lambda x: (x, x.new_ones(3, 1, 3, 3), None)),
            ("_gram_mse_backward", lambda x: (x.new_ones(2, 2), x.new_ones(2, 1, 3, 3), x, x, None)),
        ],
    )
    def test_refused(self, operators, name, arguments):
        with pytest.raises(RuntimeError, match=f"{name}: "):
            getattr(operators, name)(*arguments(torch.ones(2, 3, 5)), 1, 1.0, False)

    def test_unknown_divisor(self, operators):
        with pytest.raises(RuntimeError, match="normalize must be 0, 1 or 2, got 3"):
            operators.gram(torch.ones(2, 3, 5), None, 3, 1.0, False)


def test_public_functions_reach_the_emulated_kernels():
    """Inside the context manager the operator's bits are the emulated kernel's, afterwards the CPU's again."""
    from cnnfast import ops

    x = random_tensor(1, 5, 3000, dtype=torch.float32)
    cpu = ops.gram_matrix(x)
    with emulation.emulated_kernels():
        emulation.set_order("forward")
        inside = ops.gram_matrix(x)
        assert torch.equal(inside, torch.ops.cnnfast_emulated.gram(x, None, 1, 1.0, False)[:, 0])
    assert not torch.equal(inside, cpu)
    assert torch.equal(ops.gram_matrix(x), cpu)
