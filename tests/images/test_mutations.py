"""Pictures of every kind with random damage: a picture, or one line that names the file."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from cnnfast.images import ImageError, load_image
from cnnfast.images.labels import load_labels
from tests.mutations import damage

KINDS = ["png", "jpg", "tif", "gif", "bmp", "webp", "tga", "ico", "pgm", "jp2", "pcx", "dds", "avif"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures(tmp_path, kind, mode):
    path, random = tmp_path / f"a.{kind}", np.random.default_rng(0)
    plain = Image.fromarray(random.integers(0, 256, (12, 17, 3)).astype(np.uint8))
    try:
        (plain.convert("L").convert("I") if mode == "I;16" else plain).convert(mode).save(path)
    except (OSError, ValueError, KeyError):
        pytest.skip("Pillow does not write it")
    content = path.read_bytes()
    for _ in range(250):
        path.write_bytes(damage(content, random, reach=200))
        for read in (load_image, load_labels):
            try:
                read(path)
            except ImageError as error:
                assert path.name in str(error) and "\n" not in str(error)
