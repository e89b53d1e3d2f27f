"""The schedule of texture synthesis: how many levels, their sizes, their iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnfast.models.style.picture.schedule import iterations_of_levels, number_of_levels, reduced_size
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS

SMALLEST_SIDE = 64


class Level(NamedTuple):
    """One step of the schedule: (height, width) of the reduced sample and of the picture, and the iterations."""

    sample: tuple[int, int]
    picture: tuple[int, int]
    iterations: int


def count_levels(sample: tuple[int, int], picture: tuple[int, int]) -> int:
    """Number of levels, max(1, floor(log2(shortest side / 64)) + 1), so that the coarsest side has 64..127 px.

    Example:
        >>> from cnnfast.models.style.texture.schedule import count_levels
        >>> count_levels((128, 128), (256, 256)), count_levels((600, 500), (512, 700)), count_levels((40, 40), (900, 9))
        (2, 3, 1)
    """
    shortest = min(*sample, *picture)
    return max(1, (shortest // SMALLEST_SIDE).bit_length())


def plan_levels(
    sample: tuple[int, int],
    picture: tuple[int, int],
    *,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    preset: str = "fast",
    multiple: int = 1,
) -> list[Level]:
    """The schedule, coarse to fine; sample and picture shrink by the same factor 2 from level to level.

    Args:
        sample: (height, width) of the sample in px.
        picture: (height, width) of the picture to make in px.
        levels: "auto" (see :func:`count_levels`) or a number.
        iterations: of every level, coarse to fine; a single number is that of the finest level, and coarser ones get
            the same share of it as in the preset; None takes the preset.
        preset: name in :data:`~cnnfast.models.style.texture.presets.TEXTURE_PRESETS`.
        multiple: coarser pictures are rounded to multiples of this many px (periodic pictures tile best so).

    Returns:
        One :class:`Level` each.

    Raises:
        ValueError: an unknown preset, a number of levels below 1, iterations that are negative or not one a level.

    Example:
        >>> from cnnfast.models.style.texture.schedule import plan_levels
        >>> for level in plan_levels((128, 128), (256, 320), iterations=(50, 100)):
        ...     print(*level)
        (64, 64) (128, 160) 50
        (128, 128) (256, 320) 100
    """
    count = number_of_levels("synthesize_texture", levels, count_levels(sample, picture))
    if preset not in TEXTURE_PRESETS:
        raise ValueError(f"synthesize_texture: expected a preset among {', '.join(TEXTURE_PRESETS)}, got {preset!r}")
    coarse, fine = TEXTURE_PRESETS[preset]
    numbers = iterations_of_levels("synthesize_texture", [coarse] * (count - 1) + [fine], iterations)
    plan = []
    for index, number in enumerate(numbers):
        factor = 2 ** (count - 1 - index)
        step = multiple if factor > 1 else 1
        plan.append(Level(reduced_size(sample, factor), reduced_size(picture, factor, step), number))
    return plan
