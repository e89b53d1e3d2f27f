"""Input conventions of the feature networks."""

from __future__ import annotations

import pytest
import torch

from cnnfast.features.preprocessing import InputConvention
from cnnfast.weights import PREPROCESSINGS


@pytest.mark.parametrize("name", [name for name in PREPROCESSINGS if name != "identity"])
def test_mean_order_and_slope(name):
    """Mean grey goes to zero; red is the first channel or the last; the slope is unit / std."""
    convention = PREPROCESSINGS[name]
    prepare = InputConvention(convention, dtype=torch.float64)
    mean = torch.tensor(convention.mean, dtype=torch.float64) / convention.unit
    rgb = (mean.flip(0) if convention.order == "BGR" else mean).view(1, 3, 1, 1)
    assert prepare(rgb).abs().max() < 1e-12 * convention.unit
    red = rgb.clone()
    red[:, 0] += 0.1
    channel = 2 if convention.order == "BGR" else 0
    expected = torch.zeros(1, 3, 1, 1, dtype=torch.float64)
    expected[:, channel] = 0.1 * convention.unit / convention.std[channel]
    torch.testing.assert_close(prepare(red), expected)


def test_caffe_convention_of_a_public_program(parity):
    data = parity("colour_a")
    image = torch.from_numpy(data["u8_content"]).movedim(-1, -3).reshape(1, 3, *data["u8_content"].shape[-3:-1]) / 255
    prepare = InputConvention(PREPROCESSINGS["caffe"])
    expected = torch.from_numpy(data["caffe_preprocess"]).reshape(image.shape).float()
    torch.testing.assert_close(prepare(image), expected, rtol=0, atol=5e-5)
