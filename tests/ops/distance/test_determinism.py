"""The same bits from run to run, for any number of threads and from several at once, and on every processor."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops
from tests.ops.distance import memory
from tests.ops.distance.cases import CASES, FEW_CASES, random_labels, random_mask
from tests.ops.distance.results import results
from tests.ops.measures import (
    CAPABILITIES,
    assert_same_from_several_threads,
    results_with_capability,
    ticks_of_another_thread,
)
from tests.ops.peak_memory import needs_linux, peaks_of

RESULTS = "tests.ops.distance.results"


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.usefixtures("restore_threads")
class TestThreads:
    def test_same_bits_for_every_number(self):
        torch.set_num_threads(1)
        expected = results()
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            assert_same_bits(results(), expected)

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_large_planes_in_several_runs(self, case, device):
        mask = case.mask(2, 700, 1300, device=device)
        found = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(case(ops, mask))
        assert all(torch.equal(other, found[0]) for other in found[1:])


class TestPythonThreads:
    @pytest.mark.parametrize("case", FEW_CASES, ids=str)
    def test_several_at_once(self, case, device):
        """Calls of different sizes from eight threads give what each gives alone."""
        masks = [case.mask(2, 50 + 37 * i, 300 - 31 * i, device=device, seed=i) for i in range(8)]
        assert_same_from_several_threads(lambda mask: [case(ops, mask)], masks, 5)

    def test_lock_of_the_interpreter_is_released(self):
        """Another Python thread makes progress while one call is running."""
        mask = torch.ones(6000, 6000, dtype=torch.bool)
        assert ticks_of_another_thread(lambda: ops.truncated_distance_transform(mask, 60)) > 1000


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_same_bits_on_every_processor(capability, tmp_path):
    found = results_with_capability(RESULTS, capability, tmp_path / "results.pt")
    assert_same_bits(found, results())


@pytest.fixture(scope="module")
def peaks():
    return dict(zip(memory.CALLS, peaks_of(memory.__name__), strict=True))


@needs_linux
@pytest.mark.parametrize(("shape", "R"), memory.CALLS, ids=str)
def test_memory_beyond_mask_and_result(shape, R, peaks):
    assert peaks[shape, R] <= 2 << 20


def test_results_cover_every_case():
    names = results().keys()
    assert all(any(name.startswith(f"{case} ") for name in names) for case in CASES)
    assert random_labels(3, 9, 9).unique().numel() > 2 and random_mask(3, 9, 9).float().mean() > 0.5
