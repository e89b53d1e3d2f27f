"""`cnnfast segment train` and `eval` on tiny data sets in the true forms, found by their folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pycocotools")
pytest.importorskip("scipy")

from PIL import Image
from scipy.io import savemat

from cnnfast.images import save_image
from cnnfast.models.instance_segmentation.model_files import load_model

SIDE = 48
NAMES = ("a_1", "a_2")


def square(value: int) -> np.ndarray:
    labels = np.zeros((SIDE, SIDE), dtype=np.int64)
    labels[10:30, 12:40] = value
    return labels


def save_grey(labels: np.ndarray, path: Path) -> None:
    Image.fromarray(labels.astype(np.uint8)).save(path)


def write_voc(root: Path, picture: torch.Tensor) -> None:
    for part in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    for name in NAMES:
        save_image(picture, root / f"JPEGImages/{name}.jpg")
        save_grey(square(1), root / f"SegmentationObject/{name}.png")
        save_grey(square(15), root / f"SegmentationClass/{name}.png")
    for split in ("train", "val"):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(NAMES))


def write_sbd(root: Path, picture: torch.Tensor) -> None:
    for part in ("img", "inst"):
        (root / part).mkdir(parents=True)
    boundaries = np.empty((1, 1), dtype=object)
    boundaries[0, 0] = np.zeros((2, 2))
    for name in NAMES:
        save_image(picture, root / f"img/{name}.jpg")
        content = {"Segmentation": square(1).astype(np.uint8), "Categories": np.array([[15]]), "Boundaries": boundaries}
        savemat(root / f"inst/{name}.mat", {"GTinst": content})
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("\n".join(NAMES))


def write_cityscapes(root: Path, picture: torch.Tensor) -> None:
    for split in ("train", "val"):
        pictures, labels = (root / part / split / "ulm" for part in ("leftImg8bit", "gtFine"))
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for name in NAMES:
            save_image(picture, pictures / f"{name}_leftImg8bit.png")
            numbers = torch.from_numpy(square(26001)).double()[None] / 65535
            save_image(numbers, labels / f"{name}_gtFine_instanceIds.png", bits=16)


WRITERS = {"voc": write_voc, "sbd": write_sbd, "cityscapes": write_cityscapes}
OBJECT = {"voc": "person", "sbd": "person", "cityscapes": "car"}


@pytest.mark.parametrize("kind", WRITERS)
def test_train_and_measure(cnnfast, tmp_path, kind):
    WRITERS[kind](tmp_path / "data", 0.5 + 0.4 * torch.from_numpy(square(1)).float().expand(3, SIDE, SIDE))
    sizes = ("--backbone", "small", "--min-size", SIDE, "--max-size", SIDE)
    trained = cnnfast("segment", "train", "data", *sizes, "--steps", 1, "--workers", 0, "-o", "model.pt")
    assert trained.status == 0 and not trained.err and "; 2 pictures, " in trained.out, trained
    assert OBJECT[kind] in load_model("model.pt").classes
    measured = cnnfast("segment", "eval", "model.pt", "data", "--max-detections", 3)
    assert measured.status == 0 and not measured.err and "AP^r 0.5" in measured.out, measured
    assert ("Cityscapes AP50" in measured.out) == (kind == "cityscapes")
    wrong = cnnfast("segment", "train", "data", "--split", "none", "--steps", 1, "-o", "new.pt")
    assert wrong.status == 2 and wrong.err.count("\n") == 1 and "none" in wrong.err and not Path("new.pt").exists()
