"""Pictures whose values are numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image

from cnnfast.images import ImageError, save_image
from cnnfast.images.labels import load_labels


def test_palette_keeps_its_indices(tmp_path):
    numbers = np.array([[0, 1, 255], [7, 7, 200]], dtype=np.uint8)
    image = Image.frombytes("P", (3, 2), numbers.tobytes())
    image.putpalette([(91 * value + 5) % 256 for value in range(768)])
    image.save(tmp_path / "a.png")
    assert load_labels(tmp_path / "a.png").tolist() == numbers.tolist()
    assert load_labels(tmp_path / "a.png").dtype == torch.int64


def test_grey_of_8_and_16_bits(tmp_path):
    numbers = torch.tensor([[[0, 1, 254], [255, 17, 3]]])
    save_image(numbers / 255, tmp_path / "a.png")
    save_image(numbers.double() * 257 / 65535, tmp_path / "b.png", bits=16)
    assert load_labels(tmp_path / "a.png").tolist() == numbers[0].tolist()
    assert load_labels(tmp_path / "b.png").tolist() == (numbers[0] * 257).tolist()


def test_refused(tmp_path):
    save_image(torch.zeros(3, 2, 2), tmp_path / "rgb.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes((tmp_path / "rgb.png").read_bytes()[:40])
    for name, words in (
        ("rgb.png", "one channel of whole numbers, got .*rgb.png of RGB"),
        ("text.png", "of no known kind"),
        ("empty.png", "which is empty"),
        ("none.png", "which does not exist"),
        ("half.png", "half.png"),
        (".", "which is a directory"),
    ):
        with pytest.raises(ImageError, match=words) as error:
            load_labels(tmp_path / name)
        assert "\n" not in str(error.value)
