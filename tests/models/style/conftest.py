"""A narrow VGG-16 for runs over pictures."""

import pytest

from cnnfast.features.choice import VGGFeatures
from cnnfast.weights import VGGWeights


@pytest.fixture
def vgg(tiny_vgg):
    state = {name: tuple(t.float() for t in pair) for name, pair in tiny_vgg("vgg16").items()}
    weights = VGGWeights("vgg16", state, "caffe")
    return VGGFeatures(None, ("relu1_1", "pool1", "pool2"), "avg", "reflect", weights=weights, device="cpu")
