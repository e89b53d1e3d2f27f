"""Views of KITTI odometry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cnnfast.models.view_synthesis.data.base import (
    Frame,
    ViewDataError,
    ViewPairs,
    check_pairs,
    chosen_folders,
    existing_folder,
    intrinsics,
    numbered_pictures,
    numbers_of,
    read_lines,
    rigid_motion,
)


class KittiOdometry(ViewPairs):
    """Pairs of views of KITTI odometry; see `ViewPairs` for the items.

    The folder is as the data set is handed out::

        ROOT/sequences/00/image_2/000000.png ...
        ROOT/sequences/00/calib.txt           lines P0: to P3:, the 12 numbers of each projection
        ROOT/poses/00.txt                     a line a frame, 12 numbers, camera 0 to world

    Args:
        root: the folder.
        sequences: such as ("00", "01"); None for all that have poses. "00" to "08" are often the training set, and
            "09" and "10" the test set.
        camera: 2 and 3 are the left and right colour cameras, 0 and 1 the grey ones.
        offsets: frames from source to target.
        size: (height, width) of the pictures; sequences differ by a few pixels.

    Raises:
        ViewDataError: folders or files are missing or cannot be used.
        TypeError: offsets or size that are no integers.
        ValueError: another camera, no offsets, an offset of 0, a size below 1.

    Source: Geiger, Lenz, Urtasun, "Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite", CVPR 2012.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Sequence[str] | None = None,
        *,
        camera: int = 2,
        offsets: Sequence[int] = (1,),
        size: Sequence[int] | None = None,
    ) -> None:
        if camera not in (0, 1, 2, 3):
            raise ValueError(f"KittiOdometry: expected camera 0, 1, 2 or 3, got {camera!r}")
        poses = existing_folder(Path(root) / "poses")
        folders = chosen_folders(Path(root) / "sequences", sequences)
        if sequences is None:  # half of the sequences have no poses
            folders = [folder for folder in folders if (poses / f"{folder.name}.txt").exists()]
        clips = [_sequence(folder, poses / f"{folder.name}.txt", camera) for folder in folders]
        super().__init__(clips, offsets=offsets, size=size)
        check_pairs(self, root)


def _sequence(folder: Path, poses: Path, camera: int) -> list[Frame | None]:
    K, shift = _projection(folder / "calib.txt", f"P{camera}:")
    lines = read_lines(poses)
    clip: list[Frame | None] = [None] * len(lines)
    for number, path in numbered_pictures(folder / f"image_{camera}", (".png", ".jpg")):
        if number >= len(lines):
            raise ViewDataError(f"{poses}: expected a pose of {path}, got {len(lines)} lines")
        where = f"line {number + 1}"
        camera_to_world = rigid_motion(poses, numbers_of(poses, lines[number], where, 12).reshape(3, 4), where)
        clip[number] = Frame(path, K, shift @ torch.linalg.inv(camera_to_world))
    return clip


def _projection(path: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Intrinsics of a camera, and the motion from camera 0's frame to its own: P = K [I | shift]."""
    for line in read_lines(path):
        if line.startswith(name):
            P = numbers_of(path, line[len(name) :], name, 12).reshape(3, 4)
            K = intrinsics(path, P[:, :3], name)
            motion = np.concatenate([np.eye(3), np.linalg.solve(P[:, :3], P[:, 3:])], 1)
            return K, rigid_motion(path, motion, name)
    raise ViewDataError(f"{path}: expected a line {name}, got none")
