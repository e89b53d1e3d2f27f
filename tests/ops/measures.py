"""What a call keeps and takes of memory, as many tests of operators measure it."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile


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
        return tensor

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
