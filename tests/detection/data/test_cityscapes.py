"""Cityscapes: a tiny data set in the true form, and a damaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from cnnfast.detection.data import AnnotationError, CityscapesInstances, cityscapes
from cnnfast.detection.metrics import cityscapes_ap
from cnnfast.images import ImageError, save_image
from cnnfast.images.labels import load_labels

# Road, two cars, a group of cars, a bicycle, a caravan (not evaluated), a group of caravans, ego vehicle, sky.
PIXELS = np.array([[7, 26000, 26000, 26001], [26, 26, 33002, 33002], [29001, 29, 1, 23]])


def save_numbers(pixels: np.ndarray, path: Path) -> None:
    save_image(torch.from_numpy(pixels).double()[None] / 65535, path, bits=16)


@pytest.fixture
def root(tmp_path) -> Path:
    for city, names in {"ulm": ("ulm_000000_000019", "ulm_000001_000019"), "aachen": ("aachen_000000_000019",)}.items():
        pictures, labels = (tmp_path / part / "val" / city for part in ("leftImg8bit", "gtFine"))
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for name in names:
            save_image(torch.full((3, 3, 4), 0.5), pictures / f"{name}_leftImg8bit.png")
            save_numbers(PIXELS, labels / f"{name}_gtFine_instanceIds.png")
            save_numbers(np.where(PIXELS < 1000, PIXELS, PIXELS // 1000), labels / f"{name}_gtFine_labelIds.png")
    return tmp_path


def test_target(root):
    data = CityscapesInstances(root, "val")
    assert data.names == ["aachen/aachen_000000_000019", "ulm/ulm_000000_000019", "ulm/ulm_000001_000019"]
    assert data.category_ids == {1: 24, 2: 25, 3: 26, 4: 27, 5: 28, 6: 31, 7: 32, 8: 33}
    picture, target = data[1]
    assert picture.shape == (3, 3, 4) and [data.categories[label - 1] for label in target["labels"]] == [
        "car",
        "car",
        "bicycle",
    ]
    assert (target["masks"].numpy() == np.equal.outer([26000, 26001, 33002], PIXELS)).all()
    assert (target["ignore"].numpy() == np.isin(PIXELS, (29, 1))).all()


def test_groups(root):
    target = CityscapesInstances(root, "val", crowd=True)[0][1]
    assert target["iscrowd"].tolist() == [1, 0, 0, 0] and target["labels"].tolist() == [3, 3, 3, 8]
    assert (target["masks"][0].numpy() == (PIXELS == 26)).all()


def test_classes_as_torchvision_has_them(root):
    datasets = pytest.importorskip("torchvision.datasets")
    other = datasets.Cityscapes(str(root), "val", target_type="instance")
    names = {c.id: c.name for c in other.classes if c.has_instances and not c.ignore_in_eval}
    data = CityscapesInstances(root, "val", crowd=True)
    assert {data.category_ids[n]: name for n, name in enumerate(data.categories, 1)} == names
    pixels = np.asarray(other[0][1])
    assert (pixels == PIXELS).all()
    # Pixels of exactly these numbers are void; those of single objects of classes left out are not.
    void = [c.id for c in other.classes if c.ignore_in_eval]
    assert (data[0][1]["ignore"].numpy() == np.isin(pixels, void)).all()


def test_against_itself(root):
    pixels = np.repeat(np.repeat(PIXELS, 12, 0), 12, 1)
    for path in root.glob("gtFine/val/*/*instanceIds.png"):
        save_numbers(pixels, path)
    for path in root.glob("leftImg8bit/val/*/*.png"):
        save_image(torch.zeros(3, 36, 48), path)
    data = CityscapesInstances(root, "val", crowd=True)
    truths = [data[index][1] for index in range(len(data))]
    found = [target | {"scores": torch.ones(len(target["labels"]))} for target in truths]
    assert cityscapes_ap(found, truths) == {"AP": 1.0, "AP50": 1.0}


def test_coarse(root):
    (root / "gtCoarse/val/ulm").mkdir(parents=True)
    save_numbers(PIXELS, root / "gtCoarse/val/ulm/ulm_000000_000019_gtCoarse_instanceIds.png")
    assert len(CityscapesInstances(root, "val", mode="coarse")[1][1]["labels"]) == 3
    with pytest.raises(ValueError, match='mode "fine" or "coarse", got \'medium\''):
        CityscapesInstances(root, "val", mode="medium")


def test_damaged(root):
    path = root / "gtFine/val/aachen/aachen_000000_000019_gtFine_instanceIds.png"
    save_numbers(np.full((3, 4), 65535), path)
    with pytest.raises(AnnotationError, match="numbers of instances below 34000, got 65535"):
        CityscapesInstances(root, "val")[0]
    save_numbers(PIXELS[:2], path)
    with pytest.raises(AnnotationError, match="expected 4x2 px as its annotation, got 4x3"):
        CityscapesInstances(root, "val")[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"instanceIds\.png which is"):
        CityscapesInstances(root, "val")[0]
    with pytest.raises(AnnotationError, match=r"leftImg8bit/test: expected a folder of the data set, got nothing"):
        CityscapesInstances(root, "test")
    (root / "leftImg8bit/empty").mkdir()
    (root / "gtFine/empty").mkdir()
    with pytest.raises(AnnotationError, match=r"expected pictures CITY/\*_leftImg8bit.png, got none"):
        CityscapesInstances(root, "empty")


def test_labels_are_decoded_once_an_item(root, monkeypatch):
    decoded = []
    monkeypatch.setattr(cityscapes, "load_labels", lambda path: decoded.append(path.name) or load_labels(path))
    CityscapesInstances(root, "val")[1]
    assert decoded == ["ulm_000000_000019_gtFine_instanceIds.png"]
