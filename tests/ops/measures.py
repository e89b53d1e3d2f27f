"""Measurements for the tests of operators: memory of a call, results on other processors and in other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

import cnnfast
from cnnfast import _C

CAPABILITIES = ["default", "avx2", "avx512"]


class Saved:
    """Counts the bytes that autograd keeps: each storage once, those of `inputs` not at all."""

    def __init__(self, *inputs):
        self._ignored = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        self.storages = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._ignored:
            self.storages[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor.detach()  # not the node that may keep its own result

    def __enter__(self):
        self._hooks.__enter__()
        return self

    def __exit__(self, *error):
        self._hooks.__exit__(*error)

    @property
    def bytes(self):
        return sum(nbytes for _, nbytes in self.storages.values())


def peak_bytes(function):
    """Largest number of bytes alive at once that the function allocates on the CPU and does not free before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        kept = function()
    alive = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    del kept
    return peak


def run_script(capability, *arguments):
    """Python with these arguments, with this CPU capability and the modules of the tests."""
    paths = [str(Path(cnnfast.__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = os.environ | {"CNNFAST_CPU_CAPABILITY": capability, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def results_with_capability(module, capability, path):
    """What a module that saves its results finds with this capability, after a check that it had it."""
    process = run_script(capability, "-m", module, str(path))
    assert process.returncode == 0, process.stderr
    found = torch.load(path)
    best = CAPABILITIES.index(_C.cpu_capability())
    if "CNNFAST_CPU_CAPABILITY" not in os.environ:
        assert found["capability"] == CAPABILITIES[min(best, CAPABILITIES.index(capability))]
    return found["results"]


def assert_same_from_several_threads(work, inputs, rounds):
    """Calls from eight Python threads give, bit for bit, the tensors that each gives alone."""
    expected = [work(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(rounds):
            for actual, wanted in zip(pool.map(work, inputs), expected, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(actual, wanted, strict=True))


def ticks_of_another_thread(call):
    """How often another Python thread counts while one call is running."""
    ticks, stop, running = 0, threading.Event(), threading.Event()

    def count():
        nonlocal ticks
        while not stop.is_set():
            if running.is_set():
                ticks += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        running.set()
        call()
        running.clear()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    return ticks
