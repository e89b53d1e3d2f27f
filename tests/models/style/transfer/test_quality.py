"""Style transfer with real VGG weights on real pictures: slow, and skipped where either is missing."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("skimage")

from cnnfast._extension import fast_dtype
from cnnfast.images import resize, sample_picture
from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.transfer import style_network, stylize
from cnnfast.ops import gram_matrix
from cnnfast.weights import auto_weights


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """An astronaut, and tissue under the microscope, of 128 px."""
    if auto_weights() is None:
        pytest.skip("no VGG weights on this machine")
    return resize(sample_picture("astronaut"), (128, 128)), resize(sample_picture("tissue"), (128, 128))


@pytest.mark.slow
@pytest.mark.parametrize("preset", STYLE_PRESETS)
def test_statistics_become_the_styles_and_the_content_stays(pictures, preset):
    content, style = pictures
    losses = []
    picture = stylize(
        content,
        style,
        preset=preset,
        size=128,
        levels=1,
        iterations=150,
        dtype=fast_dtype(torch.device("cpu")),
        callback=lambda progress: losses.append(progress.loss),
    )
    # The loss of noise is far above that of a picture without features.
    assert losses[-1] < 0.3 * losses[0]
    network = style_network()
    of_picture, of_content, of_style = (network(p[None]) for p in (picture, content, style))
    for layer in ("relu1_1", "relu2_1", "relu3_1"):
        wanted = gram_matrix(of_style[layer])
        away, before = ((gram_matrix(f[layer]) - wanted).norm() for f in (of_picture, of_content))
        assert away < 0.5 * before
    # The structure is the content's: deep features correlate with those of the content, not of the style.
    of_resized = network(resize(style, (128, 128))[None])["relu4_2"].flatten()
    kept, foreign = (
        torch.corrcoef(torch.stack([of_picture["relu4_2"].flatten(), other]))[0, 1]
        for other in (of_content["relu4_2"].flatten(), of_resized)
    )
    assert kept > 0.3 and kept > 2 * foreign
