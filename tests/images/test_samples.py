"""Sample pictures."""

from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("PIL")
pytest.importorskip("skimage")

from cnnfast.images import sample_picture
from cnnfast.images.samples import PHOTOS, SAMPLES, samples_folder


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_lies_inside_its_picture(name):
    picture = sample_picture(name)
    assert picture.shape[0] == 3 and picture.is_contiguous() and 0 <= picture.min() < picture.max() <= 1
    side = SAMPLES[name].side
    assert side is None or picture.shape[1:] == (side, side)


def test_photos_are_there():
    assert all((samples_folder() / photo).is_file() for photo in PHOTOS)


def test_another_name():
    with pytest.raises(ValueError, match=r"sample_picture: expected a name of gravel, .*, got 'marble'"):
        sample_picture("marble")


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"sample_picture: expected the package skimage .* install"):
        sample_picture("gravel")
