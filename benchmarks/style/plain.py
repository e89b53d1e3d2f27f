"""Texture synthesis as most programs write it, the opponent of ours: a plain loop in eager PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers import eager_gram
from cnnfast.weights import PREPROCESSINGS, VGGWeights, vgg_layer_names

RELATIVE_FACTOR = 1e6


class PlainVGG(nn.Module):
    """A VGG with frozen weights and in-place ReLUs, cut after the last tap."""

    def __init__(
        self,
        weights: VGGWeights,
        taps: Sequence[str],
        padding: str = "zeros",
        pool: Callable[[int], nn.Module] = nn.AvgPool2d,
    ) -> None:
        super().__init__()
        convention = PREPROCESSINGS[weights.preprocessing]
        self.flip, self.unit = convention.order == "BGR", convention.unit
        self.register_buffer("mean", torch.tensor(convention.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(convention.std).view(3, 1, 1))
        names = list(vgg_layer_names(weights.arch))
        self.taps = tuple(taps)
        self.layers = nn.ModuleDict()
        for name in names[: 1 + max(map(names.index, taps))]:
            if name.startswith("conv"):
                weight, bias = weights.state[name]
                layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, padding_mode=padding)
                layer.load_state_dict({"weight": weight, "bias": bias})
                self.layers[name] = layer
            else:
                self.layers[name] = nn.ReLU(inplace=True) if name.startswith("relu") else pool(2)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Taps of an RGB image in [0,1]."""
        x = image.flip(1) if self.flip else image
        x = (x * self.unit - self.mean) / self.std
        features = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in self.taps:
                features[name] = x
        return features


class PlainTextureLoss:
    """Mean over layers of the relative squared error of the Gram matrices, times 1e6."""

    def __init__(self, network: nn.Module, sample: Tensor) -> None:
        self.network = network
        with torch.no_grad():
            self.targets = {name: eager_gram(x) for name, x in network(sample).items()}

    def __call__(self, image: Tensor) -> Tensor:
        """The loss of an image [1,3,H,W]."""
        total = image.new_zeros(())
        for name, x in self.network(image).items():
            target = self.targets[name]
            error = functional.mse_loss(eager_gram(x), target)
            total = total + error / functional.mse_loss(target, torch.zeros_like(target))
        return RELATIVE_FACTOR * total / len(self.targets)


def plain_synthesis(loss_of: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> tuple[float, float]:
    """torch.optim.LBFGS at full size from the start; returns the seconds and the smallest loss that it saw."""
    image = start.clone().requires_grad_()
    # Its own termination tests end such a run at once, so they are off, as in the programs that work.
    optimizer = torch.optim.LBFGS([image], max_iter=iterations, tolerance_grad=-1, tolerance_change=-1)
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(image)
        loss.backward()
        seen.append(float(loss.detach()))
        return loss

    started = time.perf_counter()
    optimizer.step(closure)
    return time.perf_counter() - started, min(value for value in seen if value == value)
