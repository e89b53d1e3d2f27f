"""Random multi-scale filters: the FFT against direct convolution, the distribution, the cache."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnnfast.features.random_filters import FILTER_SIZES, RandomFilterFeatures

MEAN = torch.tensor([104.0, 117.0, 123.0], dtype=torch.float64).view(3, 1, 1)


def direct(net, image, mode="circular"):
    """Pad by the radius of each filter, then convolve."""
    x = 255 * image.flip(1) - MEAN
    maps = []
    for size in net.sizes:
        padded = F.pad(x, [size // 2] * 4, "constant" if mode == "zeros" else mode)
        maps.append(F.conv2d(padded, getattr(net, f"filters_{size}")).clamp(min=0))
    return torch.cat(maps, 1)


@pytest.fixture
def image():
    return torch.rand(2, 3, 60, 57, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("padding", ["circular", "zeros", "reflect", "replicate"])
def test_equals_direct_convolution(padding, image):
    net = RandomFilterFeatures(3, padding=padding, dtype=torch.float64)
    expected = direct(net, image, padding)
    torch.testing.assert_close(net(image)["random"], expected, rtol=1e-10, atol=1e-10 * float(expected.max()))


@pytest.mark.parametrize("height, width", [(1, 1), (2, 7), (13, 64), (54, 55)])
def test_filters_larger_than_the_picture_wrap(height, width):
    """As on a picture that is repeated until the filters fit."""
    net = RandomFilterFeatures(2, dtype=torch.float64)
    image = torch.rand(1, 3, height, width, dtype=torch.float64)
    repeats = (-(-55 // height), -(-55 // width))
    expected = direct(net, image.repeat(1, 1, *repeats))[..., :height, :width]
    torch.testing.assert_close(net(image)["random"], expected, rtol=1e-10, atol=1e-10 * float(expected.max()))


def test_float32(image):
    net = RandomFilterFeatures(4)
    expected = direct(RandomFilterFeatures(4, dtype=torch.float64), image)
    actual = net(image.float())["random"]
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_gradient(image):
    net = RandomFilterFeatures(2, (3, 7), dtype=torch.float64)
    leaf = image[:1, :, :9, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x)["random"], leaf, fast_mode=True)
    plain = leaf.detach().clone().requires_grad_()
    net(leaf)["random"].square().sum().backward()
    direct(net, plain).square().sum().backward()
    torch.testing.assert_close(leaf.grad, plain.grad)


def test_distribution():
    net = RandomFilterFeatures(128)
    for size in FILTER_SIZES:
        filters = getattr(net, f"filters_{size}")
        bound = math.sqrt(3) * math.sqrt(2 / (131 * size**2))
        assert filters.shape == (128, 3, size, size) and filters.abs().max() <= bound
        deviation = bound / math.sqrt(3)
        assert abs(float(filters.std()) / deviation - 1) < 4 / math.sqrt(filters.numel())
        assert abs(float(filters.mean())) < 4 * deviation / math.sqrt(filters.numel())


def test_seed():
    assert torch.equal(RandomFilterFeatures(2, seed=1).filters_5, RandomFilterFeatures(2, seed=1).filters_5)
    assert not torch.equal(RandomFilterFeatures(2, seed=1).filters_5, RandomFilterFeatures(2, seed=2).filters_5)


class TestCache:
    def test_transformed_once_per_size(self, image, monkeypatch):
        net = RandomFilterFeatures(2, (3, 5), dtype=torch.float64)
        calls = []
        original = net._transform
        monkeypatch.setattr(net, "_transform", lambda *a: calls.append(a[1:]) or original(*a))
        for _ in range(3):
            net(image)
        net(image[..., :20])
        assert calls == [(60, 57)] * 2 + [(60, 20)] * 2

    def test_first_use_in_inference_mode(self, image):
        net = RandomFilterFeatures(2, (3, 5), dtype=torch.float64)
        with torch.inference_mode():
            net(image)
        leaf = image.clone().requires_grad_()
        net(leaf)["random"].sum().backward()
        assert leaf.grad.isfinite().all()

    def test_other_filters_and_dtypes(self, image):
        net, other = (RandomFilterFeatures(2, (3, 5), seed=seed) for seed in (0, 1))
        net(image)
        net.load_state_dict(other.state_dict())
        assert torch.equal(net(image)["random"], other(image)["random"])
        actual = net.double()(image)["random"]
        assert actual.dtype == torch.float64
        torch.testing.assert_close(actual, direct(net, image), rtol=1e-9, atol=1e-9)


def test_geometry_and_sizes():
    net = RandomFilterFeatures(1)
    assert (net.minimum_size, net.stride, net.halo, net.padding) == (1, 1, 27, "circular")
    net.set_padding("reflect")
    assert net.minimum_size == 28 and net(torch.rand(1, 3, 28, 30))["random"].shape == (1, 8, 28, 30)
    with pytest.raises(
        ValueError, match="RandomFilterFeatures: image 27x30 is smaller than 28 px needed by 55 px filters"
    ):
        net(torch.rand(1, 3, 27, 30))


def test_under_autocast(image):
    net = RandomFilterFeatures(2)
    with torch.autocast("cpu", torch.bfloat16):
        actual = net(image.float())["random"]
    assert torch.equal(actual, net(image.float())["random"])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"filters_per_scale": 0}, ValueError, "positive integer, got 0"),
        ({"filters_per_scale": 2.5}, ValueError, "positive integer, got 2.5"),
        ({"sizes": (4,)}, ValueError, "different odd sizes"),
        ({"sizes": ()}, ValueError, "different odd sizes"),
        ({"sizes": (3, 3)}, ValueError, "different odd sizes"),
        ({"dtype": torch.bfloat16}, TypeError, "expected dtype"),
        ({"padding": "valid"}, ValueError, "expected padding"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        RandomFilterFeatures(**arguments)
