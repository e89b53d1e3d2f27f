"""What data sets of views have in common: frames with cameras, paired at chosen distances in time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cnnfast._errors import InputError
from cnnfast.arguments.checks import whole_number
from cnnfast.geometry import intrinsics_from_normalized, relative_pose, scale_intrinsics
from cnnfast.images import load_image, resize

# How far R R^T may be from the identity: files have few digits, and some poses are estimates.
_RIGID = 1e-2


class ViewDataError(InputError):
    """A folder or a file of cameras cannot be read or used; the message is one line and names it."""


@dataclass(frozen=True)
class Frame:
    """A picture of a moving camera.

    Attributes:
        path: the picture's file.
        K: intrinsics [3,3], float64, in px of the stored picture, or as parts of its sides.
        world_to_camera: rigid motion [4,4], float64.
        normalized: whether K is in parts of the sides, see `cnnfast.geometry.intrinsics_from_normalized`.
    """

    path: Path
    K: Tensor
    world_to_camera: Tensor
    normalized: bool = False


class ViewPairs(Dataset[dict[str, Tensor]]):
    """Pairs of frames of the same clip, a source and a target.

    An item is a dict of

    - source, target [3,H,W] float32, RGB in [0,1], as they are stored, not turned as an EXIF orientation says;
    - K_src, K_tgt [3,3] float32 in px of these pictures, pixel centres at integers;
    - R [3,3], t [3] float32, the pose X_tgt = R X_src + t.

    Args:
        clips: the frames of each clip, in order; None for a frame that cannot be used, which has no pairs.
        offsets: how many frames the target comes after the source, negative for before; all that exist are paired.
        size: (height, width) of the pictures in items; None leaves them as they are stored.

    Attributes:
        pairs: (source, target) of each item.

    Raises:
        TypeError: offsets or size that are no integers.
        ValueError: no offsets, an offset of 0, a size below 1.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from cnnfast.images import save_image
        >>> from cnnfast.models.view_synthesis.data import Frame, ViewPairs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "picture.png")
        ...     save_image(torch.zeros(3, 4, 6), path)
        ...     still = Frame(path, torch.eye(3).double(), torch.eye(4).double())
        ...     views = ViewPairs([[still, still, None, still]], offsets=(1, -1))
        ...     len(views), views[0]["target"].shape
        (2, torch.Size([3, 4, 6]))
    """

    def __init__(
        self,
        clips: Iterable[Sequence[Frame | None]],
        *,
        offsets: Sequence[int] = (1,),
        size: Sequence[int] | None = None,
    ) -> None:
        name = type(self).__name__
        self._size = None if size is None else _integers(name, "size", size)
        if self._size is not None and (len(self._size) != 2 or min(self._size) < 1):
            raise ValueError(f"{name}: expected size (height, width) of at least 1 px each, got {size!r}")
        steps = _integers(name, "offsets", offsets)
        if not steps or 0 in steps:
            raise ValueError(f"{name}: expected offsets of frames other than 0, at least one, got {offsets!r}")
        self.pairs = [pair for clip in clips for pair in _pairs(clip, steps)]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """A pair of views.

        Raises:
            IndexError: there is no such pair.
            ImageError: a picture cannot be read.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: expected an index below {len(self)}, got {index}")
        source, target = self.pairs[index]
        (source_picture, K_src), (target_picture, K_tgt) = self._view(source), self._view(target)
        R, t = relative_pose(source.world_to_camera, target.world_to_camera)
        cameras = {"K_src": K_src.float(), "K_tgt": K_tgt.float(), "R": R.float(), "t": t.float()}
        return {"source": source_picture, "target": target_picture, **cameras}

    def _view(self, frame: Frame) -> tuple[Tensor, Tensor]:
        picture, K = load_image(frame.path, upright=False), frame.K
        height, width = picture.shape[1:]
        if frame.normalized:
            K = intrinsics_from_normalized(K[0, 0], K[1, 1], K[0, 2], K[1, 2], height, width)
        if self._size is not None:
            picture = resize(picture, self._size)
            K = scale_intrinsics(K, self._size[1] / width, self._size[0] / height)
        return picture, K


def _pairs(clip: Sequence[Frame | None], steps: Sequence[int]) -> Iterator[tuple[Frame, Frame]]:
    for index, source in enumerate(clip):
        for step in steps:
            target = clip[index + step] if 0 <= index + step < len(clip) else None
            if source is not None and target is not None:
                yield source, target


def _integers(function: str, name: str, values: Sequence[int]) -> list[int]:
    numbers = [whole_number(value) for value in values] if isinstance(values, Sequence) else [None]
    integers = [number for number in numbers if number is not None]
    if len(integers) < len(numbers):
        raise TypeError(f"{function}: expected {name} a sequence of integers, got {values!r}")
    return integers


def check_pairs(views: ViewPairs, where: str | os.PathLike[str]) -> None:
    """Raise ViewDataError if there is no pair."""
    if not views.pairs:
        raise ViewDataError(f"{where}: expected two frames with cameras at the offsets that were asked for, got none")


def existing_folder(path: Path) -> Path:
    """The folder, or an error that names it."""
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing"
        raise ViewDataError(f"{path}: expected a folder, got {what}")
    return path


def chosen_folders(root: Path, chosen: Sequence[str] | None) -> list[Path]:
    """The folders in a folder that were asked for, or all of them by name if None."""
    if isinstance(chosen, str):
        raise TypeError(f"expected a sequence of names of folders in {root}, got the word {chosen!r}")
    if chosen is not None:
        return [existing_folder(root / name) for name in chosen]
    return sorted(path for path in existing_folder(root).iterdir() if path.is_dir())


def numbered_pictures(folder: Path, endings: Sequence[str]) -> list[tuple[int, Path]]:
    """The pictures of a folder whose names are numbers, in their order."""
    files = (path for path in existing_folder(folder).iterdir() if path.suffix.lower() in endings)
    found = sorted((int(path.stem), path) for path in files if path.stem.isdecimal())
    if not found:
        raise ViewDataError(f"{folder}: expected pictures NUMBER{' or NUMBER'.join(endings)}, got none")
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones at its end.

    Raises:
        ViewDataError: there is no such file, or it is no text.
    """
    if path.exists() and not path.is_file():  # reading from a pipe would block
        raise ViewDataError(f"{path}: expected a text file, got something else")
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as error:
        raise ViewDataError(f"{path}: expected a text file, got: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ViewDataError(f"{path}: expected a text file, got bytes that are no text") from error


def numbers_of(path: Path, line: str, where: str, count: int) -> np.ndarray:
    """The numbers of a line, float64 [count]; they need not be finite.

    Raises:
        ViewDataError: something else, or another count; the message names file and place.
    """
    words = line.split()
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        raise ViewDataError(f"{path}: expected {count} numbers in {where}, got {line[:80]!r}") from None
    if len(numbers) != count:
        raise ViewDataError(f"{path}: expected {count} numbers in {where}, got {len(numbers)}")
    return numbers


def read_matrix(path: Path) -> np.ndarray:
    """A text file of a 4x4 matrix, a row a line; entries need not be finite."""
    lines = read_lines(path)
    if len(lines) != 4:
        raise ViewDataError(f"{path}: expected 4 rows of 4 numbers, got {len(lines)} lines")
    return np.stack([numbers_of(path, line, f"line {number}", 4) for number, line in enumerate(lines, 1)])


def rigid_motion(path: Path, entries: np.ndarray, where: str) -> Tensor:
    """The rigid motion [4,4] of its upper rows [3,4].

    Raises:
        ViewDataError: entries that are not finite, or no rotation; the message names file and place.
    """
    R = entries[:, :3]
    if not np.isfinite(entries).all():
        raise ViewDataError(f"{path}: expected finite numbers in {where}, got {entries.ravel().tolist()}")
    if np.abs(R @ R.T - np.eye(3)).max() > _RIGID or np.linalg.det(R) < 0:
        raise ViewDataError(f"{path}: expected a rotation and a translation in {where}, got {entries.ravel().tolist()}")
    return torch.from_numpy(np.vstack([entries, [0.0, 0.0, 0.0, 1.0]]))


def intrinsics(path: Path, matrix: np.ndarray, where: str) -> Tensor:
    """Intrinsics [3,3] of a file.

    Raises:
        ViewDataError: focal lengths that are not above 0, or a last row other than (0, 0, 1).
    """
    usable = np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not usable or matrix[2].tolist() != [0.0, 0.0, 1.0]:
        raise ViewDataError(f"{path}: expected intrinsics of a camera in {where}, got {matrix.tolist()}")
    return torch.from_numpy(np.ascontiguousarray(matrix))
