"""The same bits from run to run, for any number of threads and from several at once; one answer on every processor."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops
from tests.ops.discs.cases import probabilities
from tests.ops.discs.results import results
from tests.ops.measures import CAPABILITIES, assert_same_from_several_threads, results_with_capability
from tests.ops.tensors import random_tensor

RESULTS = "tests.ops.discs.results"


@pytest.mark.usefixtures("restore_threads")
class TestSameBits:
    def test_for_every_number_of_threads(self):
        torch.set_num_threads(1)
        expected = results()
        for threads in (2, 4):
            torch.set_num_threads(threads)
            found = results()
            for name in expected:
                for a, b in zip(found[name], expected[name], strict=True):
                    assert torch.equal(a, b), name

    @pytest.mark.parametrize("shape", [(1, 9, 500, 700), (70, 9, 28, 28), (1, 9, 40, 5000)], ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_of_large_inputs_in_eight_runs(self, shape, dtype, device):
        B = probabilities(*shape, dtype=dtype, device=device).requires_grad_()
        weight = random_tensor(9, dtype=torch.float32, device=device).requires_grad_()
        found = []
        for threads in (1, 2, 3, 4, 2, 2, 2, 2):
            torch.set_num_threads(threads)
            sums = ops.disc_sum(B, range(9), weight)
            found.append((sums, *torch.autograd.grad(sums.sum(), (B, weight))))
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_several_python_threads_at_once(device):
    """Calls of different sizes from eight threads give what each gives alone."""
    inputs = [probabilities(1 + i, 3, 20 + 7 * i, 30 + 5 * i, dtype=torch.float32, device=device) for i in range(8)]

    def work(x):
        x = x.detach().requires_grad_()
        mask = ops.inverse_distance_transform(x, (0, 2, 5), union="noisy_or")
        return mask.detach(), *torch.autograd.grad(mask.sum(), x)

    assert_same_from_several_threads(work, inputs, 5)


def tolerance(tensor):
    return {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[tensor.dtype]


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_same_answer_with_every_capability(capability, tmp_path):
    found = results_with_capability(RESULTS, capability, tmp_path / "results.pt")
    torch.set_num_threads(1)
    expected = results()
    assert found.keys() == expected.keys()
    for name, tensors in found.items():
        for actual, wanted in zip(tensors, expected[name], strict=True):
            if not wanted.is_floating_point():
                assert torch.equal(actual, wanted), name
                continue
            scale = max(wanted.double().abs().max().item() if wanted.numel() else 1.0, 1e-6)
            torch.testing.assert_close(actual, wanted, rtol=0, atol=tolerance(wanted) * scale, msg=name)
