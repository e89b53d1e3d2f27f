"""Every writer on a file system that takes no more: an OSError that names the file, and the old file whole."""

from __future__ import annotations

import contextlib
import errno
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("safetensors")

from cnnfast._atomic import DISK_ERRORS
from cnnfast._checkpoint import save_checkpoint
from cnnfast._json import write_json
from cnnfast.images import ImageError, save_image
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.onnx import export_onnx
from cnnfast.weights.files import write_tensors

NOISE = torch.rand(3, 120, 120, generator=torch.Generator().manual_seed(0))
TENSORS = {"a": torch.rand(50_000), "b": torch.rand(50_000)}
WRITERS: dict[str, Callable[[Path], object]] = {
    "checkpoint.pt": lambda path: save_checkpoint(TENSORS, path),
    "network.pt": lambda path: write_tensors(path, TENSORS, {"arch": "a"}),
    "network.safetensors": lambda path: write_tensors(path, TENSORS, {"arch": "a"}),
    "picture.png": lambda path: save_image(NOISE, path),
    "picture16.png": lambda path: save_image(NOISE, path, bits=16),
    "picture.tif": lambda path: save_image(NOISE, path),
    "picture16.tif": lambda path: save_image(NOISE, path, bits=16),
    "picture.jpg": lambda path: save_image(NOISE, path, quality=100),
    "picture.webp": lambda path: save_image(NOISE, path, quality=100),
    "picture.bmp": lambda path: save_image(NOISE, path),
    "history.json": lambda path: write_json(path, list(range(20_000))),
}


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """The system lets no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def refused(write: Callable[[Path], object], path: Path) -> None:
    path.write_text("old")
    with at_most(5_000), pytest.raises((OSError, ImageError)) as caught:
        write(path)
    error = caught.value.__cause__ if isinstance(caught.value, ImageError) else caught.value
    assert isinstance(error, OSError) and error.errno == errno.EFBIG in DISK_ERRORS
    assert str(path) in str(caught.value) and "File too large" in str(caught.value)
    assert path.read_text() == "old" and [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", WRITERS)
def test_the_old_file_is_kept(name, tmp_path):
    refused(WRITERS[name], tmp_path / name)


@pytest.mark.slow
def test_an_exported_network(tmp_path):
    pytest.importorskip("onnxscript")
    refused(lambda path: export_onnx(TransformerNet((8, 16, 32)), path), tmp_path / "network.onnx")
