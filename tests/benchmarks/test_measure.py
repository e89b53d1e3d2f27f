"""Statistics, the order of calls, checks before timing, and the bound."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import torch

from benchmarks import machine
from benchmarks.case import Case, Implementation, Work, forward, forward_and_backward
from benchmarks.machine import bound, machine_name, metadata
from benchmarks.measure import (
    Effort,
    facts,
    interleave,
    measure,
    new_memory_seconds,
    relative_error,
    rotated,
    summarise,
)

ROOFLINE = {"flops_per_s": {"float32": 100.0, "float64": 50.0}, "bytes_per_s": 10.0}
SHORT = Effort(rounds=3, most=3, seconds=0.0)


def test_summary_of_known_samples():
    timing = summarise([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (timing.q1_s, timing.median_s, timing.q3_s, timing.samples) == (2.0, 3.0, 4.0, 5)


def test_summary_interpolates():
    timing = summarise([1.0, 2.0, 3.0, 4.0])
    assert (timing.q1_s, timing.median_s, timing.q3_s) == (1.75, 2.5, 3.25)


def test_summary_of_one_and_of_no_sample():
    assert summarise([2.0]).q1_s == summarise([2.0]).q3_s == 2.0
    with pytest.raises(ValueError, match="at least one sample"):
        summarise([])


@pytest.mark.parametrize(
    ("work", "dtype", "new_memory", "expected"),
    [
        (Work(1000, 10), "float32", 2.0, (10.0, "FLOPs")),
        (Work(1000, 10), "float64", 2.0, (20.0, "FLOPs")),
        (Work(10, 1000), "float32", 2.0, (100.0, "bytes")),
        (Work(10, 1000), "float32", 200.0, (200.0, "new memory")),
    ],
)
def test_bound_is_the_largest_of_the_limits(work, dtype, new_memory, expected):
    assert bound(work, ROOFLINE, dtype, new_memory) == expected


def test_new_memory_counts_on_the_cpu_alone():
    fast = {"flops_per_s": {"float32": 1e30}, "bytes_per_s": 1e30}
    case = Case("group", "label", (3, 4), Work(1, 1))
    made = facts(case, fast, (1 << 22, 100))
    assert made["new_bytes"] == (1 << 22) + 100 and made["shape"] == [3, 4]
    assert made["bound_s"] == made["new_memory_s"] > 1e-6 and made["bound_by"] == "new memory"
    on_a_gpu = facts(replace(case, device="cuda"), fast, (1 << 22, 100))
    assert on_a_gpu["new_memory_s"] == 0 and on_a_gpu["bound_by"] in ("FLOPs", "bytes")
    assert facts(case, fast)["new_memory_s"] == 0
    assert "bound_s" not in facts(Case("group", "label"), fast, (100,))
    assert new_memory_seconds((1 << 24,)) > new_memory_seconds((1 << 12,))


def test_forward_and_backward():
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert forward(torch.mul, x, y)()[0].tolist() == [3.0, 10.0]
    results = forward_and_backward(torch.mul, x, y, upstream=torch.tensor([1.0, 10.0], dtype=torch.float64))()
    assert [result.tolist() for result in results] == [[3.0, 10.0], [3.0, 50.0], [1.0, 20.0]]
    assert not results[0].requires_grad and not x.requires_grad
    value, gradient = forward_and_backward(lambda x: x.square().sum(), x)()
    assert float(value) == 5.0 and gradient.tolist() == [2.0, 4.0]


def test_the_clock_of_a_gpu_waits_for_it(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(len(called)))
    called = []
    interleave({"a": lambda: called.append(1)}, SHORT, "cuda")
    # Before and after every sample, so that no call is in flight when the clock is read.
    assert waited[-1] == len(called) and set(range(2)) <= set(waited)
    before = len(waited)
    interleave({"a": lambda: None}, SHORT, "cpu")
    machine.copy_bandwidth(0.01)
    assert len(waited) == before
    machine.timer("cuda")()
    assert len(waited) == before + 1


def test_another_one_is_first_in_every_turn():
    assert [rotated("abc", turn) for turn in (0, 1, 5)] == [list("abc"), list("bca"), list("cab")]
    assert rotated([], 3) == []


def test_relative_error():
    expected = [torch.tensor([0.0, 10.0]), torch.tensor(2.0)]
    assert relative_error([torch.tensor([1.0, 10.0]), torch.tensor(2.0)], expected) == pytest.approx(0.1)
    assert relative_error([torch.tensor([0.0, 10.0]), torch.tensor(3.0)], expected) == pytest.approx(0.5)
    assert relative_error([torch.tensor([0.0, float("nan")]), torch.tensor(2.0)], expected) == float("inf")
    with pytest.raises(ValueError, match="expected 2 results, got 1"):
        relative_error(expected[:1], expected)
    with pytest.raises(ValueError, match=r"expected shape \[2\], got \[\]"):
        relative_error(expected[1:], expected[:1])


def test_calls_take_turns():
    order = []
    calls = {name: (lambda name=name: order.append(name) or sum(range(200_000))) for name in "abc"}
    samples = interleave(calls, SHORT)
    assert {name: len(times) for name, times in samples.items()} == {"a": 3, "b": 3, "c": 3}
    timed = [name for i, name in enumerate(order[6:]) if i == 0 or order[6:][i - 1] != name]
    assert set(timed[:3]) == set("abc")
    assert all(time > 0 for times in samples.values() for time in times)
    assert gc.isenabled()


def test_effort_ends_by_the_clock_or_by_the_count():
    assert len(interleave({"a": lambda: None}, Effort(rounds=2, most=5, seconds=100.0))["a"]) == 5
    assert len(interleave({"a": lambda: None}, Effort(rounds=2, most=5, seconds=0.0))["a"]) == 2


def implementation(name, value, tolerance=0.1):
    return Implementation(name, lambda: lambda: (torch.tensor(value),), tolerance, lambda: [torch.tensor(1.0)])


def absent():
    raise ImportError("no module named peer\nmore text")


def broken():
    def call():
        raise RuntimeError("does not take this layout")

    return call


def test_measure_checks_before_it_times():
    implementations = [
        implementation("ours", 1.05),
        implementation("peer", 1.5),
        Implementation("missing", absent),
        Implementation("broken", broken),
    ]
    made = measure(
        Case("group", "label", work=Work(1000, 10), implementations=lambda: implementations), ROOFLINE, SHORT
    )
    results = made["results"]
    assert results["ours"]["status"] == "ok" and results["ours"]["error"] == pytest.approx(0.05)
    assert results["ours"]["samples"] == 3
    assert results["peer"]["status"] == "wrong" and "median_s" not in results["peer"]
    assert results["missing"] == {"status": "absent", "reason": "ImportError: no module named peer"}
    assert results["broken"]["status"] == "failed" and "this layout" in results["broken"]["reason"]
    assert made["bound_s"] == 10.0 and made["flops"] == 1000 and made["new_bytes"] == 4


def test_slow_cases_make_fewer_rounds():
    case = Case("group", "label", rounds=2, implementations=lambda: [implementation("ours", 1.0)])
    assert measure(case, ROOFLINE, Effort(rounds=5, most=9, seconds=0.0))["results"]["ours"]["samples"] == 2


def test_measure_refuses_to_publish_a_wrong_result_of_ours():
    case = Case("group", "label", implementations=lambda: [implementation("ours", 1.5)])
    with pytest.raises(RuntimeError, match=r"group, label float32: ours is wrong: relative error 5.0e-01"):
        measure(case, ROOFLINE, SHORT)


def test_metadata_names_the_machine():
    about = metadata()
    assert about["threads"] == torch.get_num_threads() and about["torch"] == torch.__version__
    assert all(str(value) for value in about.values())
    assert machine_name(2).endswith("-2-threads")
