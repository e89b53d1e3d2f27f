"""Applying a network: exact sizes, strips that equal the whole, memory, bad input."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn

from cnnfast.models.style.feed_forward import apply as fast_style
from cnnfast.models.style.feed_forward.apply import apply_style, plan_strip
from cnnfast.models.style.feed_forward.blocks import ConvLayer, Extend, InstanceNorm, TransposedConv, border_index
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.models.style.feed_forward.strips import StripEvaluation, kept_bytes, peak_bytes

JOHNSON = ("c9s1-4,d6,d8,R8x2,u6,u4,c9s1-3", "c3s1-20,d6,d8,R8,U2,c3s1-6,U2,c9s1-3")


def randomised(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.3, generator=generator)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, generator=generator)
            nn.init.uniform_(part.running_var, 0.5, 2, generator=generator)
    return network.eval()


@pytest.fixture
def network():
    return randomised(TransformerNet((18, 6, 8)))


@pytest.mark.parametrize(
    "layer",
    [
        Extend(3, "reflect"),
        Extend(2, "zeros", 2),
        Extend(1, "replicate", 3),
        ConvLayer(2, 3, 9),
        ConvLayer(2, 3, 3, 2, mode="zeros"),
        ConvLayer(2, 3, 3, upsample=2),
        ConvLayer(2, 3, 3, mode="none"),
        TransposedConv(2, 3),
    ],
    ids=str,
)
def test_rows_of_a_layer(layer):
    """Any rows of the output, computed from the input rows that `in_rows` names."""
    layer, x = layer.double(), torch.randn(2, 2, 11, 12, dtype=torch.float64)
    whole = layer(x)
    height = layer.output_side(11)
    assert whole.shape[2:] == (height, layer.output_side(12))
    for first in range(height):
        for last in range(first + 1, height + 1):
            start, end = layer.in_rows(first, last, 11)
            assert 0 <= start < end <= 11
            rows = layer.on_rows(x[:, :, start:end], start, first, last, 11)
            torch.testing.assert_close(rows, whole[:, :, first:last])


def test_instance_norm_is_that_of_torch():
    x = 5 + 3 * torch.randn(2, 6, 7, 9, dtype=torch.float64)
    ours, theirs = InstanceNorm(6, dtype=torch.float64), nn.InstanceNorm2d(6, affine=True, dtype=torch.float64)
    for norm in (ours, theirs):
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.uniform_(norm.bias, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours(x), theirs(x))


class TestStrips:
    @pytest.mark.parametrize("strip", [1, 7, 16, 1000])
    @pytest.mark.parametrize("size", [(57, 30), (5, 40), (64, 9)])
    def test_transformer(self, size, strip):
        network = randomised(TransformerNet((18, 6, 8), dtype=torch.float64))
        x = 255 * torch.rand(2, 3, *size, dtype=torch.float64)
        self.check(network, x, strip)

    @pytest.mark.parametrize("arch", JOHNSON)
    @pytest.mark.parametrize("norm", ["instance", "batch"])
    @pytest.mark.parametrize("padding", ["reflect-start", "none", "zeros", "reflect", "replicate"])
    def test_johnson(self, norm, padding, arch):
        network = randomised(JohnsonNet(norm, padding, arch=arch, dtype=torch.float64))
        self.check(network, 50 * torch.randn(1, 3, 80, 44 + 2 * network.margin, dtype=torch.float64), 12)

    def check(self, network, x, strip):
        with torch.inference_mode():
            parts = list(StripEvaluation(network.stages(), strip)(x))
            assert [first for first, _ in parts] == [0, *torch.tensor([p.shape[2] for _, p in parts]).cumsum(0)[:-1]]
            whole = network(x)
            torch.testing.assert_close(network.finish(torch.cat([p for _, p in parts], 2)), whole, rtol=1e-8, atol=1e-8)

    def test_shares_rise_to_one(self, network):
        shares: list[float] = []
        apply_style(network, torch.rand(3, 64, 40), tile=8, progress=shares.append)
        assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 15

    def test_a_constant_channel(self):
        network = TransformerNet((18, 6, 8)).eval()
        picture = torch.full((3, 40, 24), 0.5)
        whole, strips = (apply_style(network, picture, tile=tile) for tile in (None, 8))
        assert torch.isfinite(strips).all()
        torch.testing.assert_close(strips, whole, rtol=0, atol=1e-4)

    def test_bfloat16(self, network):
        picture = torch.rand(3, 96, 64, generator=torch.Generator().manual_seed(0))
        exact = apply_style(network, picture)
        for tile in (None, 16):
            styled = apply_style(network, picture, tile=tile, dtype=torch.bfloat16)
            assert styled.dtype == torch.float32
            assert (styled - exact).abs().mean() < 0.02


class TestSizes:
    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 300), (3, 3), (7, 5), (64, 64), (101, 67)])
    @pytest.mark.parametrize("tile", [None, 16])
    def test_size_is_kept(self, network, size, tile):
        picture = torch.rand(3, *size)
        styled = apply_style(network, picture, tile=tile)
        assert styled.shape == picture.shape and styled.dtype == torch.float32
        assert styled.min() >= 0 and styled.max() <= 1

    @pytest.mark.parametrize("padding", ["reflect-start", "reflect"])
    def test_johnson(self, padding):
        network = randomised(JohnsonNet("instance", padding, arch=JOHNSON[0]))
        for size in ((1, 1), (30, 41)):
            assert apply_style(network, torch.rand(2, 3, *size)).shape == (2, 3, *size)

    def test_multiples_are_the_networks_own_output(self, network):
        picture = torch.rand(1, 3, 40, 28)
        expected = network.postprocess(network(network.preprocess(picture))).clamp(0, 1)
        torch.testing.assert_close(apply_style(network, picture), expected)

    def test_not_exact(self, network):
        assert apply_style(network, torch.rand(3, 21, 26), exact_size=False).shape == (3, 24, 28)

    def test_batch_equals_single(self, network):
        pictures = torch.rand(3, 3, 30, 22)
        single = torch.stack([apply_style(network, picture) for picture in pictures])
        torch.testing.assert_close(apply_style(network, pictures), single, rtol=0, atol=1e-5)
        torch.testing.assert_close(apply_style(network, pictures, tile=8), single, rtol=0, atol=1e-5)

    def test_reflection_repeats_in_small_pictures(self):
        assert border_index(-3, 6, 2, "reflect").tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]


class TestMemory:
    def test_automatic_strips(self, network, monkeypatch, caplog):
        picture = torch.rand(3, 400, 300, generator=torch.Generator().manual_seed(0))
        whole = apply_style(network, picture)
        x = picture[None]
        needed = peak_bytes(network.stages(), x)
        monkeypatch.setattr(fast_style, "_STRIP_PIXELS", 1 << 13)
        monkeypatch.setattr(fast_style, "free_memory", lambda device: int(needed / fast_style.USABLE) - 10**5)
        with caplog.at_level(logging.WARNING, "cnnfast"):
            styled = apply_style(network, picture)
        assert "400x300 px would need" in caplog.text and "strips of 24 rows" in caplog.text
        torch.testing.assert_close(styled, whole, rtol=0, atol=1e-4)

    def test_enough_memory(self, network):
        assert plan_strip(network, torch.rand(1, 3, 64, 64), "auto") is None
        assert plan_strip(network, torch.rand(1, 3, 64, 64), 1000) == 64

    def test_too_large(self, network, monkeypatch):
        monkeypatch.setattr(fast_style, "free_memory", lambda device: 10**5)
        with pytest.raises(ValueError, match="fit into the memory, got 1 of 400x300 px"):
            apply_style(network, torch.rand(3, 400, 300))

    def test_estimates_of_the_published_network(self):
        """620 bytes a pixel were measured at once, 220 in strips, picture and result included."""
        x = torch.empty(1, 3, 1024, 1024, device="meta")
        stages = TransformerNet().stages()
        assert 550 < peak_bytes(stages, x) / 1024**2 < 650
        assert 150 < kept_bytes(stages, x) / 1024**2 < 220


class TestBadInput:
    @pytest.mark.parametrize(
        "image, words",
        [
            (torch.rand(1, 8, 8), "expected image"),
            (torch.rand(3, 0, 8), "with a pixel"),
            (torch.rand(3, 8, 8) * 2, "values of 0..1"),
            (torch.full((3, 8, 8), float("nan")), "values of 0..1, got nan"),
        ],
    )
    def test_images(self, network, image, words):
        with pytest.raises(ValueError, match=words):
            apply_style(network, image)

    @pytest.mark.parametrize("image", [[1, 2], torch.zeros(3, 8, 8, dtype=torch.uint8)])
    def test_kinds_of_image(self, network, image):
        with pytest.raises(TypeError, match="expected image a floating-point tensor"):
            apply_style(network, image)

    @pytest.mark.parametrize("tile", [0, -1, "all", 2.5, True])
    def test_tile(self, network, tile):
        with pytest.raises(ValueError, match="expected tile"):
            apply_style(network, torch.rand(3, 8, 8), tile=tile)

    def test_networks(self):
        with pytest.raises(TypeError, match="expected network a TransformerNet or JohnsonNet, got Linear"):
            apply_style(nn.Linear(1, 1), torch.rand(3, 8, 8))
        with pytest.raises(ValueError, match="in evaluation mode, got training mode"):
            apply_style(JohnsonNet(arch=JOHNSON[0]), torch.rand(3, 8, 8))

    def test_dtype(self, network):
        with pytest.raises(TypeError, match="floating dtype"):
            apply_style(network, torch.rand(3, 8, 8), dtype=torch.int8)

    def test_network_is_left_as_it_was(self, network):
        before = copy.deepcopy(network.state_dict())
        apply_style(network, torch.rand(3, 20, 20), dtype=torch.bfloat16)
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[name]) and tensor.dtype == before[name].dtype


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1500, 2000), (3000, 4000)])
def test_seams_of_large_pictures_are_invisible(size):
    """Strips against the whole at full width, nowhere more than one level apart."""
    torch.manual_seed(0)
    network = TransformerNet((8, 16, 32)).eval()
    rows, columns = torch.meshgrid(torch.linspace(0, 9, size[0]), torch.linspace(0, 14, size[1]), indexing="ij")
    picture = torch.stack([(rows + columns).sin(), (rows * 2).cos(), (rows - 3 * columns).sin()]) * 0.4 + 0.5
    picture += 0.05 * torch.rand(3, *size)
    difference = (apply_style(network, picture, tile=64) - apply_style(network, picture, tile=None)).abs()
    assert float(difference.max()) < 1 / 255


def test_network_can_be_trained_afterwards():
    network = TransformerNet((4, 8, 8))
    result = apply_style(network.eval(), torch.rand(1, 3, 16, 16))
    assert not result.is_inference() and not result.requires_grad
    network.train().requires_grad_(True)
    network(torch.rand(1, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
