"""Training pictures: which are found, which are skipped, and which crop comes when."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("PIL")

from cnnfast.images import ImageError, save_image
from cnnfast.models.style.feed_forward.data import TrainingPictures, as_sources, collate


def test_sources(tmp_path):
    for name in ("b.jpg", "a.png"):
        (tmp_path / name).touch()
    assert as_sources(tmp_path) == [tmp_path / "a.png", tmp_path / "b.jpg"]
    with pytest.raises(ValueError, match="expected pictures, got none"):
        as_sources([])


class TestCrops:
    def test_depend_on_their_number_alone(self):
        pictures = [torch.rand(3, 50, 70), torch.rand(3, 20, 90)]
        first = TrainingPictures(pictures, 32, seed=1)
        for key in ((0, 0), (7, 0), (3, 1)):
            crop = first[key].pictures
            assert crop.shape == (1, 3, 32, 32)
            assert torch.equal(crop, TrainingPictures(pictures, 32, seed=1)[key].pictures)
            assert not torch.equal(crop, TrainingPictures(pictures, 32, seed=2)[key].pictures)
        assert not torch.equal(first[(0, 0)].pictures, first[(1, 0)].pictures)

    def test_center(self):
        picture = torch.rand(3, 32, 64)
        crop = TrainingPictures([picture], 32, crop="center")[(5, 0)].pictures[0]
        assert torch.equal(crop, picture[:, :, 16:48])

    def test_unreadable_ones_are_skipped_and_named(self, tmp_path):
        save_image(torch.rand(3, 40, 40), tmp_path / "good.png")
        (tmp_path / "bad.png").write_text("no picture")
        dataset = TrainingPictures([tmp_path / "bad.png", tmp_path / "good.png"], 16)
        crop = dataset[(0, 0)]
        assert crop.pictures.shape == (1, 3, 16, 16) and len(crop.skipped) == 1 and "bad.png" in crop.skipped[0]
        batch = collate([crop, dataset[(1, 1)]])
        assert batch.pictures.shape == (2, 3, 16, 16) and batch.skipped == crop.skipped
        with pytest.raises(ImageError, match=r"can be read, got none; .*bad\.png"):
            TrainingPictures([tmp_path / "bad.png"], 16)[(0, 0)]

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="expected crop random or center"):
            TrainingPictures([torch.rand(3, 8, 8)], 8, crop="all")
        with pytest.raises(ValueError, match="expected pictures and a side"):
            TrainingPictures([], 8)
