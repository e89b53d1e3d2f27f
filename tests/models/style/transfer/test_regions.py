"""Regions at the resolution of layers, and their masks."""

import pytest
import torch

from cnnfast.features.choice import VGGFeatures
from cnnfast.models.style.transfer.regions import Guides, StyleRegions, check_regions
from cnnfast.weights import VGGWeights

TAPS = ("relu1_1", "pool1", "relu2_2", "relu3_1")


@pytest.fixture
def network(tiny_vgg):
    """All weights positive, so that a unit's gradient shows all that it sees."""
    state = {name: (weight.abs(), bias.abs()) for name, (weight, bias) in tiny_vgg("vgg16", (2,) * 5).items()}
    weights = VGGWeights("vgg16", state, "caffe")
    return VGGFeatures(None, TAPS, "avg", weights=weights, dtype=torch.float64)


def sight(network, layer, size):
    """For every position of a layer, which pixels it depends on: [positions, H, W]."""
    image = torch.rand(1, 3, *size, dtype=torch.float64) + 1
    maps = torch.autograd.functional.jacobian(lambda x: network(x)[layer][0].sum(0).flatten(), image)
    return maps[:, 0].abs().sum(1) > 0


@pytest.fixture
def masks():
    left = torch.zeros(26, 36)
    left[:, :17] = 1
    hole = torch.ones(26, 36)
    hole[10:14, 30] = 0
    return torch.stack([left, hole])


class TestGuides:
    @pytest.mark.parametrize("layer", TAPS)
    def test_inside_and_all_are_what_units_see(self, network, masks, layer):
        seen = sight(network, layer, (26, 36))
        size = tuple(network(torch.rand(1, 3, 26, 36, dtype=torch.float64))[layer].shape[2:])
        for kind, found in (
            ("all", [(seen & (mask > 0)).any((1, 2)) for mask in masks]),
            ("inside", [~(seen & (mask == 0)).any((1, 2)) for mask in masks]),
        ):
            guides = Guides(masks, kind, network)(layer, size)
            assert torch.equal(guides[0].flatten(1) > 0, torch.stack(found))

    def test_simple_is_the_squared_mean(self, network, masks):
        guides = Guides(masks, "simple", network)("pool1", (13, 18))
        assert guides.shape == (1, 2, 13, 18)
        assert guides[0, 0, 0, 7:10].tolist() == [1, 0.25, 0]

    def test_restricted(self, network, masks):
        guides = Guides(masks, "simple", network)
        whole = guides("relu1_1", (26, 36))
        guides.restrict("relu1_1", torch.tensor([False, True]))
        assert torch.equal(guides("relu1_1", (26, 36)), whole[:, 1:])
        assert guides("pool1", (13, 18)).shape[1] == 2

    def test_network_of_ones_own(self, masks):
        Guides(masks, "simple", torch.nn.Identity())
        with pytest.raises(ValueError, match="guides 'simple' for a network of one's own, got 'all'"):
            Guides(masks, "all", torch.nn.Identity())


def regions(content=(6, 8), styles=((5, 7),), count=2, **options):
    return StyleRegions(torch.ones(count, *content), [torch.ones(count, *size) for size in styles], **options)


def check(given, content=(6, 8), styles=((5, 7),)):
    return check_regions(given, content, styles, torch.device("cpu"))


class TestMasks:
    def test_regions_that_the_content_lacks_are_left_out(self):
        given = regions(count=3)
        given.content[1] = 0
        given.styles[0][1] = 0
        given.styles[0][2] = 0.5
        kept = check(given)
        assert kept.content.shape[0] == 2 and kept.styles[0][1].unique().tolist() == [0.5]

    def test_a_region_may_come_from_one_of_several_styles(self):
        given = regions(styles=((5, 7), (4, 4)))
        given.styles[0][1], given.styles[1][0] = 0, 0
        assert check(given, styles=((5, 7), (4, 4))).content.shape[0] == 2

    def test_bool_masks(self):
        given = StyleRegions(torch.ones(1, 6, 8, dtype=torch.bool), [torch.ones(1, 5, 7, dtype=torch.bool)])
        assert check(given).content.dtype == torch.float32

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            (
                regions(content=(6, 9)),
                ValueError,
                r"content masks \[R,6,8\] of the content picture's size, got \[2, 6, 9",
            ),
            (regions(styles=((5, 8),)), ValueError, r"style masks \[R,5,7\] of the style picture's size"),
            (regions(styles=()), ValueError, "style masks for 1 style pictures, got 0"),
            (regions(guides="some"), ValueError, "guides simple, inside, all, got 'some'"),
            (StyleRegions(torch.ones(2, 6, 8), [torch.ones(3, 5, 7)]), ValueError, "style masks of 2 regions .* got 3"),
            (StyleRegions(torch.ones(6, 8), [torch.ones(1, 5, 7)]), ValueError, "content masks"),
            (StyleRegions(torch.ones(1, 6, 8), [torch.zeros(1, 5, 7)]), ValueError, "region 1 is empty"),
            (StyleRegions(torch.zeros(1, 6, 8), [torch.ones(1, 5, 7)]), ValueError, "content mask that is not empty"),
            (StyleRegions(2 * torch.ones(1, 6, 8), [torch.ones(1, 5, 7)]), ValueError, r"values in \[0,1\]"),
            (StyleRegions(float("nan") * torch.ones(1, 6, 8), [torch.ones(1, 5, 7)]), ValueError, r"in \[0,1\]"),
            (StyleRegions(torch.ones(1, 6, 8).long(), [torch.ones(1, 5, 7)]), TypeError, "floating-point tensor"),
            (StyleRegions("mask.png", [torch.ones(1, 5, 7)]), TypeError, "got str"),
        ],
    )
    def test_bad_masks(self, given, error, message):
        with pytest.raises(error, match=message):
            check(given)
