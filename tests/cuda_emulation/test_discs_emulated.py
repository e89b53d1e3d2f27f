"""The disc operators' CUDA kernels, run on the CPU in three thread orders, against their plain twins in float64."""

from __future__ import annotations

import pytest
import torch

from cnnfast import reference
from tests.cuda_emulation import emulation
from tests.cuda_emulation.emulated_cases import DTYPES, emulated

pytestmark = [
    pytest.mark.skipif(
        not (emulation.KERNELS and emulation.compiler()), reason="needs the CUDA sources and a C++ compiler"
    ),
    pytest.mark.sanitized_where("float32", "test_empty"),
]
UNCERTAINTY = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}
EXACT = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-6, torch.float16: 1e-6}
ROUNDED = EXACT | {torch.bfloat16: 5e-3, torch.float16: 6e-4}
# (height, width), radii, pad: sources narrower than a disc, results around a block's 32 columns and 32 rows, radii in
# and out of order, repeated, 0, and larger than the planes; pads of none, less, equal and more than the largest.
CASES = {
    "one": ((1, 1), (0,), 0),
    "cross": ((1, 1), (1,), 2),
    "line": ((1, 40), (2, 0, 2), 1),
    "column": ((40, 1), (3,), 3),
    "heads": ((28, 28), (0, 1, 3, 5, 7), 7),
    "less": ((33, 20), (7, 1), 2),
    "none": ((20, 20), (16, 4), 0),
    "wide": ((5, 270), (0, 1, 2, 3, 4, 5, 6, 7, 8), 8),
    "large": ((9, 30), (40, 2), 5),
    "covers": ((3, 4), (500, 30), 9),
}


def double(tensor):
    return tensor.detach().double().requires_grad_()


def error(found, expected):
    """Largest error over the largest expected value."""
    assert found.shape == expected.shape
    return (
        ((found.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-300)).item()
        if found.numel()
        else 0
    )


class Case:
    """Bins of probabilities, weights, and what the operators must give."""

    def __init__(self, name, dtype, weighted=True, images=2):
        (height, width), self.radii, self.pad = CASES[name]
        generator = torch.Generator().manual_seed(3)
        self.dtype = DTYPES[dtype]
        self.accumulation = torch.float64 if dtype == "float64" else torch.float32
        kinds = len(self.radii)
        self.bins = torch.rand(images, kinds, height, width, generator=generator, dtype=torch.float64).to(self.dtype)
        self.weight = torch.randn(kinds, generator=generator, dtype=torch.float64).to(self.accumulation)
        size = (images, 1, height + 2 * self.pad, width + 2 * self.pad)
        self.grad = torch.randn(size, generator=generator, dtype=torch.float64).to(self.accumulation)
        self.weight = self.weight if weighted else None
        self.exact_bins = double(self.bins)
        self.exact_weight = torch.ones(kinds).double().requires_grad_() if self.weight is None else double(self.weight)

    def expected(self, noisy_or=False):
        """The sum in float64, and its gradients for bins and weight."""
        bins = self.exact_bins
        if noisy_or:
            limit = 1 - UNCERTAINTY[self.dtype]
            bins = -torch.log1p(-torch.where(bins > limit, limit + (bins - bins.detach()), bins))
        sums = reference.disc_sum(bins, self.radii, self.exact_weight, pad=self.pad)
        return sums, *torch.autograd.grad(sums, (self.exact_bins, self.exact_weight), self.grad.double())

    def sum(self, noisy_or=False):
        return emulated("disc_sum", self.bins, self.radii, None if noisy_or else self.weight, self.pad, noisy_or)

    def gradients(self, noisy_or=False, bins=True, weight=True):
        given = (None if noisy_or else self.weight, self.pad, noisy_or, bins, weight and not noisy_or)
        return emulated("_disc_sum_backward", self.grad, self.bins, self.radii, *given)


BY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
EVERY_CASE = [
    pytest.param(name, dtype, id=f"{name}-{dtype}")
    for index, name in enumerate(CASES)
    for dtype in ("float32", ("float64", "bfloat16", "float16")[index % 3])
]


class TestSum:
    @pytest.mark.parametrize(("name", "dtype"), EVERY_CASE)
    def test_weighted(self, name, dtype):
        case = Case(name, dtype)
        sums, bins_grad, weight_grad = case.expected()
        found = case.sum()
        assert found.dtype == case.accumulation and found.is_contiguous()
        assert error(found, sums) <= EXACT[case.dtype]
        found_bins, found_weight = case.gradients()
        assert found_bins.dtype == case.dtype and found_weight.dtype == case.accumulation
        assert error(found_bins, bins_grad) <= ROUNDED[case.dtype]
        assert error(found_weight, weight_grad) <= EXACT[case.dtype] * max(1, case.bins[:, 0].numel() ** 0.5 / 4)

    @BY_DTYPE
    def test_plain(self, dtype):
        case = Case("heads", dtype, weighted=False)
        sums, bins_grad, weight_grad = case.expected()
        assert error(case.sum(), sums) <= EXACT[case.dtype]
        found_bins, nothing = case.gradients(weight=False)
        assert error(found_bins, bins_grad) <= ROUNDED[case.dtype]
        assert nothing.shape == (0,)
        nothing, found_weight = case.gradients(bins=False)
        assert nothing.shape == (0,)
        assert error(found_weight, weight_grad) <= 10 * EXACT[case.dtype]

    @BY_DTYPE
    @pytest.mark.parametrize("name", ["heads", "less"])
    def test_noisy_or(self, name, dtype):
        """Also of certain bins, whose evidence is finite; their 1 - b has two digits in float32."""
        case = Case(name, dtype, weighted=False)
        case.bins[:, :, ::3, ::2] = 1.0
        case.bins[:, :, 1::3, ::2] = 0.0
        case.grad = case.grad.abs()
        case.exact_bins = double(case.bins)
        sums, bins_grad, _ = case.expected(noisy_or=True)
        certain = {"float64": 1e-9, "float32": 5e-2, "bfloat16": 1e-2, "float16": 2e-3}[dtype]
        assert error(case.sum(noisy_or=True), sums) <= certain / 10
        found, nothing = case.gradients(noisy_or=True)
        assert nothing.shape == (0,)
        bins_grad = bins_grad.to(case.dtype)  # overflows float16 near a certain bin
        torch.testing.assert_close(found, bins_grad, rtol=certain, atol=0)
        doubtful = case.bins < 0.9
        torch.testing.assert_close(found[doubtful], bins_grad[doubtful], rtol=min(certain, 1e-2), atol=0)

    def test_many_bins(self):
        generator = torch.Generator().manual_seed(0)
        radii = [n % 9 for n in range(64)]
        bins = torch.rand(1, 64, 5, 6, generator=generator)
        found = emulated("disc_sum", bins, radii, None, 3, False)
        assert error(found, reference.disc_sum(bins.double(), radii, pad=3)) <= 1e-6

    @pytest.mark.parametrize(("width", "radii", "pad"), [(70, (127, 3), 1), (300, (60, 127), 0), (6, (32767, 40), 12)])
    def test_large_radii(self, width, radii, pad):
        """Discs wider than a block, whose sources it visits in several parts."""
        bins = torch.rand(1, 2, 2, width, generator=torch.Generator().manual_seed(0))
        found = emulated("disc_sum", bins, radii, None, pad, False)
        assert error(found, reference.disc_sum(bins.double(), radii, pad=pad)) <= 1e-6

    def test_half_sums_do_not_overflow(self):
        bins = torch.full((1, 1, 30, 30), 300.0, dtype=torch.float16)
        assert emulated("disc_sum", bins, [10], None, 0, False).max() == 300 * 317

    def test_any_strides(self):
        case = Case("less", "float32")
        bins_grad, weight_grad = case.gradients()
        for layout in (lambda x: x.mT.contiguous().mT, lambda x: torch.stack([x, x * torch.nan], -1)[..., 0]):
            assert torch.equal(
                emulated("disc_sum", layout(case.bins), case.radii, case.weight, case.pad, False), case.sum()
            )
            found = emulated(
                "_disc_sum_backward",
                *(layout(case.grad), layout(case.bins), case.radii, case.weight, case.pad),
                *(False, True, True),
            )
            assert torch.equal(found[0], bins_grad) and torch.equal(found[1], weight_grad)

    def test_gradient_of_an_expanded_tensor(self):
        case = Case("less", "float32")
        case.grad = torch.ones(1).expand(case.grad.shape)
        _, bins_grad, _ = case.expected()
        assert error(case.gradients()[0], bins_grad) <= 1e-6


class TestMax:
    @staticmethod
    def assert_equals_twin(bins, radii, pad):
        largest, index = emulated("disc_max", bins, radii, pad)
        expected = reference.inverse_distance_transform(bins, radii, pad=pad, union="max")
        assert largest.dtype == bins.dtype and index.dtype == torch.int64
        torch.testing.assert_close(largest, expected, rtol=0, atol=0, equal_nan=True)
        height, width = bins.shape[2:]
        y, x = torch.meshgrid(*(torch.arange(-pad, size + pad) for size in (height, width)), indexing="ij")
        found = index.clamp(min=0)
        n, from_y, from_x = found // (height * width), found // width % height, found % width
        values = bins.flatten(1).gather(1, found.flatten(1)).view_as(largest)
        is_inside = (from_y - y).square() + (from_x - x).square() <= torch.tensor(radii).square()[n]
        assert (is_inside & ((values == largest) | values.isnan()))[index >= 0].all()
        assert (largest[index < 0] == 0).all()
        return index

    @pytest.mark.parametrize(("name", "dtype"), EVERY_CASE)
    def test_against_twin(self, name, dtype):
        case = Case(name, dtype)
        self.assert_equals_twin(case.bins - 0.5, case.radii, case.pad)

    def test_where_no_disc_reaches(self):
        index = self.assert_equals_twin(torch.full((1, 1, 2, 2), -3.0), [1], 3)
        assert (index < 0).sum() == 64 - 12

    def test_equal_values(self):
        """The first of them in memory."""
        bins = torch.zeros(1, 2, 6, 6)
        index = self.assert_equals_twin(bins, [1, 2], 0)[0, 0]
        assert index[0, 0] == 0 and index[5, 5] == 29 and index[3, 3] == 15

    def test_not_finite(self):
        bins = torch.rand(2, 2, 20, 21)
        bins[0, 0, 3, 4] = torch.nan
        bins[0, 1, 10, 10] = torch.inf
        bins[1] = -torch.inf
        index = self.assert_equals_twin(bins, [2, 3], 2)
        assert (index[1] == -1).all()


class TestUnion:
    @pytest.mark.parametrize("name", CASES)
    @pytest.mark.parametrize("density", [0.01, 0.3])
    def test_against_twin(self, name, density):
        size, radii, pad = CASES[name]
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(1, len(radii) + 1, (3, *size), generator=generator)
        labels = torch.where(torch.rand(3, *size, generator=generator) < density, labels, 0).to(torch.uint8)
        labels[0].fill_(0)[-1, -1] = 1
        found = emulated("disc_union", labels, radii, pad)
        assert found.dtype == torch.bool
        assert torch.equal(found, reference.disc_union(labels, radii, pad=pad))

    def test_all_labels(self):
        """255 radii, and labels without one, which paint nothing."""
        labels = torch.zeros(1, 40, 40, dtype=torch.uint8)
        labels[0, 20, 20] = 255
        radii = [0] * 254 + [6]
        assert torch.equal(emulated("disc_union", labels, radii, 0), reference.disc_union(labels, radii, pad=0))
        assert not emulated("disc_union", labels, radii[:9], 0).any()

    def test_inverts_the_distance_transform(self):
        mask = torch.rand(2, 45, 33, generator=torch.Generator().manual_seed(0)) > 0.1
        bins = emulated("mask_to_bins", mask, 9, 5, False, False, 0)
        assert torch.equal(emulated("disc_union", bins, [0, 1, 3, 5, 7], 0), mask)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)], ids=str)
def test_empty(shape):
    """Sums over nothing are zero, and nothing of size zero is launched."""
    images, _, height, width = shape
    bins, size = torch.ones(shape), (images, 1, height + 4, width + 4)
    for noisy_or in (False, True):
        assert torch.equal(emulated("disc_sum", bins, [1, 2], None, 2, noisy_or), torch.zeros(size))
    grad = torch.ones(size)
    bins_grad, weight_grad = emulated("_disc_sum_backward", grad, bins, [1, 2], None, 2, False, True, True)
    assert bins_grad.shape == shape and torch.equal(weight_grad, torch.zeros(2))
    largest, index = emulated("disc_max", bins, [1, 2], 2)
    assert torch.equal(largest, torch.zeros(size)) and (index == -1).all()
    labels = bins[:, 0].to(torch.uint8)
    assert torch.equal(emulated("disc_union", labels, [1, 2], 2), torch.zeros(size, dtype=torch.bool)[:, 0])


def parity_cases(arrays):
    """The tensors of every case of a file."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    names = {name.split("/")[0] for name in tensors if "/" in name}
    return [{key.split("/")[1]: tensors[key] for key in tensors if key.startswith(f"{name}/")} for name in names]


class TestParity:
    """Discs that were stamped pixel by pixel, and float64 convolutions with disc kernels."""

    def test_union(self, parity):
        emulation.load()
        emulation.set_order("forward")
        for case in parity_cases(parity("union_hard", "bais")):
            given = case["labels"][None], case["radii"].tolist(), int(case["pad"])
            assert torch.equal(torch.ops.cnnfast_emulated.disc_union(*given)[0], case["mask"])

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
    def test_soft(self, dtype, tolerance, parity):
        for case in parity_cases(parity("idt_soft", "bais")):
            bins, weight, bias = case["B"].to(dtype), case["w"].to(dtype), case["b"]
            radii, pad = case["radii"].tolist(), int(case["pad"])
            logit = emulated("disc_sum", bins, radii, weight, pad, False).double() + bias
            torch.testing.assert_close(logit, case["logit"].view_as(logit), rtol=0, atol=tolerance)
            covered = -torch.expm1(-emulated("disc_sum", bins, radii, None, pad, True).double())
            torch.testing.assert_close(covered, case["noisy_or"].view_as(covered), rtol=0, atol=tolerance)
            largest, _ = emulated("disc_max", bins, radii, pad)
            assert torch.equal(largest, case["soft_max"].view_as(largest).to(dtype))


@pytest.mark.sanitized
class TestChecks:
    """Arguments that would read outside of memory are refused on CUDA as on the CPU."""

    @pytest.fixture(params=["cnnfast", "cnnfast_emulated"])
    def operators(self, request):
        emulation.load()
        return getattr(torch.ops, request.param)

    @pytest.mark.parametrize(
        ("bins", "radii", "weight", "pad", "noisy_or"),
        [
            (torch.ones(2, 3, 4), [1, 1], None, 0, False),
            (torch.ones(1, 2, 3, 4), [1], None, 0, False),
            (torch.ones(1, 0, 3, 4), [], None, 0, False),
            (torch.ones(1, 2, 3, 4), [1, -1], None, 0, False),
            (torch.ones(1, 2, 3, 4), [1, 32768], None, 0, False),
            (torch.ones(1, 2, 3, 4), [1, 1], None, -1, False),
            (torch.ones(1, 2, 3, 4), [1, 1], torch.ones(3), 0, False),
            (torch.ones(1, 2, 3, 4), [1, 1], torch.ones(2).double(), 0, False),
            (torch.ones(1, 2, 3, 4), [1, 1], torch.ones(2), 0, True),
            (torch.ones(1, 2, 3, 4).int(), [1, 1], None, 0, False),
        ],
        ids=range(10),
    )
    def test_refused(self, operators, bins, radii, weight, pad, noisy_or):
        with pytest.raises(RuntimeError, match="disc_sum: "):
            operators.disc_sum(bins, radii, weight, pad, noisy_or)

    @pytest.mark.parametrize(
        "grad", [torch.ones(1, 1, 5, 5), torch.ones(1, 2, 5, 6), torch.ones(1, 1, 5, 6).half(), torch.ones(1, 5, 6)]
    )
    def test_gradient_refused(self, operators, grad):
        with pytest.raises(RuntimeError, match="_disc_sum_backward: grad"):
            operators._disc_sum_backward(grad, torch.ones(1, 2, 3, 4), [1, 1], None, 1, False, True, True)

    def test_others_refused(self, operators):
        with pytest.raises(RuntimeError, match="disc_max: "):
            operators.disc_max(torch.ones(1, 2, 3, 4), [1], 0)
        with pytest.raises(RuntimeError, match="disc_union: "):
            operators.disc_union(torch.ones(1, 3, 4), [1], 0)
        with pytest.raises(RuntimeError, match="disc_union: "):
            operators.disc_union(torch.ones(1, 3, 4, dtype=torch.uint8), [1] * 256, 0)

    def test_limits_of_cuda(self):
        emulation.load()
        operators = torch.ops.cnnfast_emulated
        with pytest.raises(RuntimeError, match="disc_sum: expected at most 512 radii on CUDA, got 513"):
            operators.disc_sum(torch.ones(1, 513, 1, 1), [1] * 513, None, 0, False)
        with pytest.raises(RuntimeError, match="disc_max: expected results of at most 2\\^29 rows and columns on CUDA"):
            operators.disc_max(torch.ones(0, 1, 1, 1), [1], 1 << 30)
