"""PASCAL VOC and SBD: tiny data sets in the true form, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("scipy")

from PIL import Image
from scipy import io as scipy_io

from cnnfast.detection.data import AnnotationError, SBDInstances, VOCInstances
from cnnfast.detection.data import voc as voc_module
from cnnfast.images import ImageError, save_image
from cnnfast.images.labels import load_labels

OBJECTS = np.array([[0, 1, 1, 255], [2, 2, 255, 255], [2, 0, 5, 5]], dtype=np.uint8)
CLASSES = np.array([[0, 15, 15, 255], [3, 3, 255, 255], [3, 0, 15, 15]], dtype=np.uint8)


def save_palette(labels: np.ndarray, path: Path) -> None:
    """Indices of a palette whose colours are other numbers, as VOC has them."""
    image = Image.frombytes("P", (labels.shape[1], labels.shape[0]), labels.tobytes())
    image.putpalette([(37 * value + 90) % 256 for value in range(768)])
    image.save(path)


@pytest.fixture
def voc(tmp_path) -> Path:
    root = tmp_path / "VOC2012"
    for part in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation", "Annotations"):
        (root / part).mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000001\n2007_000002\n\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000002\n")
    for name in ("2007_000001", "2007_000002"):
        save_image(torch.full((3, 3, 4), 0.5), root / f"JPEGImages/{name}.jpg")
        save_palette(OBJECTS, root / f"SegmentationObject/{name}.png")
        save_palette(CLASSES, root / f"SegmentationClass/{name}.png")
    return root


def save_instances(path: Path, numbers: np.ndarray, categories) -> None:
    """MATLAB's structure of the SBD, with the boundaries, which are not read here."""
    boundaries = np.empty((len(categories), 1), dtype=object)
    for index in range(len(categories)):
        boundaries[index, 0] = np.zeros((2, 2))
    column = np.array(categories).reshape(-1, 1)
    content = {"Segmentation": numbers, "Categories": column, "Boundaries": boundaries}
    scipy_io.savemat(path, {"GTinst": content}, do_compression=True)


@pytest.fixture
def sbd(tmp_path) -> Path:
    root = tmp_path / "dataset"
    for part in ("img", "inst", "cls"):
        (root / part).mkdir(parents=True)
    (root / "train.txt").write_text("2008_000001\n")
    (root / "train_noval.txt").write_text("2008_000001\n")
    (root / "val.txt").write_text("2008_000002\n2008_000001\n")
    for name in ("2008_000001", "2008_000002"):
        save_image(torch.full((3, 3, 4), 0.5), root / f"img/{name}.jpg")
        numbers = np.where(OBJECTS == 255, 0, np.where(OBJECTS == 5, 3, OBJECTS)).astype(np.uint8)
        save_instances(root / f"inst/{name}.mat", numbers, np.array([15, 3, 15], dtype=np.uint8))
        classes = {"Segmentation": np.where(CLASSES == 255, 0, CLASSES), "CategoriesPresent": [[3, 15]]}
        scipy_io.savemat(root / f"cls/{name}.mat", {"GTcls": classes})
    return root


class TestVOC:
    def test_target(self, voc):
        data = VOCInstances(voc)
        assert data.names == ["2007_000001", "2007_000002"] and len(VOCInstances(voc, "val")) == 1
        picture, target = data[0]
        assert picture.shape == (3, 3, 4) and len(data.categories) == 20
        assert target["labels"].tolist() == [15, 3, 15] and data.categories[14] == "person"
        assert (target["masks"].numpy() == np.stack([OBJECTS == 1, OBJECTS == 2, OBJECTS == 5])).all()
        assert target["boxes"].tolist() == [[1, 0, 3, 1], [0, 1, 2, 3], [2, 2, 4, 3]]
        assert (target["ignore"].numpy() == (OBJECTS == 255)).all() and target["image_id"].tolist() == [0]

    def test_same_pixels_as_torchvision(self, voc, tmp_path):
        datasets = pytest.importorskip("torchvision.datasets")
        (tmp_path / "VOCdevkit").mkdir()
        voc.rename(tmp_path / "VOCdevkit/VOC2012")
        other = datasets.VOCSegmentation(tmp_path, "2012", "train")
        target = VOCInstances(tmp_path / "VOCdevkit/VOC2012")[0][1]
        classes = np.asarray(other[0][1])
        for mask, label in zip(target["masks"].bool().numpy(), target["labels"].tolist(), strict=True):
            assert (classes[mask] == label).all()

    def test_without_objects(self, voc):
        save_palette(np.where(OBJECTS == 255, OBJECTS, 0), voc / "SegmentationObject/2007_000001.png")
        target = VOCInstances(voc)[0][1]
        assert target["masks"].shape == (0, 3, 4) and target["boxes"].shape == (0, 4) and target["ignore"].sum() == 3

    def test_class_of_most_pixels(self, voc):
        mixed = CLASSES.copy()
        mixed[1, 0] = 7
        save_palette(mixed, voc / "SegmentationClass/2007_000001.png")
        assert VOCInstances(voc)[0][1]["labels"].tolist() == [15, 3, 15]

    def test_damaged(self, voc):
        path = voc / "SegmentationClass/2007_000001.png"
        for labels, words in (
            (np.where(CLASSES == 3, 21, CLASSES), "class of 1..20 for every object, got none"),
            (CLASSES[:2], "objects and classes of one size, got 4x3 px and 4x2 px"),
        ):
            save_palette(labels.astype(np.uint8), path)
            with pytest.raises(AnnotationError, match=words):
                VOCInstances(voc)[0]
        save_image(torch.zeros(3, 3, 4), path)
        with pytest.raises(ImageError, match=r"one channel of whole numbers, got .* of RGB"):
            VOCInstances(voc)[0]
        path.unlink()
        with pytest.raises(ImageError, match="which does not exist"):
            VOCInstances(voc)[0]
        save_image(torch.zeros(3, 4, 4), voc / "JPEGImages/2007_000002.jpg")
        with pytest.raises(AnnotationError, match="expected 4x3 px as its annotation, got 4x4"):
            VOCInstances(voc)[1]

    def test_labels_are_decoded_once_an_item(self, voc, monkeypatch):
        decoded = []
        monkeypatch.setattr(
            voc_module, "load_labels", lambda path: decoded.append(path.parent.name) or load_labels(path)
        )
        VOCInstances(voc)[0]
        assert decoded == ["SegmentationObject", "SegmentationClass"]

    def test_lists(self, voc):
        for text, words in (("", "names of pictures"), ("../a", r"got '\.\./a'"), ("/a", "got '/a'")):
            (voc / "ImageSets/Segmentation/own.txt").write_text(text)
            with pytest.raises(AnnotationError, match=words):
                VOCInstances(voc, "own")
        with pytest.raises(AnnotationError, match=r"none\.txt: expected a file of annotations, got nothing"):
            VOCInstances(voc, "none")
        with pytest.raises(AnnotationError, match="expected a folder of the data set, got nothing"):
            VOCInstances(voc / "none")
        with pytest.raises(AnnotationError, match="expected a folder of the data set, got a file"):
            VOCInstances(voc / "ImageSets/Segmentation/val.txt")


class TestSBD:
    def test_target(self, sbd):
        data = SBDInstances(sbd, "val")
        assert data.names == ["2008_000002", "2008_000001"] and len(SBDInstances(sbd, "train_noval")) == 1
        picture, target = data[0]
        assert picture.shape == (3, 3, 4) and target["labels"].tolist() == [15, 3, 15]
        assert (target["masks"].numpy() == np.stack([OBJECTS == 1, OBJECTS == 2, OBJECTS == 5])).all()
        assert target["boxes"].tolist() == [[1, 0, 3, 1], [0, 1, 2, 3], [2, 2, 4, 3]] and "ignore" not in target

    def test_same_pixels_as_torchvision(self, sbd):
        datasets = pytest.importorskip("torchvision.datasets")
        classes = np.asarray(datasets.SBDataset(str(sbd), "val", "segmentation")[0][1])
        target = SBDInstances(sbd, "val")[0][1]
        for mask, label in zip(target["masks"].bool().numpy(), target["labels"].tolist(), strict=True):
            assert (classes[mask] == label).all()

    def test_without_objects(self, sbd):
        save_instances(sbd / "inst/2008_000001.mat", np.zeros((3, 4), dtype=np.uint8), np.zeros(0, dtype=np.uint8))
        target = SBDInstances(sbd)[0][1]
        assert target["masks"].shape == (0, 3, 4) and target["labels"].shape == (0,)

    @pytest.mark.parametrize(
        "numbers, categories, words",
        [
            (np.array([[0, 3]]), [1, 2], r"every object, got 2 for the numbers \[3\]"),
            (np.array([[-1, 1]]), [1], r"every object, got 1 for the numbers \[-1, 1\]"),
            (np.array([[0, 1]]), [21], r"categories of 1..20, got \[21\]"),
            (np.array([[0, 1]]), [0], r"categories of 1..20, got \[0\]"),
            (np.array([[0.0, 1.5]]), [1], "no whole numbers"),
            (np.array([[0, 1]]), [1.5], "no whole numbers"),
        ],
    )
    def test_contents(self, sbd, numbers, categories, words):
        save_instances(sbd / "inst/2008_000001.mat", numbers, np.array(categories))
        save_image(torch.zeros(3, 1, 2), sbd / "img/2008_000001.jpg")
        with pytest.raises(AnnotationError, match=rf"2008_000001\.mat: expected .*{words}"):
            SBDInstances(sbd)[0]

    def test_damaged(self, sbd):
        path = sbd / "inst/2008_000001.mat"
        whole = path.read_bytes()
        other = sbd / "cls/2008_000001.mat"
        for content in (b"", b"text", whole[:200], whole[: len(whole) // 2], other.read_bytes(), bytes(500)):
            path.write_bytes(content)
            with pytest.raises(
                AnnotationError, match=r"2008_000001\.mat: expected MATLAB's GTinst of the SBD, got"
            ) as e:
                SBDInstances(sbd)[0]
            assert "\n" not in str(e.value)
        path.unlink()
        with pytest.raises(AnnotationError, match="expected a file of annotations, got nothing"):
            SBDInstances(sbd)[0]

    def test_instances_are_decoded_once_an_item(self, sbd, monkeypatch):
        decoded, loadmat = [], scipy_io.loadmat
        monkeypatch.setattr(scipy_io, "loadmat", lambda path: decoded.append(Path(path).name) or loadmat(path))
        SBDInstances(sbd)[0]
        assert decoded == ["2008_000001.mat"]

    def test_another_size_than_the_picture(self, sbd):
        save_image(torch.zeros(3, 4, 4), sbd / "img/2008_000001.jpg")
        with pytest.raises(AnnotationError, match=r"2008_000001\.jpg: expected 4x3 px as its annotation, got 4x4"):
            SBDInstances(sbd)[0]

    def test_without_scipy(self, sbd, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
        with pytest.raises(ImportError, match=r"expected the package scipy.*pip install"):
            SBDInstances(sbd)
