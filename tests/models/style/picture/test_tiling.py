"""Tiled evaluation equals the evaluation of the whole picture."""

import pytest
import torch

from cnnfast.features.choice import TEXTURE_LAYERS, RandomFilterFeatures, VGGFeatures
from cnnfast.layers import TextureLoss
from cnnfast.models.style.picture.terms import GramTerm
from cnnfast.models.style.picture.tiling import TiledPicture, equal_weights, spans
from cnnfast.weights import VGGWeights, vgg_convolution_names


def tiny_vgg(taps=TEXTURE_LAYERS, padding="reflect", dtype=torch.float64, pool="avg", width=4):
    generator = torch.Generator().manual_seed(3)
    state, channels = {}, 3
    for name in vgg_convolution_names("vgg16"):
        weight = torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
        state[name], channels = (weight, 0.1 * torch.randn(width, generator=generator)), width
    weights = VGGWeights("vgg16", state, "caffe")
    return VGGFeatures(None, taps, pool, padding, weights=weights, device="cpu", dtype=dtype)


def gram_terms(loss):
    return {name: GramTerm(name, part) for name, part in loss.losses.items()}


def whole_and_tiled(network, image, tile, weights="relative"):
    generator = torch.Generator().manual_seed(1)
    sample = torch.rand(1, 3, 70, 66, generator=generator, dtype=image.dtype)
    loss = TextureLoss(dict.fromkeys(network.taps, 2.0), network, weights=weights)
    loss.set_target(sample)
    leaf = image.clone().requires_grad_(True)
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    periodic = network.padding == "circular"
    tiled = TiledPicture(network, tile=tile, halo=network.halo, stride=network.stride, periodic=periodic)
    return (value.detach(), gradient, loss.last_terms), tiled.evaluate(image, gram_terms(loss), equal_weights)


def assert_same(whole, tiled, tolerance):
    assert abs(tiled[0] - whole[0]) <= tolerance * whole[0]
    assert (tiled[1] - whole[1]).abs().max() <= tolerance * whole[1].abs().max()
    assert list(tiled[2]) == list(whole[2])
    for name, term in whole[2].items():
        assert abs(tiled[2][name] - term) <= tolerance * term


@pytest.mark.parametrize(
    ("padding", "weights"),
    [
        ("reflect", "relative"),
        ("reflect", "gatys"),
        ("zeros", "relative"),
        ("replicate", "gatys"),
        ("circular", "gatys"),
    ],
)
def test_equals_the_whole_picture(padding, weights):
    image = torch.rand(1, 3, 96, 208, dtype=torch.float64)
    assert_same(*whole_and_tiled(tiny_vgg(padding=padding), image, 64, weights), 1e-11)


@pytest.mark.parametrize(("size", "tile"), [((16, 130), 16), ((95, 16), 1000), ((33, 150), 40), ((101, 65), 48)])
def test_odd_sizes_and_tiles(size, tile):
    image = torch.rand(1, 3, *size, dtype=torch.float64)
    assert_same(*whole_and_tiled(tiny_vgg(), image, tile), 1e-11)


@pytest.mark.parametrize(
    "taps", [("relu1_1",), ("pool1", "conv2_1"), ("relu1_2", "relu3_3"), ("relu1_1", "relu5_1"), ("pool5",)]
)
def test_any_depth(taps):
    image = torch.rand(1, 3, 160, 48, dtype=torch.float64)
    assert_same(*whole_and_tiled(tiny_vgg(taps), image, 32), 1e-11)


def test_max_pooling():
    image = torch.rand(1, 3, 130, 150, dtype=torch.float64)
    assert_same(*whole_and_tiled(tiny_vgg(pool="max"), image, 48), 1e-11)


def test_float32():
    image = torch.rand(1, 3, 192, 144)
    assert_same(*whole_and_tiled(tiny_vgg(dtype=torch.float32, width=16), image, 64), 1e-5)


def test_random_filters_wrap_around():
    network = RandomFilterFeatures(3, (3, 7, 15), dtype=torch.float64)
    image = torch.rand(1, 3, 50, 61, dtype=torch.float64)
    assert_same(*whole_and_tiled(network, image, 20), 1e-11)


def test_halo_wider_than_a_periodic_picture():
    image = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    assert_same(*whole_and_tiled(tiny_vgg(padding="circular"), image, 16), 1e-11)


def test_a_period_that_is_no_multiple_of_the_stride_has_no_seam():
    network = tiny_vgg(padding="circular")
    loss = TextureLoss(dict.fromkeys(network.taps, 1.0), network, weights="relative")
    loss.set_target(torch.rand(1, 3, 64, 64, dtype=torch.float64))
    options = {"halo": network.halo, "stride": network.stride, "periodic": True}
    one, many = (
        lambda image, tile=tile: TiledPicture(network, tile=tile, **options).evaluate(
            image, gram_terms(loss), equal_weights
        )
        for tile in (80, 32)
    )
    image = torch.rand(1, 3, 70, 75, dtype=torch.float64)
    assert_same(one(image), many(image), 1e-11)
    # The same from a plane of copies: 80 x 80 px that begin with a period, with 64 px around them.
    leaf = image.clone().requires_grad_(True)
    plane = leaf.repeat(1, 1, 4, 4)
    features = network(plane[..., 140 - 64 : 140 + 144, 150 - 64 : 150 + 144])
    steps = {"relu1_1": 1, "pool1": 2, "pool2": 4, "pool3": 8, "pool4": 16}
    inner = {name: slice(64 // step, 144 // step) for name, step in steps.items()}
    shares = {
        name: [((side - torch.arange(0, 80, step)) / step).clamp(0, 1) for side in (70, 75)]
        for name, step in steps.items()
    }
    value = sum(
        loss.losses[name](
            features[name][..., inner[name], inner[name]], torch.outer(*shares[name])[None, None].double()
        )
        for name in steps
    )
    torch.testing.assert_close(one(image)[0], value.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(one(image)[1], torch.autograd.grad(value, leaf)[0], rtol=1e-9, atol=1e-14)


def test_spans_cover_an_axis_once():
    for size in (1, 15, 16, 17, 100, 255, 256):
        for tile in (1, 16, 48, 300):
            cut = spans(size, tile, 32, 16)
            assert [s.start for s in cut] == [0, *[s.stop for s in cut[:-1]]]
            assert cut[-1].stop == size
            assert all(s.start % 16 == 0 and s.low % 16 == 0 for s in cut)
            assert all(s.low == max(0, s.start - 32) and s.high == min(size, s.stop + 32) for s in cut)


def test_memory_of_a_tile(monkeypatch):
    network, seen = tiny_vgg(dtype=torch.float32), []
    stream = network.stream
    monkeypatch.setattr(network, "stream", lambda image: seen.append(image.shape[-2:].numel()) or stream(image))
    image = torch.rand(1, 3, 320, 320)
    whole_and_tiled(network, image, 32)
    assert max(seen[2:]) <= (32 + 2 * network.halo) ** 2 < 320 * 320


def test_losses_that_are_no_sum_over_positions_are_refused():
    network = tiny_vgg()
    loss = TextureLoss({"pool1": 1.0}, network, centered=True)
    with pytest.raises(ValueError, match="a loss that is not centred"):
        gram_terms(loss)


def test_unknown_stride_is_refused():
    network = tiny_vgg(("pool2",))
    loss = TextureLoss({"pool2": 1.0}, network)
    loss.set_target(torch.rand(1, 3, 64, 64, dtype=torch.float64))
    tiled = TiledPicture(network, tile=32, halo=16, stride=3)
    with pytest.raises(ValueError, match="stride divides 3 px"):
        tiled.evaluate(torch.rand(1, 3, 96, 96, dtype=torch.float64), gram_terms(loss), equal_weights)
