"""Fixtures of the whole suite."""

from __future__ import annotations

import gc
import os
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnfast import _extension
from cnnfast.weights import vgg_convolution_names
from tests.covering import covering
from tests.cuda_emulation import emulation
from tests.parity import PARITY

# The benchmarks and examples are no part of the installed package; they are found from the repository's root. It comes
# last, so that an installed cnnfast still comes before the source folder.
ROOT = str(Path(__file__).parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: one thread each, and each process that they start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --part."""
    parser.addoption("--part", metavar="K/N", help="run part K (modulo N) of N of the tests, chosen by a hash of names")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks tests as slow that the sample of their options leaves out, and deselects those of other parts."""
    tables = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("covering")
        if marker and not item.get_closest_marker("slow"):
            tables[item.nodeid.partition("[")[0], marker.args or (2,)].append(item)
    for (_, (strength,)), tests in tables.items():
        chosen = set(covering([_options(test) for test in tests], strength))
        for index, test in enumerate(tests):
            if index not in chosen:
                test.add_marker(pytest.mark.slow)
    if part := config.getoption("part"):
        wanted, parts = map(int, part.split("/"))
        others = [item for item in items if (zlib.crc32(item.nodeid.encode()) - wanted) % parts]
        config.hook.pytest_deselected(items=others)
        left_out = set(others)
        items[:] = [item for item in items if item not in left_out]


def _options(test: pytest.Function) -> list[tuple[type, Hashable]]:
    """The parameters of a test, each with its type; those that have no hash by their index."""
    options = []
    for name, value in test.callspec.params.items():
        try:
            hash(value)
        except TypeError:
            value = test.callspec.indices[name]
        options.append((type(value), value))
    return options


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks tests as sanitized that have a word of ``sanitized_where`` in their names."""
    if any(word in item.name for marker in item.iter_markers("sanitized_where") for word in marker.args):
        item.add_marker(pytest.mark.sanitized)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests of a device on the CPU, on a GPU if there is one, and those marked so on the emulated CUDA kernels.

    Emulated runs of whole files are slow; tests/cuda_emulation has the quick ones.
    """
    if "device" not in metafunc.fixturenames:
        return
    devices: list = ["cpu"]
    if emulation.KERNELS and metafunc.definition.get_closest_marker("emulated"):
        devices.append(pytest.param("emulated", marks=[pytest.mark.slow, pytest.mark.on_emulation]))
    if torch.cuda.is_available() and not _extension.cuda_error:
        devices.append("cuda")
    metafunc.parametrize("device", devices, indirect=True)


def pytest_collection_finish() -> None:
    """Exempts the million objects of imports and collection from garbage collection, which would scan them often."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Collects garbage after tests that take a while: cycles of references hold few objects, but whole networks."""
    started = time.perf_counter()
    result = yield
    if time.perf_counter() - started > 0.1:
        gc.collect()
    return result


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device of a test's tensors: also "cpu" where the emulated CUDA kernels replace those of the CPU."""
    if request.param != "emulated":
        yield request.param
        return
    if not emulation.compiler():
        pytest.skip("no C++ compiler to build the emulated CUDA kernels with")
    with emulation.emulated_kernels():
        emulation.set_order("forward")
        yield "cpu"


@pytest.fixture
def restore_threads() -> Iterator[None]:
    """Leaves the number of torch's threads as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def parity() -> Callable[..., dict[str, np.ndarray]]:
    """Loader of the arrays in tests/parity/<family>/<name>.npz."""

    def load(name: str, family: str = "style") -> dict[str, np.ndarray]:
        with np.load(PARITY / family / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load


@pytest.fixture
def tiny_vgg() -> Callable[..., dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Maker of a narrow VGG in float64: convolution name to (weight, bias), scaled to keep activations alive."""

    def make(arch: str = "vgg19", widths: tuple[int, ...] = (4, 6, 8, 10, 10), seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        state, channels = {}, 3
        for name in vgg_convolution_names(arch):
            width = widths[int(name[4]) - 1]
            weight = torch.randn(width, channels, 3, 3, generator=generator, dtype=torch.float64)
            bias = torch.randn(width, generator=generator, dtype=torch.float64)
            state[name] = (weight * (2 / (9 * channels)) ** 0.5, 0.1 * bias)
            channels = width
        return state

    return make
