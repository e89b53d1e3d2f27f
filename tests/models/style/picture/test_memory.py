"""Memory estimates and the choice of tiles."""

import copy
import gc
import weakref

import pytest
import torch

from cnnfast.features.choice import RandomFilterFeatures, VGGFeatures
from cnnfast.models.style.picture import memory
from cnnfast.models.style.picture.memory import Cost, choose_tile, estimate_memory, free_memory, measure_cost, plan_tile
from cnnfast.weights import VGGWeights


@pytest.fixture
def vgg(tiny_vgg):
    state = {name: tuple(t.float() for t in pair) for name, pair in tiny_vgg("vgg19").items()}
    weights = VGGWeights("vgg19", state, "caffe")
    return VGGFeatures(None, ("relu1_1", "pool1", "relu3_1"), "avg", "zeros", weights=weights, device="cpu")


def test_cost_counts_every_kept_activation_once(vgg):
    widths = {name: layer.weight.shape[0] for name, layer in vgg.layers.items() if name.startswith("conv")}
    area = {"conv1": 1, "conv2": 1 / 4, "conv3": 1 / 16}
    convolutions = sum(4 * width * area[name[:5]] for name, width in widths.items())
    cost = measure_cost(vgg)
    largest = 2 * 4 * max(widths["conv1_1"], widths["conv1_2"])
    # In-place ReLUs share the storage of their convolutions; pooled maps and the picture come on top.
    assert convolutions + largest < cost.per_pixel < 1.6 * convolutions + largest + 3 * 4 * 4
    assert cost.fixed >= sum(4 * p.numel() for p in vgg.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cost_per_pixel_does_not_depend_on_the_probe(vgg, dtype):
    vgg.compute_dtype = dtype
    small, large = measure_cost(vgg, side=64), measure_cost(vgg, side=128)
    assert small.fixed == large.fixed
    assert small.per_pixel == pytest.approx(large.per_pixel, rel=0.05)


def test_estimate_grows_with_pixels_and_shrinks_with_adam(vgg):
    assert estimate_memory(vgg, 512, 512) > 3.9 * estimate_memory(vgg, 256, 256) - 10**6
    assert estimate_memory(vgg, 512, 512, optimizer="adam") < estimate_memory(vgg, 512, 512)
    assert estimate_memory(vgg, 512, 512, channels=1) < estimate_memory(vgg, 512, 512)


def test_cost_is_measured_once_for_a_network_and_its_options(vgg, monkeypatch):
    measured = []
    monkeypatch.setattr(memory, "measure_cost", lambda *args, **options: measured.append(args) or Cost(1, 2.0))
    plan_tile("f", vgg, (200, 200), "auto", "lbfgs", channels=3)
    for size in (128, 256):
        estimate_memory(vgg, size, size)
    assert len(measured) == 1
    vgg.set_padding("reflect")
    estimate_memory(vgg, 128, 128)
    vgg.compute_dtype = torch.bfloat16
    estimate_memory(vgg, 128, 128)
    estimate_memory(copy.deepcopy(vgg), 128, 128)
    assert len(measured) == 4


def test_taps_may_be_a_list():
    class Exponential(torch.nn.Module):
        def forward(self, image):
            return {"a": image.exp()}

    network = Exponential()
    network.taps = ["a"]
    assert estimate_memory(network, 64, 64) >= 36 * 64**2


def test_a_measured_network_can_be_freed(vgg):
    network = copy.deepcopy(vgg)
    estimate_memory(network, 64, 64)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_chosen_tile_is_the_largest_that_fits():
    cost = Cost(fixed=10**6, per_pixel=500.0)
    for budget in (2 * 10**7, 5 * 10**7, 10**8):
        tile = choose_tile("f", cost, 4000, 3000, budget=budget, halo=64, stride=16)
        assert tile % 16 == 0
        assert cost.of((tile + 128) ** 2) <= budget < cost.of((tile + 16 + 128) ** 2)


def test_whole_picture_when_it_fits_and_error_when_nothing_does():
    cost = Cost(fixed=0, per_pixel=100.0)
    assert choose_tile("f", cost, 100, 100, budget=10**6, halo=64, stride=16) is None
    with pytest.raises(ValueError, match="fits into the memory, got 100x100 px"):
        choose_tile("f", cost, 100, 100, budget=10**5, halo=64, stride=16)


def test_plan(vgg, monkeypatch):
    assert plan_tile("f", vgg, (64, 64), None, "lbfgs", channels=3) is None
    assert plan_tile("f", vgg, (64, 64), 48, "lbfgs", channels=3) == 48
    assert plan_tile("f", vgg, (64, 64), "auto", "lbfgs", channels=3) is None
    assert plan_tile("f", torch.nn.Identity(), (64, 64), "auto", "lbfgs", channels=3) is None
    with pytest.raises(ValueError, match="halo and stride"):
        plan_tile("f", torch.nn.Identity(), (64, 64), 32, "lbfgs", channels=3)


def test_random_filters_count_their_spectra():
    network = RandomFilterFeatures(8, (3, 5))
    # 16 feature maps, their ReLU in place, and the spectrum of 16 x 3 filters: at least 4 bytes x (16 + 48).
    assert measure_cost(network).per_pixel > 4 * (16 + 48)


def test_free_memory_of_the_cpu():
    free = free_memory(torch.device("cpu"))
    assert free is None or 10**7 < free < 10**15
    assert free_memory(torch.device("meta")) is None
