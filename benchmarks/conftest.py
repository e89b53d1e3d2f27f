"""`pytest benchmarks`: the cases of all families as tests of pytest-benchmark, a group a case.

Options beside those of pytest-benchmark: --device cuda, --threads N, --quick for small shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from benchmarks import families
from benchmarks.case import Case, Implementation, matmul_precision
from benchmarks.machine import machine_name, measure_roofline, metadata, timer
from benchmarks.measure import check, facts

_LISTED = pytest.StashKey[dict[str, Case]]()


@dataclass(frozen=True)
class Prepared:
    """A case that is ready to be timed.

    Attributes:
        ours: name of the implementation that must be right.
        implementations: all of them by name.
        facts: what every record of the case says about its input, its bound and the machine.
    """

    ours: str
    implementations: dict[str, Implementation]
    facts: dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds options that `python -m benchmarks` has by the same names."""
    group = parser.getgroup("cnnfast benchmarks")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where the operators run")
    group.addoption("--threads", type=int, default=torch.get_num_threads(), help="threads of every implementation")
    group.addoption("--quick", action="store_true", help="small shapes")


def pytest_configure(config: pytest.Config) -> None:
    """Needs pytest-benchmark; sets the threads."""
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("pytest benchmarks needs pytest-benchmark: install the extra bench")
    torch.set_num_threads(config.getoption("--threads"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test of every implementation of every case."""
    if "implementation" not in metafunc.fixturenames:
        return
    device, quick = metafunc.config.getoption("--device"), metafunc.config.getoption("--quick")
    listed = {
        f"{name}: {case.name}": case
        for name in families.names_on(device)
        for case in families.cases(name, device, quick)
    }
    metafunc.config.stash[_LISTED] = listed
    clock = timer(device)
    parameters = [
        pytest.param(
            key,
            implementation.name,
            id=f"{key}-{implementation.name}",
            marks=pytest.mark.benchmark(group=key, timer=clock, disable_gc=True),
        )
        for key, case in listed.items()
        for implementation in case.implementations()
    ]
    metafunc.parametrize(("prepared", "implementation"), parameters, indirect=["prepared"])


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Name, versions and limits of the machine, for every record."""
    device, threads = request.config.getoption("--device"), request.config.getoption("--threads")
    items = [item for item in request.session.items if "machine" in getattr(item, "fixturenames", ())]
    dtypes = [request.config.stash[_LISTED][item.callspec.params["prepared"]].dtype for item in items]
    return metadata(device) | {"machine": machine_name(threads, device), "roofline": measure_roofline(dtypes, device)}


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, machine: dict[str, Any]) -> Iterator[Prepared]:
    """A case whose implementations share their inputs; they are dropped when the next case begins."""
    case = request.config.stash[_LISTED][request.param]
    with matmul_precision(case.dtype):
        implementations = list(case.implementations())
        described = facts(case, machine["roofline"], check(implementations[0]).sizes) | {"machine": machine}
        yield Prepared(implementations[0].name, {one.name: one for one in implementations}, described)
