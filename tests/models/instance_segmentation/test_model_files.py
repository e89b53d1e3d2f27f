"""Files of networks, and weights to start from: what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision")

from cnnfast.features.pretrained import load_pretrained
from cnnfast.models.instance_segmentation.architectures import BACKBONES, KINDS, ModelSettings, build_model
from cnnfast.models.instance_segmentation.model_files import load_model, save_model
from cnnfast.weights.files import WeightsError

SETTINGS = ModelSettings("maskrcnn-omn", "small", 3, R=5, K=3, min_size=64, max_size=64)
CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_model(SETTINGS)


class TestSettings:
    @pytest.mark.parametrize(
        "options, words",
        [
            ({"kind": "yolo"}, "kind maskrcnn-omn or maskrcnn"),
            ({"backbone": "vgg16"}, "backbone .* for maskrcnn-omn, got 'vgg16'"),
            ({"num_classes": 1}, "at least one class beside the background, got 0"),
            ({"kind": "rpn-omn"}, "one class for rpn-omn, got 2"),
            ({"K": 6}, "1 <= K <= R <= 255, got R=5 and K=6"),
            ({"stages": 4}, "stages 3 or 5, got 4"),
            ({"min_size": 65}, "1 <= min_size <= max_size, got 65 and 64"),
            ({"preprocessing": "bgr"}, "preprocessing .*, got 'bgr'"),
        ],
    )
    def test_refused(self, options, words):
        with pytest.raises(ValueError, match=f"build_model: expected {words}"):
            replace(SETTINGS, **options)

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_finds_objects_of_any_picture(self, kind):
        settings = replace(SETTINGS, kind=kind, num_classes=2)
        model = build_model(settings).eval()
        with torch.no_grad():
            for found, size in zip(
                model([torch.rand(3, 40, 60), torch.rand(3, 64, 31)]), ((40, 60), (64, 31)), strict=True
            ):
                assert found["masks"].shape == (len(found["boxes"]), 1, *size)
                assert found["scores"].shape == (len(found["boxes"]),)

    @pytest.mark.slow
    @pytest.mark.parametrize("backbone", BACKBONES)
    @pytest.mark.parametrize("kind", ["maskrcnn-omn", "mnc-omn"])
    def test_every_backbone_that_suits(self, kind, backbone):
        if backbone not in ModelSettings.backbones(kind):
            pytest.skip("has a single map")
        settings = replace(SETTINGS, kind=kind, backbone=backbone, min_size=128, max_size=128, frozen=True)
        model = build_model(settings).eval()
        with torch.no_grad():
            (found,) = model([torch.rand(3, 40, 60)])
        assert found["masks"].shape[1:] == (1, 40, 60)
        frozen = [p for p in model.backbone.parameters() if not p.requires_grad]
        assert bool(frozen) == (backbone != "small")


class TestFiles:
    @pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
    def test_round_trip(self, network, tmp_path, name):
        if name.endswith(".safetensors"):
            pytest.importorskip("safetensors")
        save_model(network, tmp_path / name, SETTINGS, CLASSES, category_ids=[17, 18], training={"steps": 3})
        model = load_model(tmp_path / name)
        assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())
        assert (model.settings, model.classes, model.category_ids) == (SETTINGS, CLASSES, (17, 18))
        assert model.training == {"steps": 3}
        own = model.network.state_dict()
        assert own.keys() == network.state_dict().keys()
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, own[key]), key

    def test_same_network_same_bytes(self, network, tmp_path):
        for name in ("a.pt", "b.pt"):
            save_model(network, tmp_path / name, SETTINGS, CLASSES)
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()

    def test_counts_must_fit(self, network, tmp_path):
        for options in ({"classes": ("cat",)}, {"classes": CLASSES, "category_ids": [1]}):
            with pytest.raises(ValueError, match="save_model: expected them for 2 classes"):
                save_model(network, tmp_path / "a.pt", SETTINGS, **options)
        with pytest.raises(ValueError, match=r"ending in \.pt or \.safetensors"):
            save_model(network, tmp_path / "a.bin", SETTINGS, CLASSES)
        assert not list(tmp_path.iterdir())


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def damage(about, state, what):
    """A file's content, changed."""
    content = {**about, "state_dict": dict(state)}
    if what == "bare":
        return dict(state)
    if what == "style":
        return {"arch": "transformer", "options": "{}", "state_dict": {"conv1.conv2d.weight": torch.zeros(1)}}
    if what == "settings":
        content["options"] = content["options"].replace('"small"', '"vast"')
    if what == "option":
        content["options"] = content["options"].replace('"stages"', '"steps"')
    if what == "json":
        content["classes"] = "[cat"
    if what == "without classes":
        del content["classes"]
    if what == "missing":
        del content["state_dict"]["backbone.stem.0.0.weight"]
    if what == "extra":
        content["state_dict"]["backbone.more"] = torch.zeros(1)
    if what == "shape":
        content["state_dict"]["backbone.stem.0.0.weight"] = torch.zeros(8, 3, 3, 3)
    if what == "nan":
        content["state_dict"]["backbone.stem.0.0.weight"] = torch.full((32, 3, 3, 3), float("nan"))
    if what == "malicious":
        content["more"] = Malicious()
    return content


REFUSED = {
    "bare": "got a file that does not say it is one",
    "style": "got a network of the kind 'transformer'",
    "settings": "got: build_model: expected backbone",
    "option": "unexpected keyword argument 'steps'",
    "json": "classes that are no JSON",
    "without classes": "got: names and numbers",
    "missing": "got a file without backbone.stem.0.0.weight",
    "extra": "with backbone.more, which no such network has",
    "shape": r"backbone.stem.0.0.weight \[8, 3, 3, 3\] in the place of \[32, 3, 3, 3\]",
    "nan": "values that are NaN or infinite",
    "malicious": "is damaged or holds objects other than tensors",
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(network, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    save_model(network, "good.pt", SETTINGS, CLASSES)
    about = torch.load("good.pt", weights_only=True)
    state = about.pop("state_dict")
    torch.save(damage(about, state, what), "bad.pt")
    with pytest.raises(WeightsError, match=REFUSED[what]) as error:
        load_model("bad.pt")
    assert "\n" not in str(error.value) and "bad.pt" in str(error.value) and not Path("ran").exists()


class TestPretrained:
    def test_backbone_of_another_kind(self, network, tmp_path):
        torch.save(network.state_dict(), tmp_path / "a.pt")
        other = build_model(replace(SETTINGS, kind="mnc"))
        taken = load_pretrained(other, tmp_path / "a.pt")
        own = other.state_dict()
        shared = [name for name in own if name.startswith("backbone.")]
        assert len(shared) <= taken < len(own)
        assert all(torch.equal(own[name], network.state_dict()[name]) for name in shared)

    def test_other_classes_keep_the_rest(self, network, tmp_path):
        save_model(network, tmp_path / "a.pt", SETTINGS, CLASSES)
        other = build_model(replace(SETTINGS, num_classes=9))
        load_pretrained(other, tmp_path / "a.pt")
        own, given = other.state_dict(), network.state_dict()
        different = {name for name in own if own[name].shape != given[name].shape}
        assert different and all("predictor" in name for name in different)
        assert all(torch.equal(own[name], given[name]) for name in own.keys() - different)

    def test_resnet_of_torchvision(self, tmp_path):
        from torchvision.models import resnet18

        body = resnet18(weights=None, num_classes=3)
        torch.save(body.state_dict(), tmp_path / "resnet.pth")
        model = build_model(replace(SETTINGS, backbone="resnet18-fpn", frozen=True))
        load_pretrained(model, tmp_path / "resnet.pth")
        assert torch.equal(model.backbone.body.layer2[0].conv1.weight, body.layer2[0].conv1.weight)
        assert torch.equal(model.backbone.body.bn1.running_var, body.bn1.running_var)

    def test_refused(self, network, tmp_path):
        torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match=r"of the network's backbone in .*other\.pt, got none for backbone"):
            load_pretrained(network, tmp_path / "other.pt")
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        state["rpn.head.cls_logits.bias"][0] = float("inf")
        torch.save(state, tmp_path / "nan.pt")
        with pytest.raises(WeightsError, match=r"finite values in .*, got others in rpn\.head\.cls_logits\.bias"):
            load_pretrained(network, tmp_path / "nan.pt")
        with pytest.raises(WeightsError, match="which does not exist"):
            load_pretrained(network, tmp_path / "none.pt")
