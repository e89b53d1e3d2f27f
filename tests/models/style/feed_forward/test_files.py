"""Files of style networks: what is written is read, and everything else is one clear line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import load_style_network, save_style_network
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.weights import WeightsError

ARCH = "c9s1-4,d6,R6,u4,c9s1-3"


@pytest.fixture
def network():
    return TransformerNet((4, 6, 8))


def same(first, second):
    assert list(first) == list(second)
    for name in first:
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("ending", [".pth", ".model", ".pt", ".safetensors"])
def test_round_trip(network, tmp_path, ending):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    save_style_network(network, tmp_path / f"a{ending}", style="waves", settings={"steps": 3, "seed": 42})
    model = load_style_network(tmp_path / f"a{ending}")
    same(model.network.state_dict(), network.state_dict())
    assert not model.network.training and model.network.channels == (4, 6, 8)
    bare = ending in (".pth", ".model")
    assert (model.style, model.settings) == (("", {}) if bare else ("waves", {"steps": 3, "seed": 42}))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_johnson(tmp_path, norm):
    network = JohnsonNet(norm, "zeros", 90.0, ARCH)
    network.train()(torch.randn(2, 3, 32, 32))  # batch norms have running statistics to keep
    save_style_network(network, tmp_path / "a.pt")
    loaded = load_style_network(tmp_path / "a.pt").network
    same(loaded.state_dict(), network.state_dict())
    assert loaded.options() == network.options()
    with pytest.raises(ValueError, match=r"ending in \.pt, \.safetensors"):
        save_style_network(network, tmp_path / "a.pth")


def test_bare_files_are_plain_state_dicts(network, tmp_path):
    save_style_network(network, tmp_path / "a.pth")
    same(torch.load(tmp_path / "a.pth", weights_only=True), network.state_dict())


def test_same_network_same_bytes(network, tmp_path):
    for name in ("a.pth", "b.pth"):
        save_style_network(network, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_old_files(network, tmp_path):
    """With the prefix of a parallel training and running statistics of instance norms."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    state |= {"module.in1.running_mean": torch.ones(4), "module.in1.running_var": torch.ones(4)}
    torch.save(state, tmp_path / "old.model")
    same(load_style_network(tmp_path / "old.model").network.state_dict(), network.state_dict())


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def bad_files(folder, network):
    state = network.state_dict()
    save_style_network(network, folder / "good.pth")
    whole = (folder / "good.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pth").touch()
    (folder / "text.pth").write_text("no weights")
    (folder / "folder.pth").mkdir()
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, folder / "vgg.pth")
    torch.save([1, 2], folder / "list.pth")
    torch.save({}, folder / "nothing.pth")
    torch.save({name: t for name, t in state.items() if name != "in5.bias"}, folder / "missing.pth")
    torch.save(state | {"extra.weight": torch.zeros(1)}, folder / "extra.pth")
    torch.save(state | {"in5.bias": torch.zeros(9)}, folder / "shape.pth")
    torch.save(state | {"in5.bias": torch.full((4,), float("nan"))}, folder / "nan.pth")
    torch.save({"arch": "mosaic", "state_dict": state}, folder / "other.pt")
    torch.save({"arch": "johnson", "options": '{"arch": "c1"}', "state_dict": state}, folder / "words.pt")
    torch.save({"arch": "johnson", "options": "{", "state_dict": state}, folder / "json.pt")
    torch.save(Malicious(folder / "ran"), folder / "malicious.pth")
    (folder / "pickle.pth").write_bytes(pickle.dumps({"a": Malicious(folder / "ran")}))


@pytest.mark.parametrize(
    "name, words",
    [
        ("none.pth", "which does not exist"),
        ("empty.pth", "which is empty"),
        ("folder.pth", "which is a directory"),
        ("text.pth", "is damaged or holds objects other than tensors"),
        ("truncated.pth", "is damaged or holds objects other than tensors"),
        ("malicious.pth", "is damaged or holds objects other than tensors"),
        ("pickle.pth", "is damaged or holds objects other than tensors"),
        ("list.pth", "is damaged or holds objects other than tensors"),
        ("nothing.pth", "got: no tensors"),
        ("vgg.pth", "without conv1.conv2d.weight, but with features.0.weight"),
        ("missing.pth", "got a file without in5.bias"),
        ("extra.pth", "got a file with extra.weight, which no such network has"),
        ("shape.pth", r"in5.bias \[9\] in the place of \[4\]"),
        ("nan.pth", "in5.bias with values that are NaN"),
        ("other.pt", "a network of the kind 'mosaic'"),
        ("words.pt", "expected words like"),
        ("json.pt", "expected a style network in"),
    ],
)
def test_bad_files(network, tmp_path, name, words):
    bad_files(tmp_path, network)
    with pytest.raises(WeightsError, match=words) as error:
        load_style_network(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_settings_must_be_plain(network, tmp_path):
    with pytest.raises(TypeError):
        save_style_network(network, tmp_path / "a.pt", settings={"network": network})
    assert not list(tmp_path.iterdir())


def test_unknown_ending(network, tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.pth, \.model, \.pt, \.safetensors, got"):
        save_style_network(network, tmp_path / "a.bin")


def test_safetensors_metadata(network, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    save_style_network(network, tmp_path / "a.safetensors", style="waves")
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        about = file.metadata()
    assert about["arch"] == "transformer" and json.loads(about["options"]) == {"channels": [4, 6, 8]}
