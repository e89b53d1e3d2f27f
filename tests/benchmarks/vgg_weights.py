"""A VGG-19 so narrow that a test has the time for it."""

from __future__ import annotations

import torch

from cnnfast.weights import VGGWeights, vgg_convolution_names


def small_weights():
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for name in vgg_convolution_names("vgg19"):
        state[name] = (torch.randn(4, width, 3, 3, generator=generator) * 0.3, torch.rand(4, generator=generator))
        width = 4
    return VGGWeights("vgg19", state, "caffe")
