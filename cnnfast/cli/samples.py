"""``cnnfast samples``: pictures to try the other commands with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cnnfast._atomic import atomic_write
from cnnfast._errors import InputError
from cnnfast._options import argument
from cnnfast.detection.data import SyntheticInstances, write_coco
from cnnfast.images import sample_picture, save_image
from cnnfast.images.samples import PHOTOS, SAMPLES, samples_folder

_TRAINING, _TEST = SyntheticInstances(128, size=96, objects=2), SyntheticInstances(32, 10_000_000, 96, 2)


@dataclass(kw_only=True)
class Options:
    """Of the command; see `cnnfast._options`."""

    folder: Path = argument("folder to write to; it is made if it does not exist")


def run(options: Options) -> int:
    """Writes the pictures; returns the exit status."""
    source = samples_folder("cnnfast samples")
    if options.folder.exists() and not options.folder.is_dir():
        raise InputError(f"{options.folder}: expected a folder, got a file")
    for name, content, write in _entries(source):
        path = options.folder / name
        if path.exists():
            print(f"{path}: left as it is, it exists")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        print(f"{path}: {content}", flush=True)
    return 0


def _entries(source: Path) -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Path below the folder, what it is, and how it is written."""
    for name, sample in SAMPLES.items():
        yield f"{name}.png", sample.content, partial(_write_sample, name)
    for name in PHOTOS:
        yield f"photos/{name}", "a photograph to train on", partial(_copy, source / name)
    for part, data in (("train", _TRAINING), ("test", _TEST)):
        content = f"{len(data)} pictures of shapes with their masks, in COCO's format"
        yield f"shapes/{part}.json", content, partial(_write_shapes, data)


def _write_sample(name: str, path: Path) -> None:
    save_image(sample_picture(name), path)


def _copy(source: Path, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(source.read_bytes())


def _write_shapes(data: SyntheticInstances, path: Path) -> None:
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    write_coco(data, folder, path)
