"""Pictures in folders."""

from __future__ import annotations

import pytest

from cnnfast.images import ImageError, find_pictures


def test_find_pictures(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in find_pictures(tmp_path)] == ["a.png", "b.JPG", "sub/c.webp"]
    with pytest.raises(ImageError, match="which is no folder"):
        find_pictures(tmp_path / "a.png")
    with pytest.raises(ImageError, match="which does not exist"):
        find_pictures(tmp_path / "none")
    (tmp_path / "sub/c.webp").unlink()
    with pytest.raises(ImageError, match="expected pictures in"):
        find_pictures(tmp_path / "sub")
