"""Files and values that are no pictures give one line."""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib

import pytest
import torch
from PIL import Image

from cnnfast import images
from cnnfast.images import ImageError, load_image
from tests.images.image_cases import noise


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class TestBadFiles:
    def refused(self, path: os.PathLike | str, words: str) -> None:
        with pytest.raises(ImageError, match=words) as caught:
            load_image(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_missing_directory_empty_pipe(self, tmp_path):
        self.refused(tmp_path / "none.png", "does not exist")
        self.refused(tmp_path, "a directory")
        (tmp_path / "empty.png").touch()
        self.refused(tmp_path / "empty.png", "empty")
        os.mkfifo(tmp_path / "pipe.png")
        self.refused(tmp_path / "pipe.png", "no regular file")
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
        self.refused(tmp_path / "loop.png", "loop.png")
        self.refused(tmp_path / ("x" * 300), "name too long")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"x")
        (tmp_path / "a.png").chmod(0)
        self.refused(tmp_path / "a.png", "Permission denied")

    def test_permission_error_of_the_system(self, tmp_path, monkeypatch):
        (tmp_path / "a.png").write_bytes(b"x")

        def refuse(*_args, **_options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
        self.refused(tmp_path / "a.png", "Permission denied")

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
    def test_cut_off_anywhere(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(noise(40, 40, 3)).save(path)
        whole = path.read_bytes()
        for share in (0.002, 0.05, 0.3, 0.8):
            path.write_bytes(whole[: max(1, int(len(whole) * share))])
            self.refused(path, "damaged|no known kind")

    def test_other_contents(self, tmp_path):
        for content in (b"text, and no picture\n", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(64), b"GIF89a"):
            (tmp_path / "a.png").write_bytes(content)
            self.refused(tmp_path / "a.png", "damaged|no known kind")

    def test_postscript_starts_no_program(self, tmp_path):
        (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
        self.refused(tmp_path / "a.eps", "no known kind")

    @pytest.mark.parametrize("width, height", [(100_000, 100_000), (40_000, 30_000), (2**31 - 1, 2**31 - 1)])
    def test_decompression_bomb_is_refused_before_decoding(self, tmp_path, width, height):
        (tmp_path / "bomb.png").write_bytes(png_header(width, height))
        self.refused(tmp_path / "bomb.png", r"at most 1e\+09 pixels, got ")

    def test_more_than_memory_is_refused_before_decoding(self, tmp_path, monkeypatch):
        monkeypatch.setattr("cnnfast.images._pillow.available_memory", lambda: 10**9)
        (tmp_path / "big.png").write_bytes(png_header(20_000, 20_000))
        self.refused(tmp_path / "big.png", r"1\.0 GB of free memory, got .* of 20000x20000 which needs 9\.6 GB")

    def test_pillows_own_limit_is_left_alone(self, tmp_path, monkeypatch, recwarn):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        Image.fromarray(noise(20, 20, 3)).save(tmp_path / "a.png")
        assert load_image(tmp_path / "a.png").shape == (3, 20, 20)
        assert Image.MAX_IMAGE_PIXELS == 10 and not recwarn.list

    def test_from_several_threads(self, tmp_path):
        Image.fromarray(noise(30, 30, 3)).save(tmp_path / "a.png")
        loaded = []
        threads = [threading.Thread(target=lambda: loaded.append(load_image(tmp_path / "a.png"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(loaded) == 8 and all(torch.equal(image, loaded[0]) for image in loaded)


def test_without_pillow_only_files_are_out_of_reach(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    assert images.load_image(torch.zeros(3, 2, 2)).shape == (3, 2, 2)
    for call in (lambda: images.load_image("a.png"), lambda: images.save_image(torch.zeros(3, 2, 2), "a.png")):
        with pytest.raises(ImportError, match=r"pip install pillow"):
            call()
