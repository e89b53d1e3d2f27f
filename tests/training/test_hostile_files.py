"""Files that claim more than they hold, or what no program of ours writes: the reader's own error, and no memory."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("safetensors")
pytest.importorskip("h5py")
pytest.importorskip("torchvision")

import h5py

from cnnfast._checkpoint import read_plain, save_checkpoint
from cnnfast._errors import InputError
from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
from cnnfast.models.instance_segmentation.model_files import load_model, save_model
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import load_style_network, save_style_network
from cnnfast.models.style.picture.checkpoint import load_checkpoint
from cnnfast.models.style.texture.synthesis import synthesize_texture
from cnnfast.weights import load_vgg
from cnnfast.weights.files import WeightsError, write_tensors
from tests.mutations import damage, replace
from tests.ops.measures import peak_bytes

SAMPLE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
NETWORK = TransformerNet((4, 6, 8))


class TestSizes:
    def test_strides_of_zero(self, tmp_path):
        path = tmp_path / "net.pth"
        state = {name: torch.zeros(()).expand(2000, 1000, 30) for name in NETWORK.state_dict()}
        torch.save(state, path)
        assert path.stat().st_size < 30_000

        def read():
            with pytest.raises(WeightsError, match=r"net\.pth which is damaged"):
                load_style_network(path)

        assert peak_bytes(read) < 1e6

    def test_a_compressed_archive(self, tmp_path):
        torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "plain.pth")
        with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "net.pth", "w", 8) as packed:
            for entry in plain.infolist():
                packed.writestr(entry.filename, plain.read(entry))
        assert (tmp_path / "net.pth").stat().st_size < 30_000
        with pytest.raises(WeightsError, match=r"net\.pth which is damaged"):
            load_style_network(tmp_path / "net.pth")
        with pytest.raises(InputError, match=r"wanted, got .*net\.pth"):
            read_plain(tmp_path / "net.pth", "wanted")

    def test_classes_by_the_million(self, tmp_path):
        settings = ModelSettings("maskrcnn", "small", 3, min_size=64, max_size=64)
        network = build_model(settings)
        options = settings.plain() | {"num_classes": 2_000_000}
        texts = {"format": "cnnfast instance segmentation 1", "arch": "maskrcnn", "options": json.dumps(options)}
        texts |= {"settings": "{}", "classes": '["a", "b"]', "category_ids": "[1, 2]"}
        write_tensors(tmp_path / "net.pt", network.state_dict(), texts)

        def read():
            with pytest.raises(WeightsError, match=r"net\.pt, got .* in the place of \[2000000"):
                load_model(tmp_path / "net.pt")

        assert peak_bytes(read) < 1e8

    def test_arrays_that_are_declared(self, tmp_path):
        with h5py.File(tmp_path / "vgg.h5", "w") as file:
            file.create_dataset("conv1_1/kernel", (20_000, 20_000, 3), "f4", chunks=(100, 100, 3))
        np.savez_compressed(tmp_path / "vgg.npz", a=np.zeros(30_000_000, dtype=np.float32))
        for name in ("vgg.h5", "vgg.npz"):
            assert (tmp_path / name).stat().st_size < 200_000
            with pytest.raises(WeightsError, match=rf"{name} which is damaged"):
                load_vgg(tmp_path / name)


class TestKinds:
    """Only regular files are opened: a pipe nobody writes to would wait for ever."""

    @pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors", "h5", "npz"])
    def test_pipes(self, tmp_path, suffix):
        path = tmp_path / f"f.{suffix}"
        os.mkfifo(path)
        with pytest.raises(InputError, match="is no regular file"):
            load_style_network(path)
        with pytest.raises(InputError, match="is no regular file"):
            load_checkpoint(path)
        with pytest.raises(InputError, match=r"/dev/zero which is no regular file"):
            load_checkpoint("/dev/zero")

    def test_addresses(self):
        with pytest.raises(InputError, match=r"got the address https:/.*: download it first"):
            load_vgg("https://example.org/vgg19.pth")


class TestWrappers:
    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
    @pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "params"])
    def test_usual_ones_load(self, tmp_path, prefix, wrapper):
        state = {prefix + name: tensor for name, tensor in NETWORK.state_dict().items()}
        torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "net.pth")
        network = load_style_network(tmp_path / "net.pth").network
        assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), state.values(), strict=True))

    def test_other_names_are_told(self, tmp_path):
        torch.save({f"ema/{name}": tensor for name, tensor in NETWORK.state_dict().items()}, tmp_path / "net.pth")
        with pytest.raises(WeightsError, match=r"net\.pth, got: .* with ema/conv1"):
            load_style_network(tmp_path / "net.pth")


class TestTexts:
    @pytest.mark.parametrize(
        "options",
        [
            "waves",
            "",
            "[" * 100_000,
            "5",
            "[]",
            '{"norm": ["a"]}',
            '{"tanh_constant": NaN}',
            '{"depth": 3}',
            '{"norm": 1}',
        ],
    )
    def test_options_of_a_style_network(self, tmp_path, options):
        write_tensors(tmp_path / "net.pt", NETWORK.state_dict(), {"arch": "johnson", "options": options})
        with pytest.raises(WeightsError, match=r"expected a style network in .*net\.pt, got"):
            load_style_network(tmp_path / "net.pt")

    @pytest.mark.parametrize(
        "change", [{"num_classes": float("nan")}, {"kind": ["a"]}, {"R": "9"}, {"min_size": None}, {"backbone": {}}]
    )
    def test_options_of_a_detector(self, tmp_path, change):
        settings = ModelSettings("maskrcnn", "small", 2, min_size=64, max_size=64)
        save_model(build_model(settings), tmp_path / "net.pt", settings, ["a"])
        content = torch.load(tmp_path / "net.pt", weights_only=True)
        content["options"] = json.dumps(settings.plain() | change)
        torch.save(content, tmp_path / "net.pt")
        with pytest.raises(WeightsError, match=r"expected a network of instance segmentation in .*net\.pt, got"):
            load_model(tmp_path / "net.pt")


@pytest.fixture(scope="module")
def checkpoint() -> dict:
    """Of a small texture."""
    saved = []
    synthesize_texture(SAMPLE, extractor="random", iterations=2, callback=lambda p: saved.append(p.checkpoint()))
    return saved[0]


def resume(checkpoint, folder: Path) -> None:
    torch.save(checkpoint, folder / "c.pt")
    synthesize_texture(SAMPLE, extractor="random", iterations=2, resume=folder / "c.pt")


@pytest.mark.parametrize("key", ["settings", "level", "optimizer", "history"])
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, -1, [[1]], float("nan")])
def test_checkpoints_of_other_values(checkpoint, tmp_path, key, value):
    for changed in ({**checkpoint, key: value}, {name: part for name, part in checkpoint.items() if name != key}):
        if key == "history" and value in ([], {}):
            continue
        with pytest.raises(InputError, match=r"checkpoint.*c\.pt"):
            resume(changed, tmp_path)


@pytest.mark.slow
def test_mutated_values(checkpoint, tmp_path):
    """A value of a checkpoint left out or replaced, at any depth: the reader's own error, or a run to the end."""
    random = np.random.default_rng(0)
    for _ in range(400):
        try:
            resume(replace(checkpoint, random), tmp_path)
        except InputError as error:
            assert "c.pt" in str(error) or "settings of the checkpoint" in str(error)


@pytest.mark.slow
def test_mutated_files(checkpoint, tmp_path):
    """Bytes changed, cut off or repeated at random: the reader's own error, or a file that can be read."""
    settings = ModelSettings("maskrcnn", "small", 2, min_size=64, max_size=64)
    save_checkpoint(checkpoint, tmp_path / "c.pt")
    save_style_network(NETWORK, tmp_path / "net.pth")
    save_style_network(NETWORK, tmp_path / "net.safetensors")
    save_model(build_model(settings), tmp_path / "model.pt", settings, ["a"])
    np.savez(tmp_path / "vgg.npz", **{"conv1_1.weight": np.zeros((4, 3, 3, 3), dtype=np.float32)})
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        file["conv1_1/kernel"] = np.zeros((3, 3, 3, 4), dtype=np.float32)
    readers = {
        "c.pt": lambda path: load_checkpoint(path),
        "net.pth": load_style_network,
        "net.safetensors": load_style_network,
        "vgg.npz": load_vgg,
        "vgg.h5": load_vgg,
        "model.pt": load_model,
    }
    random = np.random.default_rng(0)
    for name, read in readers.items():
        content = (tmp_path / name).read_bytes()
        changed = tmp_path / f"changed-{name}"
        for _ in range(100 if name == "model.pt" else 1500):
            changed.write_bytes(damage(content, random))
            try:
                read(changed)
            except InputError as error:
                assert changed.name in str(error)
