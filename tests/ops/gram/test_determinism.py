"""The same bits from run to run, for any number of threads and from several at once; one answer on every processor."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops
from tests.ops.gram.cases import CASES
from tests.ops.gram.results import results
from tests.ops.measures import (
    CAPABILITIES,
    assert_same_from_several_threads,
    results_with_capability,
    run_script,
    ticks_of_another_thread,
)
from tests.ops.tensors import random_tensor

RESULTS = "tests.ops.gram.results"


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        for a, b in zip(first[name], second[name], strict=True):
            assert torch.equal(a, b), name


@pytest.mark.usefixtures("restore_threads")
class TestSameBits:
    def test_for_every_number_of_threads(self):
        torch.set_num_threads(1)
        expected = results()
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            assert_same_bits(results(), expected)

    @pytest.mark.parametrize("shape", [(1, 3, 100_003), (1, 16, 60_000), (2, 64, 5000), (1, 200, 700)], ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_of_large_inputs_in_eight_runs(self, shape, dtype, device):
        x = random_tensor(*shape, dtype=dtype, device=device).requires_grad_()
        target = torch.eye(shape[1], device=device)
        found = []
        for threads in (1, 2, 3, 4, 2, 2, 2, 2):
            torch.set_num_threads(threads)
            gram, loss = ops.gram_matrix(x, centered=True), ops.gram_mse_loss(x, target)
            found.append((gram, loss, *torch.autograd.grad(gram.sum() + loss, x)))
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
class TestSymmetry:
    @pytest.mark.covering
    @pytest.mark.parametrize("channels", [1, 2, 5, 16, 17, 33, 64, 65, 130])
    @pytest.mark.parametrize("positions", [1, 17, 1025])
    def test_gram_matrix(self, channels, positions, dtype, device):
        rows = random_tensor(2, channels, positions, dtype=dtype, device=device)
        weight = random_tensor(2, 3, positions, device=device, seed=1).abs()
        for x in (rows, rows.mT.contiguous().mT):
            for options in (
                {},
                {"centered": True},
                {"pixel_weight": weight},
                {"pixel_weight": weight, "centered": True},
            ):
                gram = ops.gram_matrix(x, **options)
                assert torch.equal(gram, gram.mT)

    def test_diagonal_is_not_negative(self, dtype, device):
        x = random_tensor(2, 40, 300, dtype=dtype, device=device) + 100
        assert (ops.gram_matrix(x, centered=True).diagonal(dim1=1, dim2=2) >= 0).all()


class TestPythonThreads:
    def test_several_at_once(self, device):
        """Calls of different sizes from eight threads give what each gives alone."""
        inputs = [random_tensor(1, 3 + 5 * i, 400 + 37 * i, dtype=torch.float32, device=device) for i in range(8)]

        def work(x):
            x = x.detach().requires_grad_()
            loss = ops.gram_mse_loss(x, torch.eye(x.shape[1], device=device))
            return loss.detach(), *torch.autograd.grad(loss, x)

        assert_same_from_several_threads(work, inputs, 10)

    def test_lock_of_the_interpreter_is_released(self):
        """Another Python thread makes progress while one call is running."""
        x = torch.rand(1, 256, 40_000)
        assert ticks_of_another_thread(lambda: ops.gram_matrix(x)) > 1000


def tolerance(tensor):
    return {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[tensor.dtype]


@pytest.mark.usefixtures("restore_threads")
class TestCapabilities:
    @pytest.mark.parametrize("capability", CAPABILITIES)
    def test_same_answer(self, capability, tmp_path):
        found = results_with_capability(RESULTS, capability, tmp_path / "results.pt")
        torch.set_num_threads(1)
        expected = results()
        for name, tensors in found.items():
            for actual, wanted in zip(tensors, expected[name], strict=True):
                scale = wanted.double().abs().max().item() if wanted.numel() else 1.0
                torch.testing.assert_close(actual, wanted, rtol=0, atol=tolerance(wanted) * max(scale, 1e-6), msg=name)

    @pytest.mark.parametrize("value", ["sse9", "AVX2", " "])
    def test_unknown_value_fails_the_import(self, value):
        process = run_script(value, "-c", "import cnnfast.ops")
        assert process.returncode != 0
        assert "CNNFAST_CPU_CAPABILITY" in process.stderr and f"'{value}'" in process.stderr

    def test_every_case_is_compared(self):
        torch.set_num_threads(1)
        names = results().keys()
        assert all(any(name.startswith(f"{case} ") for name in names) for case in CASES)
