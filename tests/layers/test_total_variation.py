"""TVLoss: its formulas on small images, flat images, thin images, messages."""

from __future__ import annotations

import pytest
import torch

from cnnfast.layers import TVLoss
from tests.layers.layer_cases import random

KINDS = ("l1mean", "l1", "l2", "iso", "nine")
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_formulas_by_hand():
    image = torch.tensor([[[[0.0, 3.0, 4.0], [4.0, 4.0, 8.0]]]], dtype=torch.float64)
    dx, dy = torch.tensor([3.0, 1, 0, 4]), torch.tensor([4.0, 1, 4])
    interior = torch.tensor([3.0**2 + 4**2, 1 + 1])
    expected = {
        "l1mean": dx.abs().mean() + dy.abs().mean(),
        "l1": dx.abs().sum() + dy.abs().sum(),
        "l2": interior.sum() / 2,
        "iso": interior.sqrt().mean(),
    }
    for kind, value in expected.items():
        torch.testing.assert_close(TVLoss(2.0, kind)(image), 2 * value.double())


def test_l2_gradient_is_the_differences():
    image = random(1, 2, 4, 5).requires_grad_()
    TVLoss(0.5, "l2")(image).backward()
    x = image.detach()
    expected = torch.zeros_like(x)
    dx, dy = x[..., :-1, :-1] - x[..., :-1, 1:], x[..., :-1, :-1] - x[..., 1:, :-1]
    expected[..., :-1, :-1] += dx + dy
    expected[..., :-1, 1:] -= dx
    expected[..., 1:, :-1] -= dy
    torch.testing.assert_close(image.grad, 0.5 * expected)


@every_kind
@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_constant_image(kind, exponent, dtype):
    image = torch.full((2, 3, 5, 6), 0.3, dtype=dtype, requires_grad=True)
    loss = TVLoss(2.0, kind, exponent=exponent)(image)
    loss.backward()
    assert loss == 0 and torch.equal(image.grad, torch.zeros_like(image))


def test_partly_constant_image_keeps_its_gradient():
    image = random(1, 1, 6, 6)
    image[..., 3:, :] = 0.5
    image.requires_grad_()
    TVLoss(kind="iso")(image).backward()
    assert image.grad.isfinite().all() and image.grad[..., :3, :].abs().max() > 0


@every_kind
@pytest.mark.parametrize("shape", [(1, 3, 1, 6), (1, 3, 6, 1), (1, 3, 1, 1), (0, 3, 5, 5), (1, 0, 5, 5), (1, 3, 0, 5)])
def test_thin_and_empty_images(kind, shape):
    image = random(*shape).requires_grad_()
    loss = TVLoss(1.0, kind)(image)
    loss.backward()
    assert loss.isfinite() and image.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["l1mean", "iso", "nine"])
def test_means_barely_depend_on_the_size(kind):
    large = random(1, 3, 200, 200)
    ratio = float(TVLoss(1.0, kind)(large) / TVLoss(1.0, kind)(large[..., :100, :100]))
    assert 0.97 < ratio < 1.03


def test_messages():
    with pytest.raises(ValueError, match=r"TVLoss: expected kind one of \"l1mean\", .*, got 'l3'"):
        TVLoss(kind="l3")
    for exponent in (0.0, -1.0):
        with pytest.raises(ValueError, match="TVLoss: expected a positive exponent, got"):
            TVLoss(kind="iso", exponent=exponent)
    with pytest.raises(ValueError, match=r"TVLoss: expected image of shape \[B,C,H,W\], got \[3, 4, 5\]"):
        TVLoss()(torch.ones(3, 4, 5))
    with pytest.raises(TypeError, match=r"TVLoss: expected image of a floating-point dtype, got torch.uint8"):
        TVLoss()(torch.ones(1, 3, 4, 5, dtype=torch.uint8))
