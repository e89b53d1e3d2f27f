"""The fused distance transforms against brute force and their plain PyTorch twins: every size, dtype and layout."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.distance.cases import (
    BINARY_DTYPES,
    CASES,
    UNSIGNED_DTYPES,
    bins_of,
    blobs,
    random_labels,
    random_mask,
    squared_distances,
)

pytestmark = [pytest.mark.emulated, pytest.mark.sanitized]

RADII = [1, 2, 3, 7, 11, 12, 15, 16, 17, 33, 63, 64, 65, 100, 255]
SIZES = (
    [(1, 1), (1, 2), (2, 1), (1, 70), (70, 1), (3, 3)]
    + [(5, width) for width in (*range(1, 71), 127, 128, 129)]
    + [(height, 9) for height in (2, 3, 15, 16, 17, 40, 159, 160, 161, 200, 300)]
    + [(3, width) for width in (255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097)]
)
BORDERS = pytest.mark.parametrize("border", ["none", "background"])


def assert_equals_twin(mask, R, **options):
    actual = ops.truncated_distance_transform(mask, R, **options)
    expected = reference.truncated_distance_transform(mask, R, **options)
    assert actual.dtype == expected.dtype and actual.shape == mask.shape
    assert actual.is_contiguous() and not actual.requires_grad
    assert torch.equal(actual, expected)


@BORDERS
class TestBruteForce:
    @pytest.mark.parametrize("R", RADII)
    def test_masks(self, R, border, device):
        mask = random_mask(4, 19, 37, density=0.97, device=device, seed=R)
        expected = bins_of(squared_distances(mask, border=border), R)
        assert torch.equal(ops.truncated_distance_transform(mask, R, border=border), expected)

    @pytest.mark.parametrize("R", RADII)
    def test_label_maps(self, R, border, device):
        labels = random_labels(3, 23, 30, device=device, seed=R)
        expected = bins_of(squared_distances(labels, True, border), R)
        assert torch.equal(ops.truncated_distance_transform(labels, R, labels=True, border=border), expected)

    @pytest.mark.parametrize("labels", [False, True])
    @pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 2.0), (1.5, 0.25), (0.3, 0.9)], ids=str)
    def test_distances(self, border, labels, spacing, device):
        mask = random_labels(2, 21, 26, device=device)
        squares = squared_distances(mask, labels, border, spacing)
        options = {"labels": labels, "border": border, "spacing": spacing}
        for R in (None, 1.75, 4, 40.5):
            actual = ops.truncated_distance_transform(mask, R, output="distance", **options)
            torch.testing.assert_close(actual, squares.sqrt().clamp(max=R or math.inf).float(), rtol=1e-6, atol=0)
        for R in (1, 4, 40):
            actual = ops.truncated_distance_transform(mask, R, **options)
            assert torch.equal(actual, (squares.sqrt() * (1 - 1e-6)).ceil().clamp(max=R).to(torch.uint8))


@BORDERS
@pytest.mark.parametrize("size", SIZES, ids=str)
class TestSizes:
    def test_masks(self, size, border, device):
        mask = random_mask(2, *size, density=0.95, device=device)
        for R in (2, 10, 17) if max(size) < 1000 else (10,):
            assert_equals_twin(mask, R, border=border)

    def test_label_maps(self, size, border, device):
        labels = random_labels(2, *size, device=device)
        for R in (2, 10, 17) if max(size) < 1000 else (10,):
            assert_equals_twin(labels, R, labels=True, border=border)

    def test_linear_time(self, size, border, device):
        if size[1] % 8 > 1 or max(size) > 200:
            pytest.skip("the twin takes a step a row and a column; few sizes will do without vectors")
        labels = random_labels(2, *size, device=device)
        assert_equals_twin(labels, None, labels=True, border=border, output="squared")
        assert_equals_twin(labels, 80, border=border, output="signed", zero="half")


@pytest.mark.compute_sanitizer
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("shape", [(9, 13), (3, 40, 33), (2, 3, 28, 28), (1, 170, 65)], ids=str)
def test_every_combination_of_arguments(case, shape, device):
    mask = case.mask(*shape, device=device)
    actual, expected = case(ops, mask), case(reference, mask)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape and actual.is_contiguous()
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("size", [(28, 28), (5, 3), (14, 21)], ids=str)
@BORDERS
def test_stacks_of_small_planes(size, border, device):
    """Short rows lie beside each other in the kernels; each plane is as if it were alone."""
    masks, labels = random_mask(257, *size, density=0.9, device=device), random_labels(257, *size, device=device)
    for R in (5, 20, 70):
        expected = reference.truncated_distance_transform(masks[-40:], R, border=border)
        expected_labels = reference.truncated_distance_transform(labels[-40:], R, labels=True, border=border)
        for planes in (1, 2, 16, 31, 32, 33, 100, 257):
            actual = ops.truncated_distance_transform(masks[-planes:], R, border=border)
            assert torch.equal(actual[-40:], expected[-planes:]), (R, planes)
            actual = ops.truncated_distance_transform(labels[-planes:], R, labels=True, border=border)
            assert torch.equal(actual[-40:], expected_labels[-planes:]), (R, planes)


@pytest.mark.parametrize("dtype", BINARY_DTYPES + UNSIGNED_DTYPES, ids=str)
class TestDtypes:
    def test_masks(self, dtype, device):
        mask = random_mask(2, 30, 41, device=device)
        for R in (9, 20, 90):
            expected = ops.truncated_distance_transform(mask, R)
            for value in (1, 2, 100) if dtype != torch.bool else (1,):
                assert torch.equal(ops.truncated_distance_transform((mask * value).to(dtype), R), expected)

    def test_label_maps(self, dtype, device):
        labels = random_labels(2, 30, 41, dtype=torch.int64, device=device).to(dtype)
        for R in (9, 20, 90):
            expected = ops.truncated_distance_transform(labels.to(torch.int64), R, labels=True)
            assert torch.equal(ops.truncated_distance_transform(labels, R, labels=True), expected)

    def test_every_bit_counts(self, dtype, device):
        """A value whose low bytes are zero is foreground, and labels that differ in the highest bit differ."""
        if dtype == torch.bool:
            pytest.skip("one bit")
        highest = torch.tensor(1).bitwise_left_shift(8 * dtype.itemsize - 1).to(dtype)
        mask = torch.zeros(1, 12, dtype=torch.int64, device=device).to(dtype)
        mask[:, 2:6], mask[:, 6:10] = highest, 1
        for R, squares in ((4, [0, 0, 1, 4, 9, 16, 16, 9, 4, 1, 0, 0]), (70, [0, 0, 1, 4, 9, 16, 16, 9, 4, 1, 0, 0])):
            actual = ops.truncated_distance_transform(mask, R, output="squared")
            assert actual.tolist() == [squares]
        labels = ops.truncated_distance_transform(mask, 4, labels=True)
        assert labels.tolist() == [[0, 0, 1, 2, 2, 1, 1, 2, 2, 1, 0, 0]]


def test_bytes_of_a_bool_that_are_not_one(device):
    mask = torch.tensor([[0, 2, 255, 1, 0]], dtype=torch.uint8, device=device).view(torch.bool)
    for labels in (False, True):
        assert ops.truncated_distance_transform(mask, 3, labels=labels).tolist() == [[0, 1, 2, 1, 0]]


LAYOUTS = {
    "transposed": lambda m: m.mT.contiguous().mT,
    "planes innermost": lambda m: m.movedim(0, -1).contiguous().movedim(-1, 0),
    "every second column": lambda m: torch.stack([m, 1 - m], -1).flatten(-2)[..., ::2],
    "every second row": lambda m: torch.stack([m, 1 - m], -2).flatten(-3, -2)[..., ::2, :],
    "slice": lambda m: torch.nn.functional.pad(m, (3, 5, 2, 1), value=1)[..., 2:-1, 3:-5],
    "flipped storage": lambda m: m.flip(-1).contiguous().flip(-1),
    "batch of channels_last": lambda m: m.unsqueeze(0).to(memory_format=torch.channels_last)[0],
}


@pytest.mark.covering
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("shape", [(3, 20, 35), (2, 28, 28), (1, 3, 1100)], ids=str)
def test_layouts(layout, dtype, shape, device):
    mask, labels = random_mask(*shape, dtype=dtype, device=device), random_labels(*shape, dtype=dtype, device=device)
    for R in (6, 70):
        laid = LAYOUTS[layout](mask)
        assert torch.equal(laid, mask)
        expected = ops.truncated_distance_transform(mask, R)
        assert torch.equal(ops.truncated_distance_transform(laid, R), expected)
        expected = ops.truncated_distance_transform(labels, R, labels=True)
        assert torch.equal(ops.truncated_distance_transform(LAYOUTS[layout](labels), R, labels=True), expected)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_expanded(axes, device):
    shape = [1 if axis in axes else size for axis, size in enumerate((3, 14, 17))]
    mask = random_mask(*shape, device=device).expand(3, 14, 17)
    for R in (5, 70):
        assert torch.equal(
            ops.truncated_distance_transform(mask, R), ops.truncated_distance_transform(mask.contiguous(), R)
        )


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0), (0, 0), (3, 0, 2, 4, 5)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing(case, shape, device):
    mask = torch.zeros(shape, dtype=torch.int32, device=device)
    actual, expected = case(ops, mask), case(reference, mask)
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    assert actual.numel() == 0 and mask.numel() == 0


class TestOneValueOnly:
    @pytest.mark.parametrize("R", [1, 10, 15, 16, 64, 65, 255])
    @pytest.mark.parametrize("size", [(1, 1), (28, 28), (200, 600)], ids=str)
    def test_bins(self, R, size, device):
        full = torch.ones(2, *size, dtype=torch.bool, device=device)
        assert torch.equal(ops.truncated_distance_transform(full, R), torch.full_like(full, R, dtype=torch.uint8))
        assert not ops.truncated_distance_transform(~full, R).any()
        assert not ops.truncated_distance_transform(~full, R, border="background").any()

    def test_without_a_radius_nothing_is_infinitely_far(self, device):
        full = torch.ones(6, 7, dtype=torch.bool, device=device)
        assert ops.truncated_distance_transform(full, output="distance").isinf().all()
        assert (ops.truncated_distance_transform(full, output="squared") == torch.iinfo(torch.int64).max).all()
        assert (ops.truncated_distance_transform(full, output="signed") == math.inf).all()
        assert (ops.truncated_distance_transform(~full, output="signed") == -math.inf).all()
        assert ops.truncated_distance_transform(full, output="squared", spacing=(1, 2)).isinf().all()

    def test_rings_of_a_framed_square(self, device):
        full = torch.ones(7, 7, dtype=torch.uint8, device=device)
        ring = torch.tensor([1, 2, 3, 4, 3, 2, 1], dtype=torch.uint8, device=device)
        expected = torch.minimum(ring[:, None], ring)
        assert torch.equal(ops.truncated_distance_transform(full, 9, border="background"), expected)


def test_worked_example(device):
    rows = ["0000000", "0111100", "0111100", "0111110", "0111110", "0111110", "0000000"]
    mask = torch.tensor([[int(c) for c in row] for row in rows], device=device)
    squares = ["0000000", "0111100", "0144100", "0145210", "0144410", "0111110", "0000000"]
    expected = torch.tensor([[int(c) for c in row] for row in squares], dtype=torch.int32, device=device)
    assert torch.equal(ops.truncated_distance_transform(mask, 9, output="squared"), expected)
    assert ops.truncated_distance_transform(mask, 9).max() == 3
    assert ops.truncated_distance_transform(mask, 2).max() == 2


class TestLargeValues:
    def test_distances_beyond_16_bits(self, device):
        """Squares of one row of 70,000 pixels do not fit into 32 bits."""
        row = torch.ones(1, 70_000, dtype=torch.bool, device=device)
        row[0, 0] = False
        expected = torch.arange(70_000, device=device)
        assert torch.equal(ops.truncated_distance_transform(row, output="squared")[0], expected.square())
        assert torch.equal(ops.truncated_distance_transform(row.mT, output="squared")[:, 0], expected.square())
        truncated = ops.truncated_distance_transform(row, 46340, output="squared")[0]
        assert torch.equal(truncated.long(), expected.clamp(max=46340).square())
        distances = ops.truncated_distance_transform(row, output="distance")[0]
        assert torch.equal(distances, expected.float())

    def test_far_corner(self, device):
        mask = torch.ones(300, 1500, dtype=torch.bool, device=device)
        mask[0, 0] = False
        y, x = torch.arange(300, device=device)[:, None], torch.arange(1500, device=device)
        assert torch.equal(ops.truncated_distance_transform(mask, output="squared"), y * y + x * x)

    def test_spacings_of_any_magnitude(self, device):
        mask = blobs(40, 50, device=device)
        for scale in (1e-12, 1e-5, 1e5, 4e11):
            for sy, sx in ((1.0, 1.0), (1.0, 2.5)):
                expected = ops.truncated_distance_transform(mask, output="distance", spacing=(sy, sx)).double() * scale
                actual = ops.truncated_distance_transform(mask, output="distance", spacing=(sy * scale, sx * scale))
                torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=0)
