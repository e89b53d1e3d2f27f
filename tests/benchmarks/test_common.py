"""Statistics, the order of calls, checks before timing, and the bound."""

from __future__ import annotations

import gc

import pytest
import torch

from benchmarks.common import (
    Case,
    Effort,
    Implementation,
    Work,
    bound,
    interleave,
    machine_name,
    measure,
    metadata,
    relative_error,
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
    ("work", "dtype", "seconds"),
    [
        (Work(1000, 10), "float32", 10.0),
        (Work(1000, 10), "float64", 20.0),
        (Work(10, 1000), "float32", 100.0),
    ],
)
def test_bound_is_the_larger_of_both_limits(work, dtype, seconds):
    assert bound(work, ROOFLINE, dtype) == seconds


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
    made = measure(
        Case("group", "label", Work(1000, 10)),
        [
            implementation("ours", 1.05),
            implementation("peer", 1.5),
            Implementation("missing", absent),
            Implementation("broken", broken),
        ],
        ROOFLINE,
        SHORT,
    )
    results = made["results"]
    assert results["ours"]["status"] == "ok" and results["ours"]["error"] == pytest.approx(0.05)
    assert results["ours"]["samples"] == 3
    assert results["peer"]["status"] == "wrong" and "median_s" not in results["peer"]
    assert results["missing"] == {"status": "absent", "reason": "ImportError: no module named peer"}
    assert results["broken"]["status"] == "failed" and "this layout" in results["broken"]["reason"]
    assert made["bound_s"] == 10.0 and made["flops"] == 1000


def test_measure_refuses_to_publish_a_wrong_result_of_ours():
    with pytest.raises(RuntimeError, match=r"group, label: ours is wrong: relative error 5.0e-01"):
        measure(Case("group", "label"), [implementation("ours", 1.5)], ROOFLINE, SHORT)


def test_metadata_names_the_machine():
    about = metadata()
    assert about["threads"] == torch.get_num_threads() and about["torch"] == torch.__version__
    assert all(str(value) for value in about.values())
    assert machine_name(2).endswith("-2-threads")
