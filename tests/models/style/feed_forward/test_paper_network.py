"""JohnsonNet: words of the description, sizes, paddings, norms, and the arithmetic of a plain twin."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnnfast.models.style.feed_forward.paper_network import ARCH, UPSAMPLING_ARCH, JohnsonNet, parse_arch

SMALL = "c9s1-4,d6,d8,R8x2,u6,u4,c9s1-3"


def test_the_papers_network():
    network = JohnsonNet().eval()
    assert (network.margin, network.multiple) == (40, 4)
    assert network(torch.randn(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    assert [step.kind for step in parse_arch(ARCH)] == list("cddRRRRRuuc")
    assert JohnsonNet("instance", arch=UPSAMPLING_ARCH)(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("padding", ["reflect-start", "zeros", "reflect", "replicate"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("arch", [SMALL, "c3s1-4,d6,R6,U2,c3s1-4,c9s1-3", "c9s1-3"])
def test_size_is_kept(norm, padding, arch):
    network = JohnsonNet(norm, padding, arch=arch).eval()
    assert network(torch.randn(2, 3, 48, 60)).shape == (2, 3, 48, 60)


def test_without_padding_the_margin_is_lost():
    network = JohnsonNet("instance", "none", arch=SMALL)
    assert network.margin == 16
    assert network(torch.randn(1, 3, 64, 80)).shape == (1, 3, 32, 48)


def test_values_of_a_plain_twin():
    """Every step written out with functions of PyTorch, on weights of the network."""
    network = JohnsonNet("instance", arch="c9s1-4,d6,R6,u4,c9s1-3", tanh_constant=90.0).double()
    state = network.state_dict()
    x = torch.randn(1, 3, 24, 28, dtype=torch.float64)

    def conv(x, index, stride=1, padding=0):
        return F.conv2d(x, state[f"maps.{index}.conv2d.weight"], state[f"maps.{index}.conv2d.bias"], stride, padding)

    def norm(x, index):
        return F.instance_norm(x, weight=state[f"norms.{index}.weight"], bias=state[f"norms.{index}.bias"])

    y = F.pad(x, [4] * 4, mode="reflect")
    y = norm(conv(y, 0, padding=4), 0).relu()
    y = norm(conv(y, 1, stride=2, padding=1), 1).relu()
    y = y[:, :, 2:-2, 2:-2] + norm(conv(norm(conv(y, 2), 2).relu(), 3), 3)
    up = state["maps.4.conv2d.weight"], state["maps.4.conv2d.bias"]
    y = norm(F.conv_transpose2d(y, *up, stride=2, padding=1, output_padding=1), 4).relu()
    y = 90 * conv(y, 5, padding=4).tanh()
    torch.testing.assert_close(network(x), y, rtol=1e-9, atol=1e-9)


def test_conventions():
    network = JohnsonNet("instance", arch=SMALL)
    image = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    expected = torch.tensor([-103.939, 127.5 - 116.779, 255 - 123.68]).view(1, 3, 1, 1)
    torch.testing.assert_close(network.preprocess(image), expected)
    torch.testing.assert_close(network.postprocess(expected), image)


@pytest.mark.parametrize(
    "arch, words",
    [
        ("", "got ''"),
        ("c9s1-32,x3,c9s1-3", "got 'x3'"),
        ("c8s1-3", "got 'c8s1-3'"),
        ("c9s1-8,R16,c9s1-3", "a residual block of 8 channels"),
        ("c9s1-8", "ends in a convolution to 3 channels"),
        ("c9s1-3,U2", "ends in a convolution to 3 channels"),
        ("c9s1-0,c9s1-3", "numbers of at least 1"),
        ("c9s1-4,U0,c9s1-3", "numbers of at least 1"),
    ],
)
def test_bad_arch(arch, words):
    with pytest.raises(ValueError, match="JohnsonNet: expected") as error:
        JohnsonNet(arch=arch)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "options, words",
    [({"norm": "layer"}, "norm"), ({"padding": "circular"}, "padding"), ({"tanh_constant": 0.0}, "tanh_constant")],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=f"JohnsonNet: expected .*{words}"):
        JohnsonNet(**options)


def test_too_small():
    with pytest.raises(ValueError, match="smaller than"):
        JohnsonNet("instance", arch=SMALL)(torch.randn(1, 3, 16, 64))
