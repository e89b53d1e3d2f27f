"""Values and first gradients of the disc functions against their plain PyTorch twins in float64."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.discs.cases import CASES, probabilities, random_labels
from tests.ops.tensors import random_tensor, relative_error

pytestmark = [pytest.mark.emulated, pytest.mark.sanitized]

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# Halves: the result is rounded once, to 8 or 11 bits.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}
BY_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
WIDTHS = [*range(1, 71), 127, 128, 129, 255, 257, 1023, 1024, 1025]
SHAPES = [(0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0), (1, 2, 1, 1), (3, 2, 1, 40), (3, 2, 40, 1), (5, 2, 28, 28)]
SHAPES += [(9, 2, 7, 13), (1, 2, 150, 37), (2, 2, 33, 300)]


def assert_sum_equals_twin(B, radii, weight, pad):
    """Values, and the gradients of a random projection, equal those of the twin in float64."""
    leaves = [t.detach().requires_grad_() for t in (B, weight) if t is not None]
    exact = [t.detach().double().requires_grad_() for t in leaves]
    actual, expected = (
        ops.disc_sum(leaves[0], radii, *leaves[1:], pad=pad),
        reference.disc_sum(exact[0], radii, *exact[1:], pad=pad),
    )
    tolerance = TOLERANCE[B.dtype]
    assert actual.dtype == B.dtype and actual.is_contiguous()
    terms = reference.disc_sum(exact[0].abs(), radii, *(w.abs() for w in exact[1:]), pad=pad)
    largest = terms.max().item() if terms.numel() else 0.0
    assert relative_error(actual, expected, largest) <= tolerance
    upstream = random_tensor(*expected.shape, seed=99, device=B.device).to(B.dtype)
    for a, e in zip(
        torch.autograd.grad(actual, leaves, upstream),
        torch.autograd.grad(expected, exact, upstream.double()),
        strict=True,
    ):
        assert a.dtype in (B.dtype, torch.float32) and a.is_contiguous()
        assert relative_error(a, e) <= 20 * tolerance


@BY_DTYPE
class TestSum:
    @pytest.mark.covering
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("pad", [0, 1, 4, 6])
    def test_shapes(self, shape, pad, dtype, device):
        B = random_tensor(*shape, dtype=dtype, device=device)
        weight = random_tensor(2, device=device, seed=1).to(torch.float64 if dtype == torch.float64 else torch.float32)
        assert_sum_equals_twin(B, (1, 4), weight, pad)
        assert_sum_equals_twin(B, (3, 0), None, pad)

    @pytest.mark.parametrize("radii", [(0,), (1,), (0, 0), (7, 2, 7), tuple(range(9)), (15, 1), (40,)], ids=str)
    def test_radii(self, radii, dtype, device):
        B = random_tensor(2, len(radii), 21, 19, dtype=dtype, device=device)
        assert_sum_equals_twin(B, radii, None, None)
        assert_sum_equals_twin(B, radii, None, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("width", WIDTHS)
def test_widths(width, dtype, device):
    B = random_tensor(2, 2, 3, width, dtype=dtype, device=device)
    assert_sum_equals_twin(B, (2, 1), None, 2)


@pytest.mark.parametrize("width", [4095, 4096, 4097, 40_000])
def test_wide_planes_are_cut_into_tiles(width, device):
    B = random_tensor(1, 9, 2, width, dtype=torch.float32, device=device)
    radii = tuple(range(9))
    whole = ops.disc_sum(B, radii)
    for first in (0, width // 2, width - 100):
        part = B[..., first : first + 100]
        expected = ops.disc_sum(part, radii)
        inner = slice(0 if first == 0 else 16, None if first + 100 == width else -16)
        assert torch.equal(whole[..., first : first + 116][..., inner], expected[..., inner])


def test_high_planes_are_cut_into_bands(device):
    B = random_tensor(1, 3, 700, 20, dtype=torch.float32, device=device)
    assert_sum_equals_twin(B, (1, 5, 8), None, 8)
    assert torch.equal(
        ops.disc_sum(B, (1, 5, 8))[:, :, 300:340], ops.disc_sum(B[:, :, 280:344], (1, 5, 8))[:, :, 20:60]
    )


@pytest.mark.compute_sanitizer
@BY_DTYPE
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_combination_of_arguments(case, dtype, device):
    tensors = case.tensors(dtype, device, "all")
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in tensors.items()}
    actual, expected = case(ops, tensors), case(reference, exact)
    assert actual.dtype == dtype
    tolerance = 4 * TOLERANCE[dtype]
    assert relative_error(actual, expected) <= tolerance
    upstream = random_tensor(*expected.shape, seed=99, device=device).to(dtype)
    actual_grads = torch.autograd.grad(actual, list(tensors.values()), upstream)
    for a, e in zip(actual_grads, torch.autograd.grad(expected, list(exact.values()), upstream.double()), strict=True):
        assert relative_error(a, e) <= 20 * tolerance


def strided(x):
    """The same values in several layouts."""
    yield x.to(memory_format=torch.channels_last)
    yield x.mT.contiguous().mT
    yield x.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    padded = torch.nn.functional.pad(x, (2, 3, 1, 2, 1, 2, 1, 1), value=math.nan)
    yield padded[1:-1, 1:-2, 1:-2, 2:-3]
    yield torch.stack([x, x * math.nan], 4).flatten(3, 4)[..., ::2]


@BY_DTYPE
def test_layouts(dtype, device):
    x = probabilities(2, 3, 9, 37, dtype=dtype, device=device)
    radii = (0, 2, 5)
    expected = [ops.inverse_distance_transform(x, radii, union=union) for union in ("sum", "noisy_or", "max")]
    for laid in strided(x):
        assert torch.equal(laid, x)
        for union, wanted in zip(("sum", "noisy_or", "max"), expected, strict=True):
            leaf = laid.detach().requires_grad_()
            mask = ops.inverse_distance_transform(leaf, radii, union=union)
            assert torch.equal(mask, wanted) and mask.is_contiguous()
            (gradient,) = torch.autograd.grad(mask.sum(), leaf)  # an expanded upstream gradient
            other = x.detach().requires_grad_()
            (same,) = torch.autograd.grad(ops.inverse_distance_transform(other, radii, union=union).sum(), other)
            assert torch.equal(gradient, same)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (3,), (2, 3), (0, 1, 2, 3)], ids=str)
def test_expanded_bins(axes, device):
    shape = [1 if axis in axes else size for axis, size in enumerate((2, 3, 6, 20))]
    expanded = probabilities(*shape, device=device).expand(2, 3, 6, 20)
    for union in ("sum", "noisy_or", "max"):
        actual = ops.inverse_distance_transform(expanded, (0, 1, 4), union=union)
        assert torch.equal(actual, ops.inverse_distance_transform(expanded.contiguous(), (0, 1, 4), union=union))


class TestMaximum:
    def test_values_are_those_of_the_bins(self, device):
        """No rounding: every result is one of the input's values, or 0."""
        B = random_tensor(2, 3, 20, 33, dtype=torch.float16, device=device)
        found = ops.inverse_distance_transform(B, (0, 2, 6), union="max")
        assert torch.isin(found, torch.cat([B.flatten(), B.new_zeros(1)])).all()
        assert torch.equal(found, reference.inverse_distance_transform(B, (0, 2, 6), union="max"))

    def test_index_leads_to_the_value(self, device):
        B = random_tensor(2, 3, 20, 33, dtype=torch.float32, device=device)
        largest, found = torch.ops.cnnfast.disc_max(B, [0, 2, 6], 8)
        taken = B.flatten(1).gather(1, found.flatten(1).clamp(min=0)).view_as(largest)
        assert torch.equal(torch.where(found < 0, 0, taken), largest)
        assert (found < 0).any() and (found >= 0).any()

    def test_gradient_of_equal_values_goes_to_one(self, device):
        B = torch.full((1, 2, 9, 9), 0.5, device=device, requires_grad=True)
        mask = ops.inverse_distance_transform(B, (1, 3), union="max")
        (gradient,) = torch.autograd.grad(mask.sum(), B)
        assert gradient.sum() == (mask > 0).sum() and torch.equal(gradient, gradient.round())

    def test_not_a_number_wins(self, device):
        B = probabilities(1, 1, 9, 40, device=device)
        B[0, 0, 4, 20] = math.nan
        mask = ops.inverse_distance_transform(B, (2,), union="max", pad=0)
        assert torch.equal(mask.isnan(), reference.inverse_distance_transform(B, (2,), union="max", pad=0).isnan())
        assert mask.isnan().sum() == 13


class TestNonFinite:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_spreads_over_its_disc_alone(self, value, device):
        B = torch.zeros(2, 2, 20, 40, device=device)
        B[1, 1, 10, 17] = value
        sums = ops.disc_sum(B, (1, 3), pad=0)
        assert (~sums.isfinite()).sum() == 29 and sums[0].isfinite().all()

    def test_in_the_gradient(self, device):
        B = torch.zeros(1, 2, 20, 40, device=device, requires_grad=True)
        upstream = torch.zeros(1, 1, 26, 46, device=device)
        upstream[0, 0, 0, 0] = math.nan  # in the corner, where no disc of the plane reaches
        weight = torch.ones(2, device=device, requires_grad=True)
        for gradient in torch.autograd.grad(ops.disc_sum(B, (1, 3), weight), (B, weight), upstream):
            assert gradient.isfinite().all()

    def test_noisy_or_of_not_a_number(self, device):
        B = torch.full((1, 1, 5, 33), 0.1, device=device)
        B[0, 0, 2, 3] = math.nan
        assert ops.inverse_distance_transform(B, (1,), union="noisy_or", pad=0).isnan().sum() == 5


class TestUnion:
    @pytest.mark.parametrize("radii", [(0,), (1,), (0, 3, 1), (15, 2), (16, 3), (255, 0), (256,), (300, 1)], ids=str)
    @pytest.mark.parametrize("pad", [None, 0, 2])
    def test_radii(self, radii, pad, device):
        labels = random_labels(2, 9, 31, kinds=len(radii), density=0.01, device=device)
        if pad is None and max(radii) > 20:
            pad = 30
        assert torch.equal(ops.disc_union(labels, radii, pad=pad), reference.disc_union(labels, radii, pad=pad))

    @pytest.mark.parametrize("width", [*range(1, 71), 127, 128, 129, 1025])
    def test_widths(self, width, device):
        labels = random_labels(3, 5, width, kinds=3, density=0.05, seed=width, device=device)
        assert torch.equal(ops.disc_union(labels, (0, 1, 3)), reference.disc_union(labels, (0, 1, 3)))

    @pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1), (1, 200, 40), (40, 28, 28)], ids=str)
    def test_shapes(self, shape, device):
        labels = random_labels(*shape, kinds=5, device=device)
        radii = (0, 1, 3, 5, 7)
        assert torch.equal(ops.disc_union(labels, radii), reference.disc_union(labels, radii))
        assert torch.equal(ops.disc_union(labels, radii, pad=9), reference.disc_union(labels, radii, pad=9))

    def test_many_kinds(self, device):
        labels = random_labels(1, 40, 140, kinds=255, density=0.02, device=device)
        radii = [n % 7 for n in range(255)]
        assert torch.equal(ops.disc_union(labels, radii), reference.disc_union(labels, radii))

    def test_layouts(self, device):
        labels = random_labels(2, 20, 70, kinds=3, device=device)
        expected = ops.disc_union(labels, (0, 2, 4))
        for laid in (labels.mT.contiguous().mT, torch.stack([labels, labels], 3).flatten(2)[..., ::2]):
            assert torch.equal(ops.disc_union(laid, (0, 2, 4)), expected)
        assert torch.equal(ops.disc_union(labels[:1].expand(3, -1, -1), (0, 2, 4))[2], expected[0])


def test_certain_bins_decode_to_the_union(device):
    """With weight 4 and bias -3 the soft decoder at threshold 0.5 equals the union of discs."""
    radii = (0, 1, 3, 5, 7)
    labels = random_labels(3, 28, 28, kinds=5, density=0.02, device=device)
    bins = torch.nn.functional.one_hot(labels.long(), 6)[..., 1:].movedim(-1, 1).float()
    mask = ops.inverse_distance_transform(bins, radii, torch.full((5,), 4.0, device=device), -3.0)
    assert torch.equal(mask.squeeze(1) > 0.5, ops.disc_union(labels, radii))
    for union in ("noisy_or", "max"):
        assert torch.equal(
            ops.inverse_distance_transform(bins, radii, union=union).squeeze(1) > 0.5, ops.disc_union(labels, radii)
        )
