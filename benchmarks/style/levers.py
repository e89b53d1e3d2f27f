"""What makes an evaluation of the loss of style transfer fast, one lever after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers import eager_gram
from benchmarks.style.plain import PlainVGG
from benchmarks.style.processes import After
from benchmarks.style.programs import CONTENT_WEIGHT, STYLE_WEIGHT, Problem, our_network, our_objective, run_cnnfast
from benchmarks.style.vgg import require_arithmetic
from cnnfast.features.choice import CONTENT_LAYERS, STYLE_LAYERS
from cnnfast.images import load_image
from cnnfast.models.style.picture import settings
from cnnfast.weights import VGGWeights, load_vgg

# In this order; each is measured on top of those before it.
LEVERS = (
    "frozen weights",
    "network cut behind its last layer in use",
    "Gram matrices of the style taken once",
    "fused Gram loss, convolutions that keep no input",
    "channels_last, convolutions by tiles, pooled ReLUs",
    "bfloat16",
)
_PLAIN = 3


class PlainStyleLoss:
    """The loss in eager PyTorch, with the first so many levers."""

    def __init__(self, weights: VGGWeights, content: Tensor, style: Tensor, count: int) -> None:
        taps = tuple(dict.fromkeys((*CONTENT_LAYERS, *STYLE_LAYERS)))
        self.network = PlainVGG(weights, taps if count > 1 else (*taps, "relu5_4"), pool=nn.MaxPool2d)
        self.network.requires_grad_(count == 0)
        with torch.no_grad():
            self._content = {name: x for name, x in self.network(content).items() if name in CONTENT_LAYERS}
            self._style = {name: x for name, x in self.network(style).items() if name in STYLE_LAYERS}
            self._grams = {name: eager_gram(x) for name, x in self._style.items()} if count > 2 else None

    def __call__(self, image: Tensor) -> Tensor:
        """The loss of an image [1,3,H,W]."""
        features = self.network(image)
        loss = image.new_zeros(())
        for name, x in self._content.items():
            loss = loss + CONTENT_WEIGHT * functional.mse_loss(features[name], x)
        for name, x in self._style.items():
            target = eager_gram(x) if self._grams is None else self._grams[name]
            loss = loss + STYLE_WEIGHT / x.shape[1] ** 2 * functional.mse_loss(eager_gram(features[name]), target)
        return loss


def plain_evaluation(weights: VGGWeights, content: Tensor, style: Tensor, count: int) -> Callable[[], Tensor]:
    """Loss and gradient at the content with the first `count` levers, at most 3; returns the loss."""
    loss_of = PlainStyleLoss(weights, content[None], style[None], count)
    leaf = content[None].clone().requires_grad_()

    def evaluate() -> Tensor:
        leaf.grad = None
        loss_of.network.zero_grad()
        loss = loss_of(leaf)
        loss.backward()
        return loss.detach()

    return evaluate


def our_evaluation(weights: VGGWeights, content: Tensor, style: Tensor, count: int) -> Callable[[], Tensor]:
    """Loss and gradient at the content with the first `count` levers, at least 4; returns the loss."""
    dtype = torch.bfloat16 if count > 5 else torch.float32
    require_arithmetic(dtype)
    network = our_network(weights, dtype)
    network.to(memory_format=torch.channels_last if count > 4 else torch.contiguous_format)
    objective = our_objective(network, content, style)
    return lambda: objective(content)[0]


def run_without_preconditioner(problem: Problem, after: After, **options: Any) -> None:
    """`stylize` with an L-BFGS without a preconditioner."""
    with mock.patch.object(settings, "picture_preconditioner", lambda *_, **__: None):
        run_cnnfast(problem, after, **options)


def run_evaluations(problem: Problem, count: int, after: After) -> None:
    """A program that evaluates the loss of the content again and again."""
    weights = load_vgg(problem.weights, "caffe")
    content, style = load_image(problem.content), load_image(problem.style)
    evaluate = (plain_evaluation if count <= _PLAIN else our_evaluation)(weights, content, style, count)
    del weights
    for _ in range(problem.iterations):
        loss = evaluate()
        after(lambda: content, float(loss))
