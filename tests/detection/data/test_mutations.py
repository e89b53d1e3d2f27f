"""Annotations with random damage: targets, or an error that names the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("scipy")

from cnnfast._errors import InputError
from cnnfast.detection.data import CocoInstances, SBDInstances
from cnnfast.images import save_image
from tests.detection.data.test_voc import sbd  # noqa: F401
from tests.mutations import damage, replace

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
    "categories": [{"id": 7, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0, "area": 70, "bbox": [2, 3, 10, 7]}
        | {"segmentation": [[2, 3, 12, 3, 12, 10, 2, 10]]},
        {"id": 2, "image_id": 1, "category_id": 7, "iscrowd": 1, "area": 40, "bbox": [0, 0, 2, 20]}
        | {"segmentation": {"size": [20, 30], "counts": [0, 40, 560]}},
    ],
}


@pytest.mark.slow
def test_coco(tmp_path):
    random = np.random.default_rng(0)
    save_image(torch.rand(3, 20, 30), tmp_path / "a.png")
    for index in range(4000):
        text = json.dumps(replace(COCO, random)).encode() if index % 2 else damage(json.dumps(COCO).encode(), random)
        (tmp_path / "a.json").write_bytes(text)
        try:
            data = CocoInstances(tmp_path, tmp_path / "a.json", crowd=True)
            for place in range(len(data)):
                data[place]
        except InputError as error:
            assert str(tmp_path) in str(error), error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sbd(sbd):  # noqa: F811
    random, path = np.random.default_rng(0), sbd / "inst/2008_000001.mat"
    content = path.read_bytes()
    for _ in range(1500):
        path.write_bytes(damage(content, random))
        try:
            SBDInstances(sbd, "train")[0]
        except InputError as error:
            assert "2008_000001" in str(error)
