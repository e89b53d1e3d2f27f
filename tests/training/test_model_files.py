"""Files of trained networks of a family that is registered here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnnfast.training.model_files import NetworkKind, check_path, read_network, register_kind, write_network
from cnnfast.weights.files import WeightsError

FAMILY = "line"
register_kind("straight", NetworkKind(FAMILY, lambda options, _: nn.Linear(**options), ("unused",)))

OPTIONS = {"in_features": 2, "out_features": 3}


def write(path, kind="straight", **options):
    network = nn.Linear(**OPTIONS)
    write_network(network, path, kind, OPTIONS, {"steps": 3}, **options)
    return network


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_round_trip(tmp_path, ending):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    network = write(tmp_path / f"a{ending}", texts={"author": "me"})
    read = read_network(tmp_path / f"a{ending}", "load_line", FAMILY)
    assert torch.equal(read.network.weight, network.weight) and not read.network.training
    assert not read.network.weight.requires_grad and read.settings == {"steps": 3} and read.texts["author"] == "me"


def test_prefixes_and_tensors_of_other_programs(tmp_path):
    state = {f"module.{name}": tensor for name, tensor in nn.Linear(**OPTIONS).state_dict().items()}
    about = {"arch": "straight", "options": '{"in_features": 2, "out_features": 3}'}
    torch.save({**about, "state_dict": state | {"module.unused": torch.zeros(1)}}, tmp_path / "a.pt")
    read = read_network(tmp_path / "a.pt", "load_line", FAMILY)
    assert torch.equal(read.network.bias, state["module.bias"]) and read.settings == {}


def test_other_families_and_formats_are_refused(tmp_path):
    write(tmp_path / "a.pt", format="line 2")
    assert read_network(tmp_path / "a.pt", "load_line", FAMILY, format="line 2").texts["format"] == "line 2"
    for family, format in (("curve", None), (FAMILY, "line 1")):
        with pytest.raises(WeightsError, match=r"expected a .* in .*a\.pt, got a network of the kind 'straight'"):
            read_network(tmp_path / "a.pt", "load_line", family, format=format)
    write(tmp_path / "b.pt", "unheard of")
    with pytest.raises(WeightsError, match="got a network of the kind 'unheard of'"):
        read_network(tmp_path / "b.pt", "load_line", FAMILY)
    torch.save(nn.Linear(**OPTIONS).state_dict(), tmp_path / "c.pt")
    with pytest.raises(WeightsError, match="got a file that does not say it is one"):
        read_network(tmp_path / "c.pt", "load_line", FAMILY)


def test_paths():
    check_path("save_line", "a.PT")
    with pytest.raises(ValueError, match=r"save_line: expected a path ending in \.pt or \.safetensors, got a\.bin"):
        check_path("save_line", "a.bin")
