"""Data sets written in COCO's format, read back by our reader and by COCO's own."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")

from cnnfast.detection.data import CocoInstances, InstanceDataset, SyntheticInstances, write_coco
from cnnfast.detection.data.base import Objects


class Corners(InstanceDataset):
    """A picture of 5x4 px whose masks begin or end in its corners, one of them a crowd, and one without objects."""

    categories = ("first", "second")
    names = ("full", "empty")

    def _picture(self, index: int) -> torch.Tensor:
        return torch.zeros(3, 4, 5)

    def _path(self, index: int) -> Path:
        return Path(self.names[index])

    def _objects(self, index: int, size) -> Objects:
        masks = torch.zeros(4, 4, 5, dtype=torch.bool)
        masks[0], masks[1, 0, 0], masks[2, 3, 4], masks[3, 1:3, 2:4] = True, True, True, True
        count = 4 if index == 0 else 0
        crowd = torch.tensor([False, False, True, False])[:count]
        return Objects(masks[:count], torch.tensor([1, 2, 1, 2])[:count], crowd)


@pytest.mark.parametrize("data", [Corners(crowd=True), SyntheticInstances(3, objects=3)], ids=["corners", "shapes"])
def test_what_is_written_is_read(tmp_path, data):
    write_coco(data, tmp_path, tmp_path / "data.json")
    read = CocoInstances(tmp_path, tmp_path / "data.json", crowd=True)
    assert len(read) == len(data) and list(read.categories) == list(data.categories)
    for (picture, target), (picture_read, target_read) in zip(data, read, strict=True):
        torch.testing.assert_close(picture_read, picture, atol=0.5 / 255 + 1e-6, rtol=0)
        assert target.keys() == target_read.keys()
        for name, value in target.items():
            torch.testing.assert_close(target_read[name], value, atol=0, rtol=0)


def test_the_official_reader_sees_the_same(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    data = Corners(crowd=True)
    write_coco(data, tmp_path, tmp_path / "data.json")
    with contextlib.redirect_stdout(io.StringIO()):
        official = coco.COCO(str(tmp_path / "data.json"))
    target = data[0][1]
    for number, entry in official.anns.items():
        mask = torch.from_numpy(official.annToMask(entry))
        assert torch.equal(mask, target["masks"][number - 1])
        x, y, width, height = entry["bbox"]
        assert [x, y, x + width, y + height] == target["boxes"][number - 1].tolist()
        assert entry["area"] == mask.sum() and entry["iscrowd"] == target["iscrowd"][number - 1]
