"""The emulated instructions of tensor cores and asynchronous copies against what the PTX manual says of them."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulation import emulation
from tests.ops.tensors import random_tensor

pytestmark = [
    pytest.mark.skipif(
        not (emulation.KERNELS and emulation.compiler()), reason="needs the CUDA sources and a C++ compiler"
    ),
    pytest.mark.sanitized,
]
TYPES = {"float16": 0, "bfloat16": 1, "tf32": 2}


@pytest.fixture
def instructions():
    emulation.load()
    return torch.ops.cnnfast_emulated


def places(kind):
    """(row or column, depth) of every element of a lane's fragments of A and B, as the manual's formulas give them."""
    a, b = [], []
    for lane in range(32):
        group, thread = lane >> 2, lane % 4
        if kind == "tf32":  # mma.m16n8k8
            a.append([(group if i in (0, 2) else group + 8, thread if i in (0, 1) else thread + 4) for i in range(4)])
            b.append([(group, thread if i == 0 else thread + 4) for i in range(2)])
        else:  # mma.m16n8k16
            a.append(
                [
                    (
                        group if 0 <= i < 2 or 4 <= i < 6 else group + 8,
                        thread * 2 + (i & 1) if i < 4 else thread * 2 + (i & 1) + 8,
                    )
                    for i in range(8)
                ]
            )
            b.append([(group, thread * 2 + (i & 1) if i < 2 else thread * 2 + (i & 1) + 8) for i in range(4)])
    return torch.tensor(a), torch.tensor(b)


def sum_places():
    rows = [[(lane >> 2) + (0 if i < 2 else 8) for i in range(4)] for lane in range(32)]
    columns = [[(lane % 4) * 2 + (i & 1) for i in range(4)] for lane in range(32)]
    return torch.tensor(rows), torch.tensor(columns)


def registers(matrix, where):
    """The elements at the given places, packed into words, the first element in the lower half."""
    return matrix[where[..., 0], where[..., 1]].contiguous().view(torch.int32)


def product(instructions, kind, a, b, c):
    """a (16, K) b (8, K)^T + c by one instruction."""
    where_a, where_b = places(kind)
    rows, columns = sum_places()
    found = instructions.multiply_matrices(
        registers(a, where_a), registers(b, where_b), c[rows, columns].contiguous(), TYPES[kind]
    )
    out = torch.full((16, 8), torch.nan)
    out[rows, columns] = found
    return out


def operands(kind, seed=0):
    depth = 8 if kind == "tf32" else 16
    dtype = torch.float32 if kind == "tf32" else getattr(torch, kind)
    a, b = random_tensor(16, depth, dtype=dtype, seed=seed), random_tensor(8, depth, dtype=dtype, seed=seed + 1)
    if kind == "tf32":
        a, b = (torch.ops.cnnfast_emulated.round_to_tf32(x) for x in (a, b))
    return a, b, random_tensor(16, 8, dtype=torch.float32, seed=seed + 2)


@pytest.mark.parametrize("order", emulation.ORDERS)
@pytest.mark.parametrize("kind", TYPES)
class TestProduct:
    def test_is_the_matrix_product(self, instructions, kind, order):
        emulation.set_order(order)
        a, b, c = operands(kind)
        exact = a.double() @ b.double().T + c.double()
        assert (product(instructions, kind, a, b, c).double() - exact).abs().max() <= 4e-6

    def test_every_element_is_where_the_manual_says(self, instructions, kind, order):
        """Matrices of small whole numbers, whose products are exact."""
        emulation.set_order(order)
        a, b, c = operands(kind)
        a = torch.arange(a.numel()).view(a.shape).remainder(61).to(a.dtype)
        b = torch.arange(b.numel()).view(b.shape).remainder(53).to(b.dtype)
        c = torch.arange(128.0).view(16, 8)
        assert torch.equal(product(instructions, kind, a, b, c).double(), a.double() @ b.double().T + c.double())


class TestSums:
    """Sums are cut off, not rounded, as those of an A100."""

    @pytest.mark.parametrize("sign", [1, -1])
    def test_toward_zero(self, instructions, sign):
        a, b, c = torch.zeros(16, 16).half(), torch.zeros(8, 16).half(), torch.full((16, 8), float(sign))
        a[:, 0], b[:, 0] = 2.0**-12 * 1.5, sign * 2.0**-12  # three quarters of the spacing above one
        assert torch.equal(product(instructions, "float16", a, b, c), c)

    def test_terms_are_cut_off_by_themselves(self, instructions):
        a, b, c = torch.zeros(16, 16).half(), torch.zeros(8, 16).half(), torch.ones(16, 8)
        a[:, :8], b[:, :8] = 2.0**-13 * 1.5, 2.0**-12  # each below 2^-24, together three spacings
        assert torch.equal(product(instructions, "float16", a, b, c), c)

    def test_not_finite(self, instructions):
        a, b, c = operands("bfloat16")
        a[3, 5], b[4, 2] = torch.inf, torch.nan
        found = product(instructions, "bfloat16", a, b, c)
        exact = (a.double() @ b.double().T + c.double()).float()
        assert torch.equal(found.isnan(), exact.isnan()) and torch.equal(found.isinf(), exact.isinf())

    def test_large_halves_do_not_overflow(self, instructions):
        a, b = torch.full((16, 16), 60_000.0).half(), torch.full((8, 16), 60_000.0).half()
        exact = (a.double() @ b.double().T).float()
        torch.testing.assert_close(product(instructions, "float16", a, b, torch.zeros(16, 8)), exact, rtol=1e-6, atol=0)


def test_tf32_rounds_to_nearest(instructions):
    spacing = 2.0**-10
    values = torch.tensor([1.0, 1 + spacing * 0.49, 1 + spacing * 0.5, -1 - spacing * 0.5, 1 + spacing * 1.49])
    expected = torch.tensor([1.0, 1.0, 1 + spacing, -1 - spacing, 1 + spacing])
    assert torch.equal(instructions.round_to_tf32(values), expected)
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0])
    torch.testing.assert_close(instructions.round_to_tf32(special), special, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("order", emulation.ORDERS)
@pytest.mark.parametrize("transposed", [False, True])
def test_loaded_matrices(instructions, order, transposed):
    """Lane l gives the address of row l % 8 of matrix l / 8 and receives two neighbours of row (column) l / 4."""
    emulation.set_order(order)
    halves = torch.arange(2048, dtype=torch.int16)
    offsets = (torch.randperm(128, generator=torch.Generator().manual_seed(0))[:32] * 16).int()
    found = instructions.load_matrices(halves.view(torch.int32), offsets, transposed).view(torch.int16)
    matrices = torch.stack([halves[offset // 2 : offset // 2 + 8] for offset in offsets.tolist()]).view(4, 8, 8)
    if transposed:
        matrices = matrices.mT
    for lane in range(32):
        expected = matrices[:, lane // 4, lane % 4 * 2 : lane % 4 * 2 + 2]
        assert torch.equal(found[lane].view(4, 2), expected)


def test_row_that_is_not_aligned(instructions):
    offsets = torch.arange(32, dtype=torch.int32) * 16
    offsets[5] += 8
    with pytest.raises(RuntimeError, match="row is not a multiple of 16"):
        instructions.load_matrices(torch.zeros(1024, dtype=torch.int32), offsets, False)


class TestCopy:
    MEMORY = torch.arange(1, 65, dtype=torch.uint8)

    def copy(self, instructions, stage, bytes_=16, offset=0):
        memory = self.MEMORY.clone().view(torch.int32)
        return instructions.copy_async(memory, offset, bytes_, stage).view(torch.uint8)

    @pytest.mark.parametrize("bytes_", [0, 2, 6, 16])
    def test_rest_is_zero(self, instructions, bytes_):
        expected = torch.where(torch.arange(16) < bytes_, self.MEMORY[16:32], 0)
        assert torch.equal(self.copy(instructions, 2, bytes_, 16), expected)

    @pytest.mark.parametrize("stage", [0, 1])
    def test_nothing_is_there_before_the_wait(self, instructions, stage):
        """Neither the copy nor what it overwrites."""
        assert torch.equal(self.copy(instructions, stage), torch.full((16,), 255, dtype=torch.uint8))

    @pytest.mark.parametrize(("offset", "bytes_"), [(4, 4), (0, 17)])
    def test_refused(self, instructions, offset, bytes_):
        with pytest.raises(RuntimeError, match="asynchronous copy"):
            self.copy(instructions, 2, bytes_, offset)
