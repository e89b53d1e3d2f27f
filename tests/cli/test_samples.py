"""``cnnfast samples``."""

from __future__ import annotations

import pytest

pytest.importorskip("PIL")
pytest.importorskip("skimage")

from cnnfast.cli import samples as command
from cnnfast.detection.data import CocoInstances, SyntheticInstances
from cnnfast.images.samples import PHOTOS, SAMPLES


@pytest.fixture
def few_shapes(monkeypatch):
    monkeypatch.setattr(command, "_TRAINING", SyntheticInstances(2))
    monkeypatch.setattr(command, "_TEST", SyntheticInstances(1))


def test_the_folder_is_filled_and_what_exists_is_kept(cnnfast, tmp_path, few_shapes):
    folder = tmp_path / "new" / "samples"
    result = cnnfast("samples", folder)
    assert result.status == 0 and not result.err
    assert {path.stem for path in folder.glob("*.png")} == set(SAMPLES)
    assert {path.name for path in (folder / "photos").iterdir()} == set(PHOTOS)
    shapes = folder / "shapes"
    assert [len(CocoInstances(shapes / part, shapes / f"{part}.json")) for part in ("train", "test")] == [2, 1]

    (folder / "gravel.png").write_text("mine")
    (folder / "brick.png").unlink()
    again = cnnfast("samples", folder)
    assert again.status == 0 and f"{folder / 'gravel.png'}: left as it is, it exists" in again.out
    assert (folder / "gravel.png").read_text() == "mine" and (folder / "brick.png").is_file()


def test_a_file_in_place_of_the_folder(cnnfast, tmp_path):
    (tmp_path / "file").write_text("")
    result = cnnfast("samples", tmp_path / "file")
    assert result.status == 2 and "file: expected a folder, got a file" in result.err
