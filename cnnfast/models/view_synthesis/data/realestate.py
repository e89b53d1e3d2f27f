"""Views of RealEstate10K."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnfast.models.view_synthesis.data.base import (
    Frame,
    ViewDataError,
    ViewPairs,
    check_pairs,
    existing_folder,
    intrinsics,
    numbers_of,
    read_lines,
    rigid_motion,
)

_ENDINGS = (".png", ".jpg", ".jpeg")


class RealEstate10K(ViewPairs):
    """Pairs of views of RealEstate10K; see `ViewPairs` for the items.

    The data set is text files; the frames, of videos, are cut out by the user::

        CAMERAS/CLIP.txt              the video's address, then a line a frame: its time in microseconds, fx fy cx cy as
                                      parts of the sides, two zeros, and the 12 numbers of world to camera
        FRAMES/CLIP/TIME.png          or .jpg

    Frames without a picture are left out, and so are clips without a folder, since many videos are gone.

    Args:
        cameras: folder of the text files, such as RealEstate10K/train.
        frames: folder of the clips' folders.
        offsets: frames from source to target, counted in lines of the text file.
        size: (height, width) of the pictures.

    Raises:
        ViewDataError: folders or files are missing or cannot be used, or no frame has a picture.
        TypeError: offsets or size that are no integers.
        ValueError: no offsets, an offset of 0, a size below 1.

    Source: Zhou et al., "Stereo Magnification: Learning View Synthesis using Multiplane Images", SIGGRAPH 2018.
    """

    def __init__(
        self,
        cameras: str | os.PathLike[str],
        frames: str | os.PathLike[str],
        *,
        offsets: Sequence[int] = (1,),
        size: Sequence[int] | None = None,
    ) -> None:
        pictures = existing_folder(Path(frames))
        files = sorted(existing_folder(Path(cameras)).glob("*.txt"))
        if not files:
            raise ViewDataError(f"{cameras}: expected text files of cameras CLIP.txt, got none")
        clips = [_clip(file, pictures / file.stem) for file in files if (pictures / file.stem).is_dir()]
        super().__init__(clips, offsets=offsets, size=size)
        check_pairs(self, frames)


def _clip(path: Path, folder: Path) -> list[Frame | None]:
    pictures = {file.stem: file for file in folder.iterdir() if file.suffix.lower() in _ENDINGS}
    clip: list[Frame | None] = []
    for number, line in enumerate(read_lines(path)[1:], 2):
        where = f"line {number}"
        words = line.split(maxsplit=1)
        time, rest = (words[0], words[1]) if len(words) == 2 else (line, "")
        values = numbers_of(path, rest, f"{where} after the time", 18)
        picture = pictures.get(time)
        if picture is None:
            clip.append(None)
            continue
        fx, fy, cx, cy = values[:4]
        K = intrinsics(path, np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), where)
        clip.append(Frame(picture, K, rigid_motion(path, values[6:].reshape(3, 4), where), normalized=True))
    return clip
