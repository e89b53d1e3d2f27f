"""TransformerNet: the published network's values, gradients, names and sizes."""

from __future__ import annotations

import json

import pytest
import torch

from cnnfast.models.style.feed_forward.examples_network import TransformerNet, transformer_channels
from tests.parity import PARITY

KEYS = PARITY / "style" / "state_dict_keys.json"


@pytest.fixture(params=["transformer_tiny_a", "transformer_tiny_b"])
def case(request, parity):
    return {name: torch.from_numpy(array) for name, array in parity(request.param).items()}


def state_of(case):
    return {name[3:]: tensor for name, tensor in case.items() if name.startswith("sd/")}


def network_of(case, dtype=torch.float64):
    state = state_of(case)
    network = TransformerNet(transformer_channels({name: t.shape for name, t in state.items()}), dtype=dtype)
    network.load_state_dict(state)
    return network


class TestParity:
    def test_output(self, case):
        torch.testing.assert_close(network_of(case)(case["x"]), case["y"], rtol=1e-9, atol=1e-12)

    def test_gradients(self, case):
        network, x = network_of(case), case["x"].clone().requires_grad_()
        network(x).backward(case["R"])
        torch.testing.assert_close(x.grad, case["grad_x"], rtol=1e-9, atol=1e-14)
        largest = max(float(case[f"grad/{name}"].abs().max()) for name, _ in network.named_parameters())
        for name, parameter in network.named_parameters():
            # A bias before an instance norm has no influence: its gradient is rounding alone.
            torch.testing.assert_close(parameter.grad, case[f"grad/{name}"], rtol=1e-9, atol=1e-12 * largest)

    def test_float32(self, case):
        network = network_of(case, torch.float32)
        atol = 1e-4 * float(case["y"].abs().max())
        torch.testing.assert_close(network(case["x"].float()).double(), case["y"], rtol=2e-5, atol=atol)

    def test_output_has_sides_of_multiples_of_four(self, case):
        height, width = case["x"].shape[2:]
        assert network_of(case)(case["x"]).shape[2:] == (-(-height // 4) * 4, -(-width // 4) * 4)


def test_names_and_shapes_of_the_published_network():
    published = json.loads(KEYS.read_text())["transformer_net_examples"]
    network = TransformerNet()
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == published
    assert sum(p.numel() for p in network.parameters()) == 1_679_235


def test_legacy_running_statistics_are_dropped():
    network = TransformerNet((4, 6, 8))
    state = network.state_dict()
    for name, width in (("in1", 4), ("res3.in2", 8)):
        state |= {f"{name}.running_mean": torch.ones(width), f"{name}.num_batches_tracked": torch.tensor(3)}
    TransformerNet((4, 6, 8)).load_state_dict(state)


@pytest.mark.parametrize("size", [(5, 5), (5, 64), (8, 8), (33, 18)])
def test_small_and_odd_sizes(size):
    output = TransformerNet((4, 6, 8))(torch.rand(1, 3, *size) * 255)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("channels", [(4, 6), (4, 6, 0), (4, 6, 8, 9), (4.0, 6, 8)])
def test_bad_channels(channels):
    with pytest.raises(ValueError, match="expected channels as three positive numbers"):
        TransformerNet(channels)


def test_bad_pictures():
    network = TransformerNet((4, 6, 8))
    with pytest.raises(ValueError, match="smaller than 5 px"):
        network(torch.rand(1, 3, 4, 64))
    with pytest.raises(ValueError, match=r"\[B,3,H,W\]"):
        network(torch.rand(3, 16, 16))
    with pytest.raises(TypeError, match="floating"):
        network(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_conventions_are_inverse():
    network, image = TransformerNet((4, 6, 8)), torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(network.preprocess(image), 255 * image)
    torch.testing.assert_close(network.postprocess(network.preprocess(image)), image)
