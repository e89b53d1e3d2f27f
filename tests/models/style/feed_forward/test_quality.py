"""Training with real VGG weights on real pictures: slow, and skipped where either is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("PIL")
pytest.importorskip("skimage")

from cnnfast.features.choice import build_extractor
from cnnfast.images import load_image
from cnnfast.images.samples import samples_folder
from cnnfast.models.style.feed_forward.apply import apply_style
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.losses import FAST_CONTENT_LAYERS, FAST_STYLE_LAYERS, PerceptualLoss
from cnnfast.models.style.feed_forward.training import train_fast_style
from cnnfast.weights import auto_weights

NAMES = ("astronaut.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "coins.png", "camera.png")


@pytest.fixture
def folder() -> Path:
    """Pictures that scikit-image has with it."""
    return samples_folder()


@pytest.mark.slow
def test_three_hundred_steps(folder):
    """The weighted loss falls by more than half, also on a picture that was not in the training."""
    if auto_weights() is None:
        pytest.skip("no VGG weights on this machine")
    torch.manual_seed(0)
    network, style = TransformerNet((16, 32, 64)), load_image(folder / "ihc.png", size=256)
    history = []
    taps = tuple(dict.fromkeys((*FAST_STYLE_LAYERS, *FAST_CONTENT_LAYERS)))
    losses = PerceptualLoss(build_extractor(taps=taps, pool="max"), style, FAST_STYLE_LAYERS, FAST_CONTENT_LAYERS)
    unseen = load_image(folder / "chelsea.png", size=192)[None]
    before = losses(apply_style(network.eval(), unseen), unseen)
    train_fast_style(
        style,
        [folder / name for name in NAMES],
        network=network.train(),
        image_size=96,
        batch_size=2,
        max_steps=300,
        lr=2e-3,
        workers=0,
        device="cpu",
        callback=history.append,
    )
    weight = history[-1].style_weight
    assert all(progress.style_weight == weight for progress in history[100:])
    totals = [progress.terms["content"] + weight * progress.terms["style"] for progress in history]
    first, last = sum(totals[:10]) / 10, sum(totals[-10:]) / 10
    print(f"weighted loss of training crops: {first:.4g} to {last:.4g}")
    assert last < 0.5 * first
    after = losses(apply_style(network, unseen), unseen)
    totals = [float(terms[0] + weight * terms[1]) for terms in (before, after)]
    print(f"weighted loss of an unseen picture: {totals[0]:.4g} to {totals[1]:.4g}")
    assert totals[1] < 0.5 * totals[0]
