"""ContentLoss, and the arithmetic that it shares with other losses, beyond the parity arrays."""

from __future__ import annotations

import pytest
import torch

from cnnfast.layers import ContentLoss, WassersteinStyleLoss
from cnnfast.layers.style._features import channel_means
from tests.layers.layer_cases import random


def captured(loss, features):
    loss.capture(features)
    return loss


def test_content_scales():
    x, p = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    d = x - p
    torch.testing.assert_close(captured(ContentLoss(2.0), p)(x), 2 * d.square().mean())
    torch.testing.assert_close(captured(ContentLoss(2.0, "gatys"), p)(x), d.square().sum())
    torch.testing.assert_close(
        captured(ContentLoss(2.0, "l1grad"), p)(x), 2 * d.square().sum() / (d.abs().sum() + 1e-8)
    )


def test_content_of_batch_one_serves_a_batch():
    x, p = random(3, 3, 4, 5), random(1, 3, 4, 5, seed=1)
    torch.testing.assert_close(captured(ContentLoss(), p)(x), (x - p).square().mean())


def test_content_is_a_copy():
    p = random(1, 3, 4, 5)
    loss = captured(ContentLoss(), p)
    original = p.clone()
    p.zero_()
    assert loss(original) == 0


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (1, 2, 4, 5), (2, 3, 4, 5), (1, 3, 20)])
def test_content_of_another_shape(shape):
    loss = captured(ContentLoss(), random(3, 3, 4, 5))
    message = r"ContentLoss: expected features of the target's shape \[3, 3, 4, 5\], got \[" + str(list(shape))[1:-1]
    with pytest.raises(ValueError, match=message):
        loss(random(*shape))


def test_channel_means_of_nothing_are_zero():
    assert torch.equal(channel_means("f", random(1, 3, 0, 5)), torch.zeros(1, 3, dtype=torch.float64))


def test_l1grad_of_equal_inputs():
    x = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = captured(ContentLoss(scale="l1grad"), x)(x)
    loss.backward()
    assert loss == 0 and torch.equal(x.grad, torch.zeros_like(x))


def test_l1grad_pulls_with_the_same_force_at_every_scale():
    forces = []
    for size in (1e-2, 1.0, 1e3):
        x = (size * random(1, 3, 4)).requires_grad_()
        captured(ContentLoss(scale="l1grad"), torch.zeros_like(x))(x).backward()
        forces.append(float(x.grad.abs().sum()))
    assert 0.5 < forces[0] < 3 and max(forces) <= 1.001 * min(forces)


def test_unknown_scale():
    with pytest.raises(ValueError, match=r"ContentLoss: expected scale one of .* got 'sum'"):
        ContentLoss(scale="sum")


@pytest.mark.parametrize("layer", [ContentLoss, WassersteinStyleLoss])
def test_features_of_a_wrong_kind(layer):
    with pytest.raises(TypeError, match=f"{layer.__name__}: expected features of dtype"):
        layer().capture(torch.ones(1, 3, 4, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=f"{layer.__name__}: expected features of shape"):
        layer().capture(torch.ones(4, 5))


@pytest.mark.parametrize("scale", ["mean", "gatys", "l1grad"])
def test_sums_of_parts_give_the_loss_of_the_whole(scale):
    features, target = random(1, 4, 6, 8), random(1, 4, 6, 8, seed=1)
    loss = ContentLoss(3.0, scale)
    loss.capture(target)
    parts = (features - target).split(3, dim=3)
    squares, absolutes = (sum(f(part).sum() for part in parts) for f in (torch.square, torch.abs))
    torch.testing.assert_close(loss.of_sums(squares, absolutes, features.numel()), loss(features))
