"""TextureLoss: sums over layers, masks, names, messages."""

from __future__ import annotations

import pytest
import torch

from cnnfast.layers import StyleLoss, TextureLoss
from cnnfast.ops import gram_matrix
from tests.layers.layer_cases import TinyFeatures, random

LAYERS = {"first": 1.0, "second": 2.0}


def image(*shape, seed=0):
    return random(*shape, seed=seed).sigmoid()


def texture(sample, **options):
    loss = TextureLoss(LAYERS, TinyFeatures().double(), **options)
    loss.set_target(sample)
    return loss


@pytest.mark.parametrize("options", [{}, {"scale": "mean"}, {"normalize": "chw"}, {"centered": True}])
def test_is_the_sum_over_layers(options):
    sample, x = image(1, 3, 8, 14), image(2, 3, 10, 12, seed=1)
    loss, network = texture(sample, **options), TinyFeatures().double()
    total = 0
    for name, weight in LAYERS.items():
        single = StyleLoss(weight=weight, **options)
        single.capture(network(sample)[name])
        total = total + single(network(x)[name])
    torch.testing.assert_close(loss(x), total)


def test_relative_weights():
    sample, x = image(1, 3, 8, 14), image(1, 3, 10, 12, seed=1)
    network = TinyFeatures().double()
    total = 0
    for name, weight in LAYERS.items():
        target = gram_matrix(network(sample)[name])
        total = total + weight * (gram_matrix(network(x)[name]) - target).square().sum() / target.square().sum() / 2
    torch.testing.assert_close(texture(sample, weights="relative")(x), total)


def test_relative_loss_ignores_the_scale_of_activations():
    sample, x = image(1, 3, 8, 14), image(1, 3, 10, 12, seed=1)
    network = TinyFeatures().double()
    with torch.no_grad():
        network.second.weight.mul_(100)
        network.second.bias.mul_(100)
    loss = TextureLoss(LAYERS, network, weights="relative")
    loss.set_target(sample)
    torch.testing.assert_close(loss(x), texture(sample, weights="relative")(x))


def test_last_terms():
    loss = texture(image(1, 3, 8, 14))
    assert loss.last_terms == {}
    total = loss(image(1, 3, 10, 12, seed=1).requires_grad_())
    assert list(loss.last_terms) == list(LAYERS)
    assert not any(term.requires_grad for term in loss.last_terms.values())
    torch.testing.assert_close(sum(loss.last_terms.values()), total.detach())


def test_set_target_replaces():
    loss, x = texture(image(1, 3, 8, 14)), image(1, 3, 10, 12, seed=1)
    loss.set_target(x)
    assert loss(x) == 0


def test_pixel_weight_of_the_sample_picks_its_part():
    """A mask of an even block equals the crop away from the block's border, where convolutions see the outside."""
    sample = image(1, 3, 16, 16)
    mask = torch.zeros(16, 16, dtype=torch.float64)
    mask[4:12, 4:12] = 1
    loss = TextureLoss(LAYERS, TinyFeatures().double())
    loss.set_target(sample, mask)
    features = TinyFeatures().double()(sample)
    torch.testing.assert_close(loss.losses["first"].target, gram_matrix(features["first"][..., 4:12, 4:12]))
    torch.testing.assert_close(loss.losses["second"].target, gram_matrix(features["second"][..., 2:6, 2:6]))


def test_regions():
    sample, x = image(1, 3, 8, 14), image(1, 3, 10, 12, seed=1)
    left = torch.zeros(1, 1, 8, 14, dtype=torch.float64)
    left[..., :6] = 1
    masks = torch.cat([left, 1 - left], 1)
    loss = TextureLoss(LAYERS, TinyFeatures().double())
    loss.set_target(sample, masks)
    assert loss(sample, masks) == 0
    swapped = loss(sample, masks.flip(1))
    assert swapped > 0
    with pytest.raises(ValueError, match="expected target of shape"):
        loss(x)


def test_state_dict_has_a_target_for_every_layer():
    keys = list(texture(image(1, 3, 8, 14)).state_dict())
    assert [key for key in keys if "target" in key] == ["losses.first.target", "losses.second.target"]


def test_bfloat16_features_give_a_float32_loss():
    loss = TextureLoss(LAYERS, TinyFeatures())
    with torch.autocast("cpu", torch.bfloat16):
        loss.set_target(image(1, 3, 8, 14).float())
        x = image(1, 3, 10, 12, seed=1).float().requires_grad_()
        value = loss(x)
    value.backward()
    exact = texture(image(1, 3, 8, 14))(image(1, 3, 10, 12, seed=1))
    assert value.dtype == torch.float32 and x.grad.dtype == torch.float32
    torch.testing.assert_close(value.detach().double(), exact, rtol=0.05, atol=0)


def test_messages():
    network = TinyFeatures().double()
    with pytest.raises(ValueError, match="TextureLoss: expected at least one layer, got none"):
        TextureLoss({}, network)
    with pytest.raises(ValueError, match='TextureLoss: expected weights one of "gatys", "relative", got \'equal\''):
        TextureLoss(LAYERS, network, weights="equal")
    loss = TextureLoss({"third": 1.0}, network)
    with pytest.raises(ValueError, match="TextureLoss: expected layers among first, second, got 'third'"):
        loss.set_target(image(1, 3, 8, 14))
    with pytest.raises(ValueError, match=r"TextureLoss: expected pixel_weight of shape .*, got \[3\]"):
        TextureLoss(LAYERS, network).set_target(image(1, 3, 8, 14), torch.ones(3))
