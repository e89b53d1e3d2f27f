"""The whole objective of style transfer: against arrays of a public program, and in tiles."""

import dataclasses
import functools

import pytest
import torch

from cnnfast.features.choice import CONTENT_LAYERS, STYLE_LAYERS, VGGFeatures
from cnnfast.models.style.transfer.objective import StyleObjective, StyleWeights
from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.regions import StyleRegions
from cnnfast.weights import VGGWeights

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5}


def weights_of(preset, **changes):
    usual = StyleWeights(
        preset.content_weight,
        preset.style_weight,
        preset.tv_weight,
        dict(preset.content_layers),
        dict(preset.style_layers),
    )
    return dataclasses.replace(usual, **changes)


def close(actual, expected, tolerance):
    atol = tolerance * float(torch.as_tensor(expected).abs().max())
    torch.testing.assert_close(actual, torch.as_tensor(expected).to(actual), rtol=tolerance, atol=atol)


@pytest.mark.parametrize("name", ["style_step_max_a", "style_step_avg_a"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("tile", [None, 16])
def test_neural_style_preset_is_the_public_program(parity, name, dtype, tile):
    data, tolerance = parity(name), TOLERANCES[dtype]
    state = {key.removeprefix("sd/"): torch.from_numpy(data[key]) for key in data if key.startswith("sd/")}
    network = VGGFeatures(
        "vgg19",
        (*STYLE_LAYERS, *CONTENT_LAYERS),
        {"average": "avg"}.get(str(data["pool"]), str(data["pool"])),
        weights=VGGWeights.from_state_dict(state, "caffe"),
        dtype=dtype,
    )
    pictures = (torch.from_numpy(data[key]).to(dtype) for key in ("content", "style", "img"))
    content, style, image = (network.preprocessing.inverse(picture)[0] for picture in pictures)
    preset = STYLE_PRESETS["neural-style"]
    objective = StyleObjective(network, preset, weights_of(preset))
    objective.use_tiles(tile, halo=network.halo, stride=network.stride)
    objective.capture(content, [style], [1.0])
    loss, gradient = objective(image)

    close(loss, data["total"], tolerance)
    close(objective.values[f"content {CONTENT_LAYERS[0]}"], data["content_loss"], tolerance)
    close(objective.values["total variation"], data["tv_loss"], tolerance)
    for layer in STYLE_LAYERS:
        close(objective.values[f"style {layer}"], data[f"style_loss_{layer}"], tolerance)
    # The picture is RGB in [0,1], the program's BGR in 0..255.
    close(gradient / 255, torch.from_numpy(data["grad"])[0].flip(0), tolerance)


@pytest.fixture
def network(tiny_vgg):
    return VGGFeatures(
        None,
        ("relu1_1", "relu2_1", "relu3_1", "relu2_2"),
        padding="reflect",
        weights=VGGWeights("vgg19", tiny_vgg(), "caffe"),
        dtype=torch.float64,
    )


LAYERS = {"content_layers": {"relu2_2": 1.0}, "style_layers": {"relu1_1": 1.0, "relu2_1": 0.5, "relu3_1": 2.0}}


def pictures(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator, dtype=torch.float64) for size in sizes]


def halves(size, count=2):
    """Masks of vertical stripes with soft edges."""
    columns = torch.linspace(0, count, size[1], dtype=torch.float64).expand(*size)
    return torch.stack([(2 - 2 * (columns - index - 0.5).abs()).clamp(0, 1) for index in range(count)])


@pytest.mark.parametrize("guides", [None, "simple", "inside", "all"])
@pytest.mark.parametrize(
    "preset",
    [
        *STYLE_PRESETS.values(),
        dataclasses.replace(STYLE_PRESETS["cnnfast"], style_scale="l1grad", content_scale="l1grad"),
        dataclasses.replace(STYLE_PRESETS["cnnfast"], style_scale="relative", normalize="none"),
    ],
    ids=[*STYLE_PRESETS, "l1grad", "relative"],
)
def test_tiles_give_the_untiled_loss_and_gradient(network, preset, guides):
    image, content, *styles = pictures((60, 92), (60, 92), (50, 70), (64, 40))
    regions = None
    if guides is not None:
        regions = StyleRegions(halves((60, 92)), [halves((50, 70)), halves((64, 40))], guides)
    results = []
    for tile in (None, 24):
        objective = StyleObjective(network, preset, weights_of(preset, tv=0.1, **LAYERS))
        objective.use_tiles(tile, halo=network.halo, stride=network.stride)
        objective.capture(content, styles, [0.25, 0.75], regions)
        results.append((*objective(image), objective.values))
    (loss, gradient, values), (tiled, slope, parts) = results
    # Newton-Schulz steps amplify rounding.
    tolerance = 1e-7 if preset.style_loss == "wasserstein" else 1e-10
    close(tiled, loss, tolerance)
    close(slope, gradient, tolerance)
    assert list(parts) == list(values)
    for name, value in values.items():
        close(parts[name], value, tolerance)


def test_gradient_is_that_of_the_loss(network):
    image, content, style = pictures((20, 24), (20, 24), (30, 22))
    preset = STYLE_PRESETS["cnnfast"]
    objective = StyleObjective(network, preset, weights_of(preset, tv=1.0, **LAYERS))
    regions = StyleRegions(halves((20, 24)), [halves((30, 22))])
    objective.capture(content, [style], [1.0], regions)
    _, gradient = objective(image)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-7 * direction
    slope = (objective(image + step)[0] - objective(image - step)[0]) / 2e-7
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


def test_content_and_style_at_their_own_pictures_are_zero(network):
    (content,) = pictures((40, 44))
    for preset in STYLE_PRESETS.values():
        objective = StyleObjective(network, preset, weights_of(preset, tv=0.0, **LAYERS))
        objective.capture(content, [content], [1.0])
        loss, _ = objective(content)
        # Twelve Newton-Schulz steps leave an error in the root of a nearly singular matrix.
        assert abs(objective.relative(float(loss))) < (1e-3 if preset.style_loss == "wasserstein" else 1e-12)


def test_grey_picture_gets_the_summed_gradient(network):
    image, content, style = pictures((20, 24), (20, 24), (20, 24))
    grey = image[:1]
    preset = STYLE_PRESETS["cnnfast"]
    objective = StyleObjective(network, preset, weights_of(preset, **LAYERS))
    objective.capture(content, [style], [1.0])
    loss, gradient = objective(grey)
    whole, parts = objective(grey.expand(3, -1, -1))
    assert loss == whole
    torch.testing.assert_close(gradient, parts.sum(0, keepdim=True))


class TestBlends:
    def targets(self, network, styles, blends, preset):
        objective = StyleObjective(network, preset, weights_of(preset, **LAYERS))
        objective.capture(styles[0], styles, blends)
        return objective

    def test_one_style_twice_is_that_style(self, network):
        image, style = pictures((40, 44), (40, 44))
        for preset in STYLE_PRESETS.values():
            once = self.targets(network, [style], [1.0], preset)(image)[0]
            twice = self.targets(network, [style, style], [0.3, 0.7], preset)(image)[0]
            close(twice, once, 1e-9)

    def test_gram_target_is_the_mixture(self, network):
        a, b = pictures((40, 44), (30, 50))
        preset = STYLE_PRESETS["cnnfast"]
        mixed, only_a, only_b = (
            self.targets(network, styles, blends, preset)._terms["style relu2_1"].loss.target
            for styles, blends in (([a, b], [0.25, 0.75]), ([a], [1.0]), ([b], [1.0]))
        )
        close(mixed, 0.25 * only_a + 0.75 * only_b, 1e-12)

    def test_moments_target_is_that_of_the_pixels_of_both(self, network):
        """Two styles of one size, equally blended, have the moments of all their positions together."""
        a, b = pictures((40, 44), (40, 44))
        term = self.targets(network, [a, b], [0.5, 0.5], STYLE_PRESETS["crowson"])._terms["style relu1_1"]
        features = torch.cat([network(p[None])["relu1_1"].flatten(2) for p in (a, b)], 2)[0]
        close(term.loss.target_mean[0], features.mean(1), 1e-9)
        expected = torch.cov(features, correction=0) + 1e-4 * torch.eye(len(features), dtype=torch.float64)
        close(term.loss.target_covariance[0], expected, 1e-9)


class TestUnits:
    """A preset keeps its balance in a network with another input convention."""

    @pytest.mark.parametrize("preset", STYLE_PRESETS.values(), ids=STYLE_PRESETS)
    def test_torchvision_and_caffe(self, tiny_vgg, preset):
        # The same function of RGB in [0,1] in two conventions whose units differ by a factor.
        state = {name: (weight, torch.zeros_like(bias)) for name, (weight, bias) in tiny_vgg().items()}
        image, content, style = pictures((32, 40), (32, 40), (32, 40))
        taps = ("relu1_1", "relu2_1", "relu3_1", "relu2_2")
        losses = []
        for unit in (255.0, 1.0):
            network = VGGFeatures(None, taps, weights=VGGWeights("vgg19", state, "caffe"), dtype=torch.float64)
            convention = network.preprocessing.convention
            network.preprocessing.convention = dataclasses.replace(convention, unit=unit)
            network.preprocessing.mean.mul_(unit / 255)
            objective = StyleObjective(network, preset, weights_of(preset, **LAYERS))
            objective.capture(content, [style], [1.0])
            losses.append(float(objective(image)[0]))
        # The jitter of the Wasserstein loss alone is not in the units of the features.
        tolerance = 1e-2 if preset.style_loss == "wasserstein" else 1e-9
        assert losses[1] == pytest.approx(losses[0], rel=tolerance)


@pytest.mark.parametrize("tile", [None, 64])
def test_gradients_of_shallow_terms_wait_for_those_of_deep_ones(tiny_vgg, tile, monkeypatch):
    """Otherwise the gradients of all layers are in memory during the backward pass."""
    network = VGGFeatures("vgg19", STYLE_LAYERS, weights=VGGWeights("vgg19", tiny_vgg("vgg19"), "caffe"))
    preset = STYLE_PRESETS["cnnfast"]
    objective = StyleObjective(network, preset, weights_of(preset, content_layers={}))
    objective.use_tiles(tile, halo=network.halo, stride=network.stride)
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    objective.capture(pictures[0], [pictures[1]], [1.0])
    order = []

    def watched(real, layer, given, *rest):
        maps = given if tile is None else given.features
        own = maps.view_as(maps)
        maps.register_hook(lambda gradient: order.append(layer))
        own.register_hook(lambda gradient: order.append(f"term of {layer}"))
        return real(own if tile is None else given._replace(features=own), *rest)

    for term in objective._terms.values():
        method = "whole" if tile is None else "sums"
        monkeypatch.setattr(term, method, functools.partial(watched, getattr(term, method), term.layer))
    objective(pictures[2])
    assert order == [name for layer in reversed(STYLE_LAYERS) for name in (f"term of {layer}", layer)]
