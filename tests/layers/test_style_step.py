"""One whole evaluation of a style-transfer objective against arrays of a public program."""

from __future__ import annotations

import pytest
import torch

from cnnfast.features.choice import CONTENT_LAYERS, STYLE_LAYERS, VGGFeatures
from cnnfast.layers import ContentLoss, StyleLoss, TVLoss
from cnnfast.weights import VGGWeights

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5}


def network(data, dtype):
    state = {key.removeprefix("sd/"): torch.from_numpy(data[key]) for key in data if key.startswith("sd/")}
    return VGGFeatures(
        "vgg19",
        (*STYLE_LAYERS, *CONTENT_LAYERS),
        "avg" if str(data["pool"]) == "average" else str(data["pool"]),
        weights=VGGWeights.from_state_dict(state, "caffe"),
        dtype=dtype,
    )


def unprepared(image, convention):
    """The RGB picture in [0,1] whose preprocessed form is the given one."""
    x = (image * convention.std + convention.mean) / convention.convention.unit
    return x.flip(1) if convention.convention.order == "BGR" else x


@pytest.mark.parametrize("name", ["style_step_max_a", "style_step_avg_a"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_style_step(parity, name, dtype):
    data = parity(name)
    tolerance = TOLERANCES[dtype]

    def check(actual, key):
        expected = torch.from_numpy(data[key])
        atol = tolerance * float(expected.abs().max())
        torch.testing.assert_close(actual.detach().double(), expected, rtol=tolerance, atol=atol)

    features = network(data, dtype)
    content, style, image = (torch.from_numpy(data[key]).to(dtype) for key in ("content", "style", "img"))
    image.requires_grad_()
    prepare = features.preprocessing
    of_content, of_style = features(unprepared(content, prepare)), features(unprepared(style, prepare))
    of_image = features(unprepared(image, prepare))

    content_loss = ContentLoss(5.0)
    content_loss.capture(of_content[CONTENT_LAYERS[0]])
    terms = {"content_loss": content_loss(of_image[CONTENT_LAYERS[0]]), "tv_loss": TVLoss(1e-3, "l1")(image)}
    for layer in STYLE_LAYERS:
        loss = StyleLoss(weight=100.0, normalize="chw", scale="mean")
        loss.capture(of_style[layer])
        check(loss.target[0], f"target_{layer}")
        terms[f"style_loss_{layer}"] = loss(of_image[layer])
    for key, term in terms.items():
        check(term, key)
    total = sum(terms.values())
    check(total, "total")
    total.backward()
    check(image.grad, "grad")
