"""Views of ScanNet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cnnfast.models.view_synthesis.data.base import (
    Frame,
    ViewPairs,
    check_pairs,
    chosen_folders,
    intrinsics,
    numbered_pictures,
    read_matrix,
    rigid_motion,
)


class ScanNet(ViewPairs):
    """Pairs of views of ScanNet; see `ViewPairs` for the items.

    The folder is what the data set's own SensReader extracts from each .sens file::

        ROOT/scene0000_00/color/0.jpg ...
        ROOT/scene0000_00/pose/0.txt ...                    4x4, camera to world
        ROOT/scene0000_00/intrinsic/intrinsic_color.txt     4x4, in px of the colour pictures

    Frames whose pose is infinite, where the tracking was lost, are left out.

    Args:
        root: folder of the scenes.
        scenes: names of scenes; None for all.
        offsets: frames from source to target, in the numbers of the files.
        size: (height, width) of the pictures.

    Raises:
        ViewDataError: folders or files are missing or cannot be used.
        TypeError: offsets or size that are no integers.
        ValueError: no offsets, an offset of 0, a size below 1.

    Source: Dai et al., "ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes", CVPR 2017.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        scenes: Sequence[str] | None = None,
        *,
        offsets: Sequence[int] = (1,),
        size: Sequence[int] | None = None,
    ) -> None:
        folders = chosen_folders(Path(root), scenes)
        super().__init__([_scene(folder) for folder in folders], offsets=offsets, size=size)
        check_pairs(self, root)


def _scene(folder: Path) -> list[Frame | None]:
    path = folder / "intrinsic" / "intrinsic_color.txt"
    K = intrinsics(path, read_matrix(path)[:3, :3], "the upper three rows")
    pictures = numbered_pictures(folder / "color", (".jpg", ".png"))
    clip: list[Frame | None] = [None] * (pictures[-1][0] + 1)  # files may have been thinned out
    for number, picture in pictures:
        pose = folder / "pose" / f"{picture.stem}.txt"
        matrix = read_matrix(pose)
        if np.isinf(matrix).any():
            continue
        camera_to_world = rigid_motion(pose, matrix[:3], "the upper three rows")
        clip[number] = Frame(picture, K, torch.linalg.inv(camera_to_world))
    return clip
