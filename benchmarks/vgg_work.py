"""What an evaluation of a loss over the features of a VGG-19 needs at least."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.common import Work
from cnnfast.weights import vgg_convolution_names

WIDTHS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


def vgg_work(height: int, width: int, last: str, grams: Iterable[tuple[int, int]]) -> Work:
    """Convolutions forward and backward to the picture, Gram matrices as `bench_gram` counts them.

    Bytes: features written and read once forward, their gradients once backward; that is far from what bounds a step.

    Args:
        height: of the picture.
        width: of the picture.
        last: convolution behind which the network is cut.
        grams: channels of each Gram matrix, and by what the pixels of its layer are fewer than those of the picture.
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
