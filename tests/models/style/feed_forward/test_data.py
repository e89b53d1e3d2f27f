"""Training pictures: which are found, which are skipped, and which crop comes when."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("PIL")

from cnnfast.images import ImageError, save_image
from cnnfast.models.style.feed_forward import data
from cnnfast.models.style.feed_forward.data import TrainingPictures, as_sources, collate
from tests.ops.measures import peak_bytes


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

    @pytest.mark.parametrize("crop", ["center", "random"])
    @pytest.mark.parametrize("upright", [False, True])
    def test_only_the_needed_part_of_a_long_picture_is_resized(self, crop, upright):
        """Which would be 3 x 64 x 25600 px; the crop shows the place that it would show."""
        ramp = torch.linspace(0, 1, 800)
        picture = (ramp[:, None].expand(3, 800, 2) if upright else ramp.expand(3, 2, 800)).contiguous()
        dataset = TrainingPictures([picture], 64, crop=crop)
        assert peak_bytes(lambda: dataset[(0, 0)]) < 20 * 64 * 64 * 12
        for key in range(6):
            found = dataset[(key, 0)].pictures[0]
            assert found.shape == (3, 64, 64) and found.max() - found.min() < 4 / 800
            if crop == "center":
                assert abs(found.mean() - 0.5) < 2 / 800

    def test_what_fails_for_want_of_memory_is_named(self, monkeypatch):
        def resize(image, size):
            if image.shape[1] == 40:
                raise RuntimeError("can't allocate memory")
            return resized(image, size)

        dataset = TrainingPictures([torch.rand(3, 40, 40), torch.rand(3, 16, 16)], 16, crop="center")
        resized = data.resize
        monkeypatch.setattr(data, "resize", resize)
        assert dataset[(0, 0)].skipped == ["picture 0: can't allocate memory"]

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
