"""StyleLoss beyond its formula: targets, blends, pixel weights, regions, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.layers import StyleLoss
from cnnfast.ops import gram_matrix, gram_mse_loss
from tests.layers.layer_cases import random


def captured(source, **options):
    loss = StyleLoss(**options)
    loss.capture(source)
    return loss


def test_own_features_cost_nothing():
    source = random(1, 5, 6, 7)
    assert captured(source)(source) == 0


def test_repeated_texture_of_another_size_costs_nothing():
    source = random(1, 5, 6, 7)
    torch.testing.assert_close(captured(source)(source.repeat(1, 1, 3, 2)), torch.zeros((), dtype=torch.float64))


def test_target_of_batch_one_serves_a_batch():
    source, x = random(1, 5, 6, 7), random(4, 5, 3, 8, seed=1)
    loss = captured(source)
    torch.testing.assert_close(loss(x), torch.stack([loss(sample[None]) for sample in x]).mean())


def test_target_of_a_batch_belongs_sample_by_sample():
    source, x = random(3, 5, 6, 7), random(3, 5, 3, 8, seed=1)
    single = [captured(source[b : b + 1])(x[b : b + 1]) for b in range(3)]
    torch.testing.assert_close(captured(source)(x), torch.stack(single).mean())
    with pytest.raises(ValueError, match="target"):
        captured(source)(x[:2])


def test_given_target():
    x, target = random(2, 5, 6, 7), random(5, 5, seed=1)
    torch.testing.assert_close(StyleLoss(target, 3.0)(x), gram_mse_loss(x, target, 3.0))


@pytest.mark.parametrize("scale", ["relative", "l1grad"])
def test_given_target_of_every_shape(scale):
    x, target = random(2, 5, 6, 7), random(5, 5, seed=1)
    expected = StyleLoss(target, scale=scale)(x)
    torch.testing.assert_close(StyleLoss(target[None], scale=scale)(x), expected)
    torch.testing.assert_close(StyleLoss(target.expand(2, 5, 5), scale=scale)(x), expected)


def test_relative_is_the_relative_error():
    x, target = random(1, 5, 6, 7), random(5, 5, seed=1)
    expected = 2 * (gram_matrix(x)[0] - target).square().sum() / target.square().sum()
    torch.testing.assert_close(StyleLoss(target, 2.0, scale="relative")(x), expected)


def test_blend_adds_up():
    first, second = random(1, 5, 6, 7), random(1, 5, 4, 9, seed=1)
    loss = StyleLoss()
    loss.capture(first, blend=0.25)
    loss.capture(second, blend=0.75, add=True)
    torch.testing.assert_close(loss.target, 0.25 * gram_matrix(first) + 0.75 * gram_matrix(second))


def test_reset_forgets():
    loss = captured(random(1, 5, 6, 7))
    loss.reset_parameters()
    assert loss.target is None and not loss.captured and not loss.state_dict()
    loss.capture(random(1, 3, 6, 7))
    assert loss.target.shape == (1, 3, 3)


def test_pixel_weight_picks_the_pixels():
    source, x = random(1, 5, 6, 7), random(2, 5, 8, 9, seed=1)
    mask = torch.zeros(8, 9, dtype=torch.float64)
    mask[2:5, 1:8] = 1
    loss = captured(source)
    torch.testing.assert_close(loss(x, pixel_weight=mask), loss(x[..., 2:5, 1:8]))
    constant = StyleLoss(loss.target, pixel_weight=mask)
    torch.testing.assert_close(constant(x), loss(x, pixel_weight=mask))
    assert list(constant.state_dict()) == ["target"]


@pytest.mark.parametrize("scale", ["gatys", "mean", "sum"])
def test_regions_average_the_losses_of_single_regions(scale):
    source, x = random(1, 5, 6, 7), random(2, 5, 8, 9, seed=1)
    source_weight, weight = random(1, 3, 6, 7, seed=2).abs(), random(2, 3, 8, 9, seed=3).abs()
    loss = StyleLoss(scale=scale)
    loss.capture(source, pixel_weight=source_weight)
    assert loss.target.shape == (1, 3, 5, 5)
    single = []
    for region in range(3):
        one = StyleLoss(scale=scale)
        one.capture(source, pixel_weight=source_weight[:, region : region + 1])
        single.append(one(x, pixel_weight=weight[:, region : region + 1]))
    torch.testing.assert_close(loss(x, pixel_weight=weight), torch.stack(single).mean())


@pytest.mark.parametrize("scale", ["relative", "l1grad"])
def test_regions_of_the_other_scales_match_their_formula(scale):
    source, x = random(1, 5, 6, 7), random(2, 5, 8, 9, seed=1)
    source_weight, weight = random(1, 3, 6, 7, seed=2).abs(), random(2, 3, 8, 9, seed=3).abs()
    loss = StyleLoss(scale=scale)
    loss.capture(source, pixel_weight=source_weight)
    target = gram_matrix(source, pixel_weight=source_weight)
    difference = gram_matrix(x, pixel_weight=weight) - target
    squares = difference.square().sum((1, 2, 3))
    if scale == "relative":
        expected = (squares / target.square().sum()).mean()
    else:
        expected = (squares / (difference.abs().sum((1, 2, 3)) + 1e-8)).mean()
    torch.testing.assert_close(loss(x, pixel_weight=weight), expected)


def test_three_dimensional_features():
    source, x = random(1, 5, 6, 7), random(2, 5, 8, 9, seed=1)
    torch.testing.assert_close(captured(source.flatten(2))(x.flatten(2)), captured(source)(x))


def test_dtype_and_device_of_the_target():
    loss = captured(random(1, 5, 6, 7), dtype=torch.float32, device="cpu")
    assert loss.target.dtype == torch.float32
    fresh = StyleLoss(dtype=torch.float64)
    fresh.load_state_dict(loss.state_dict())
    assert fresh.target.dtype == torch.float64
    assert captured(random(1, 5, 6, 7).bfloat16()).target.dtype == torch.float32


@pytest.mark.parametrize("scale", ["gatys", "relative", "l1grad"])
def test_empty_batch(scale):
    assert captured(random(1, 5, 6, 7), scale=scale)(random(0, 5, 6, 7)) == 0


def test_gradient_reaches_a_pixel_weight():
    loss = captured(random(1, 5, 6, 7))
    weight = random(8, 9, seed=2).abs().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: loss(random(2, 5, 8, 9, seed=1), pixel_weight=w), weight)


class TestMessages:
    def test_scale(self):
        with pytest.raises(ValueError, match=r"StyleLoss: expected scale one of \"gatys\", .*, got 'gram'"):
            StyleLoss(scale="gram")

    @pytest.mark.parametrize("weight", ["1", None, True])
    def test_weight(self, weight):
        with pytest.raises(TypeError, match="StyleLoss: expected weight a number, got"):
            StyleLoss(weight=weight)

    @pytest.mark.parametrize("weight", [math.nan, math.inf, torch.tensor(math.nan)])
    def test_weight_that_is_not_finite(self, weight):
        with pytest.raises(ValueError, match="StyleLoss: expected a finite weight, got"):
            StyleLoss(weight=weight)

    @pytest.mark.parametrize("weight", [np.float32(2), np.int64(2), torch.tensor(2.0), np.array(2), 2])
    def test_numbers_of_any_kind(self, weight):
        loss = StyleLoss(weight=weight, normalize=weight)
        assert type(loss.weight) is float and loss.weight == 2

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"target": np.zeros((4, 4))}, TypeError, "expected target a torch.Tensor, got ndarray"),
            ({"target": torch.zeros(4, 4).long()}, TypeError, "expected target of dtype"),
            ({"target": torch.zeros(4, 5)}, ValueError, r"expected target of shape .*, got \[4, 5\]"),
            ({"target": torch.zeros(4)}, ValueError, r"expected target of shape .*, got \[4\]"),
            ({"normalize": "area"}, ValueError, "expected normalize .*, got 'area'"),
            ({"normalize": None}, TypeError, "expected normalize .*, got None"),
            ({"centered": 1}, TypeError, "expected centered True or False, got 1"),
            ({"pixel_weight": [1.0]}, TypeError, "expected pixel_weight a torch.Tensor, got list"),
        ],
    )
    def test_constructor(self, options, error, message):
        with pytest.raises(error, match=f"StyleLoss: {message}"):
            StyleLoss(**options)

    def test_blended_shapes(self):
        with pytest.raises(ValueError, match=r"expected a Gram matrix of shape \[1, 5, 5\].*got \[1, 4, 4\]"):
            captured(random(1, 5, 6, 7)).capture(random(1, 4, 6, 7), add=True)

    @pytest.mark.parametrize("scale", ["gatys", "relative", "l1grad"])
    @pytest.mark.parametrize("channels", [1, 4])
    def test_channels(self, scale, channels):
        with pytest.raises(ValueError, match="expected target of shape"):
            captured(random(1, 5, 6, 7), scale=scale)(random(1, channels, 6, 7))

    @pytest.mark.parametrize("scale", ["gatys", "relative", "l1grad"])
    def test_regions(self, scale):
        with pytest.raises(ValueError, match="expected target of shape"):
            captured(random(1, 5, 6, 7), scale=scale)(random(1, 5, 6, 7), torch.ones(1, 2, 6, 7))

    def test_pixel_weight_of_another_size(self):
        with pytest.raises(ValueError, match="weight"):
            captured(random(1, 5, 6, 7))(random(1, 5, 6, 7), torch.ones(7, 6))

    @pytest.mark.parametrize("scale", ["gatys", "relative", "l1grad"])
    def test_features(self, scale):
        loss = captured(random(1, 5, 6, 7), scale=scale)
        with pytest.raises(TypeError, match=r"expected .* of dtype"):
            loss(torch.ones(1, 5, 6, 7, dtype=torch.int32))
        with pytest.raises(ValueError, match="got \\[5, 6\\]"):
            loss(torch.ones(5, 6))
        with pytest.raises(TypeError, match="got list"):
            loss([1.0])

    def test_relative_to_nothing(self):
        with pytest.raises(ValueError, match="expected a target that is not zero everywhere"):
            captured(torch.zeros(1, 5, 6, 7), scale="relative")


@pytest.mark.parametrize("scale", ["gatys", "mean", "sum", "relative", "l1grad"])
@pytest.mark.parametrize("regions", [1, 3])
def test_known_gram_matrix_gives_the_loss_of_its_features(scale, regions):
    features, other = random(2, 5, 6, 7), random(1, 5, 8, 9, seed=1)
    weight, of_other = random(2, regions, 6, 7, seed=2).abs(), random(1, regions, 8, 9, seed=3).abs()
    loss = StyleLoss(weight=3.0, scale=scale)
    loss.capture(other, pixel_weight=of_other)
    gram = gram_matrix(features, pixel_weight=weight)
    torch.testing.assert_close(loss.of_gram(gram), loss(features, weight))
