"""The two VGG networks of Simonyan and Zisserman, as names and numbers of layers."""

from __future__ import annotations

_CONVOLUTIONS_PER_BLOCK = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}

VGG_ARCHITECTURES = tuple(_CONVOLUTIONS_PER_BLOCK)
"""Names of the known architectures."""


def vgg_layer_names(arch: str) -> tuple[str, ...]:
    """Layers of a VGG in order: ``conv<block>_<i>``, ``relu<block>_<i>``, and ``pool<block>`` after each block.

    The position of a name in the result is the layer's number in torchvision's ``features``.

    Args:
        arch: "vgg16" or "vgg19".

    Returns:
        31 names for VGG-16, 37 for VGG-19.

    Raises:
        ValueError: arch is neither.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        table 1.

    Example:
        >>> vgg_layer_names("vgg16")[:5]
        ('conv1_1', 'relu1_1', 'conv1_2', 'relu1_2', 'pool1')
        >>> vgg_layer_names("vgg19").index("conv5_1")
        28
    """
    if arch not in _CONVOLUTIONS_PER_BLOCK:
        raise ValueError(f'vgg_layer_names: expected arch "vgg16" or "vgg19", got {arch!r}')
    names = []
    for block, count in enumerate(_CONVOLUTIONS_PER_BLOCK[arch], start=1):
        for i in range(1, count + 1):
            names += [f"conv{block}_{i}", f"relu{block}_{i}"]
        names.append(f"pool{block}")
    return tuple(names)


def vgg_convolution_names(arch: str) -> tuple[str, ...]:
    """Names of the convolutions of a VGG in order, e.g. ``conv1_1``.

    Args:
        arch: "vgg16" (13 convolutions) or "vgg19" (16).

    Raises:
        ValueError: arch is neither.

    Example:
        >>> vgg_convolution_names("vgg16")[-1]
        'conv5_3'
    """
    return tuple(name for name in vgg_layer_names(arch) if name.startswith("conv"))
