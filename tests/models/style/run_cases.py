"""What the tests of runs over pictures share."""

from __future__ import annotations

from contextlib import contextmanager

import torch

from cnnfast.features.choice import RandomFilterFeatures


def small_network(seed=0):
    return RandomFilterFeatures(4, (3, 7, 11), seed=seed)


def smooth_noise(height, width, seed=5):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(3, height, width, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise[None], 3, 1, 1)[0]
    return (0.2 + 1.2 * (smooth - 0.3)).clamp(0, 1)


class Stop(Exception):
    pass


def stop_at(count, keep, error=Stop):
    """A callback that keeps the progress of one iteration and ends the run there."""

    def callback(progress):
        callback.calls += 1
        if callback.calls == count:
            keep.append(progress)
            raise error

    callback.calls = 0
    return callback


@contextmanager
def interrupted_in_call(network, number):
    """Within, a network's `forward` raises KeyboardInterrupt in one of its calls."""
    forward, calls = network.forward, []

    def interrupted(image):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return forward(image)

    network.forward = interrupted
    try:
        yield
    finally:
        network.forward = forward


class Spoiled(torch.nn.Module):
    """A network whose features turn NaN in chosen calls."""

    def __init__(self, bad):
        super().__init__()
        self.network, self.bad, self.calls = small_network(), bad, 0
        self.taps = self.network.taps

    def forward(self, image):
        self.calls += 1
        features = self.network(image)
        return {k: v * float("nan") if self.calls in self.bad else v for k, v in features.items()}
