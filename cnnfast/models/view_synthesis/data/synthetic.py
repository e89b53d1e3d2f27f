"""Views of synthetic scenes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cnnfast.arguments.checks import check_word, number_from_zero, whole_number
from cnnfast.models.view_synthesis.scenes import (
    MOST_PLANES,
    POSES,
    camera,
    covisible,
    default_texel,
    random_pose,
    random_scene,
    render,
)
from cnnfast.models.view_synthesis.textures import load_textures


class PlaneScenes(Dataset[dict[str, Tensor]]):
    """Pairs of views of synthetic rooms, each with a scene and a pose of its own; see `random_scene`.

    An item has what those of `ViewPairs` have (source, target, K_src, K_tgt, R, t), and the truth:

    - inverse_depth [1,H,W] float32, of the source view, in 1/m;
    - source_plane, target_plane [H,W] int64, which plane each pixel shows;
    - planes [7,3] float32, normal by distance of each plane in the source frame, rows of 0 after the last one;
    - covisible [H,W] bool, pixels of the target that the source shows too.

    Args:
        count: number of pairs.
        seed: pair i is the same for the same seed, size and other options.
        size: side of the pictures in px.
        split: "train" or "test", whose textures differ.
        poses: one of `cnnfast.models.view_synthesis.scenes.POSES`.
        factor: of the poses' ranges.
        texel: side of a texel in m; None for that of `default_texel`.

    Raises:
        ImportError: scikit-image, which brings the textures, is not installed.
        TypeError: numbers that are none.
        ValueError: numbers out of range, unknown words.

    Example:
        >>> from cnnfast.models.view_synthesis.data import PlaneScenes
        >>> views = PlaneScenes(10, size=24, split="test")
        >>> len(views), views[3]["source"].shape, views[3]["planes"].shape
        (10, torch.Size([3, 24, 24]), torch.Size([7, 3]))
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        *,
        size: int = 24,
        split: str = "train",
        poses: str = "full",
        factor: float = 1.0,
        texel: float | None = None,
    ) -> None:
        for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size", size, 1)):
            number = whole_number(value)
            if number is None:
                raise TypeError(f"PlaneScenes: expected {name} an integer, got {value!r}")
            if number < least:
                raise ValueError(f"PlaneScenes: expected {name} of at least {least}, got {number}")
        check_word("PlaneScenes", "poses", poses, tuple(POSES))
        self._texel = default_texel(size) if texel is None else number_from_zero("PlaneScenes", "texel", texel)
        if self._texel == 0:
            raise ValueError("PlaneScenes: expected texel above 0, got 0")
        self._factor = number_from_zero("PlaneScenes", "factor", factor)
        self._count, self._seed, self._side, self._poses = count, seed, size, poses
        self._textures = load_textures(split)

    def __len__(self) -> int:
        """Number of pairs."""
        return self._count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """A pair of views.

        Raises:
            IndexError: there is no such pair.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"PlaneScenes: expected an index below {len(self)}, got {index}")
        generator = np.random.default_rng([self._seed, index % len(self)])
        scene = random_scene(generator, self._textures, self._texel)
        R, t = random_pose(generator, self._poses, self._factor)
        K, size = camera(self._side), (self._side, self._side)
        source = render(scene, K, np.eye(3), np.zeros(3), size)
        target = render(scene, K, R, t, size)
        planes = np.zeros((MOST_PLANES, 3))
        planes[: len(scene.planes)] = scene.scaled_normals
        both = covisible(target.depth, source.depth, K, K, R, t)
        arrays = {"K_src": K, "K_tgt": K, "R": R, "t": t, "inverse_depth": 1 / source.depth[None], "planes": planes}
        return {
            "source": torch.from_numpy(source.image),
            "target": torch.from_numpy(target.image),
            "source_plane": torch.from_numpy(source.plane),
            "target_plane": torch.from_numpy(target.plane),
            "covisible": torch.from_numpy(both),
            **{name: torch.from_numpy(array).float() for name, array in arrays.items()},
        }
