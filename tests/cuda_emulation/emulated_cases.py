"""What the tests of the emulated kernels share: calls in every thread order, and layouts and definitions for Gram."""

from __future__ import annotations

import torch

from tests.cuda_emulation import emulation
from tests.ops.tensors import random_tensor

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FORWARD = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-6, torch.float16: 2e-6}
GRADIENT = FORWARD | {torch.float32: 5e-6, torch.bfloat16: 5e-3, torch.float16: 1e-3}
NORMALIZE = {"number": 0, "hw": 1, "chw": 2}
LAYOUTS = {
    "rows": lambda x: x,
    "channels_last": lambda x: x.mT.contiguous().mT,
    "slice": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 0), value=torch.nan)[:, 1:, 1:-2],
    "strided": lambda x: torch.stack([x, x * torch.nan], 3).flatten(2)[..., ::2],
}


def emulated(name, *arguments):
    """What an operator returns, after a check that the bits are the same in every order of threads and blocks."""
    emulation.load()
    operator = getattr(torch.ops.cnnfast_emulated, name).default
    results = []
    for order, seed in (("forward", 0), ("reverse", 0), ("random", 1)):
        emulation.set_order(order, seed)
        found = operator(*arguments)
        results.append(found if isinstance(found, tuple) else (found,))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=0, equal_nan=True)
    return results[0] if len(results[0]) > 1 else results[0][0]


def features(shape, dtype, layout="rows", seed=0):
    return LAYOUTS[layout](random_tensor(*shape, dtype=dtype, seed=seed) + 0.5)


def pixel_weights(kind, batch, pixels, dtype):
    """None, one map, or three of which one is empty; shared by the batch or not."""
    if kind == "none":
        return None
    weight = random_tensor(1 if kind == "shared" else batch, 3 if kind == "regions" else 1, pixels, seed=9).abs()
    if kind == "regions":
        weight[:, 1] = 0
    return weight.to(torch.float64 if dtype == torch.float64 else torch.float32)


class Exact:
    """The definitions: centred features per region, weights and 1 / Z, in float64."""

    def __init__(self, x, weight, normalize, divisor, centered, channels=None):
        self.x = x.double()[:, None]
        self.weight = torch.ones(1, 1, x.shape[2]).double() if weight is None else weight.double()
        self.weight = self.weight.expand(x.shape[0], -1, -1)
        total = self.weight.sum(-1)[..., None, None]
        z = (torch.full_like(total, divisor), total, total * (channels or x.shape[1]))[normalize]
        self.inverse = torch.where(z == 0, 0, 1 / z)
        self.divisors = (total, centered)
        self.x = self.centre(self.x)

    def centre(self, x):
        total, centered = self.divisors
        mean = (x * self.weight[:, :, None]).sum(-1, keepdim=True) * torch.where(total == 0, 0, 1 / total)
        return x - mean if centered else x.expand(-1, self.weight.shape[1], -1, -1)

    def products(self, y):
        return (self.x * self.weight[:, :, None]) @ y.mT * self.inverse

    def mixed(self, matrices):
        return (matrices * self.inverse @ (self.x * self.weight[:, :, None])).sum(1)
