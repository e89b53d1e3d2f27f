"""Every implementation of every case, checked and then timed by pytest-benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.measure import check


def test_operator(prepared: Any, implementation: str, benchmark: Any) -> None:
    """Opponents that are absent or wrong are skipped, ours must be right."""
    checked = check(prepared.implementations[implementation])
    status = checked.result["status"]
    if checked.call is None:
        reason = f"{implementation} is {status}: {checked.result['reason']}"
        if implementation == prepared.ours and status != "absent":
            pytest.fail(reason)
        pytest.skip(reason)
    # Tables have a row an implementation, below the name of the case.
    benchmark.name = implementation
    benchmark.extra_info.update(prepared.facts, relative_error=checked.result.get("error"))
    benchmark(checked.call)
