"""Coarse-to-fine schedules: how many levels, their sizes, their iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnfast.models.style.transfer.presets import StylePreset

SMALLEST_SIDE = 64

# Iterations of (every coarser level, the finest level).
PRESETS = {"fast": (60, 120), "good": (100, 200)}


class Level(NamedTuple):
    """One step of the schedule: (height, width) of the reduced sample and of the picture, and the iterations."""

    sample: tuple[int, int]
    picture: tuple[int, int]
    iterations: int


class StyleLevel(NamedTuple):
    """One step of style transfer: (height, width) of the picture and of every style, and the iterations."""

    picture: tuple[int, int]
    styles: tuple[tuple[int, int], ...]
    iterations: int


def count_levels(sample: tuple[int, int], picture: tuple[int, int]) -> int:
    """Number of levels, max(1, floor(log2(shortest side / 64)) + 1), so that the coarsest side has 64..127 px.

    Example:
        >>> from cnnfast.models.style.picture.schedule import count_levels
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
        preset: "fast" or "good".
        multiple: coarser pictures are rounded to multiples of this many px (periodic pictures tile best so).

    Returns:
        One :class:`Level` each.

    Raises:
        ValueError: an unknown preset, a number of levels below 1, iterations that are negative or not one a level.

    Example:
        >>> from cnnfast.models.style.picture.schedule import plan_levels
        >>> for level in plan_levels((128, 128), (256, 320), iterations=(50, 100)):
        ...     print(*level)
        (64, 64) (128, 160) 50
        (128, 128) (256, 320) 100
    """
    count = _count("synthesize_texture", levels, count_levels(sample, picture))
    if preset not in PRESETS:
        raise ValueError(f"synthesize_texture: expected a preset among {', '.join(PRESETS)}, got {preset!r}")
    coarse, fine = PRESETS[preset]
    numbers = _iterations("synthesize_texture", [coarse] * (count - 1) + [fine], iterations)
    plan = []
    for index, number in enumerate(numbers):
        factor = 2 ** (count - 1 - index)
        step = multiple if factor > 1 else 1
        plan.append(Level(_reduced(sample, factor, 1), _reduced(picture, factor, step), number))
    return plan


def plan_style_levels(
    picture: tuple[int, int],
    styles: Sequence[tuple[int, int]],
    preset: StylePreset,
    *,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    minimum: int = 1,
) -> list[StyleLevel]:
    """The schedule of style transfer, coarse to fine; picture and styles shrink together by the preset's ratio.

    Args:
        picture: (height, width) of the picture to make in px.
        styles: (height, width) of every style on the finest level.
        preset: ratio of the sizes, largest number of levels, smallest longest side, and iterations.
        levels: "auto" for as many as the preset has and leave every picture the sides that the network needs.
        iterations: of every level, coarse to fine; a single number is that of the finest level, and coarser ones get
            the same share of it as in the preset; None takes the preset.
        minimum: px of a side that the network needs.

    Raises:
        ValueError: a number of levels below 1, iterations that are negative or not one a level.

    Example:
        >>> from cnnfast.models.style.transfer.presets import STYLE_PRESETS
        >>> from cnnfast.models.style.picture.schedule import plan_style_levels
        >>> for level in plan_style_levels((192, 256), [(300, 200)], STYLE_PRESETS["cnnfast"], iterations=50):
        ...     print(*level)
        (96, 128) ((150, 100),) 100
        (192, 256) ((300, 200),) 50
    """
    automatic = 1
    if preset.smallest is not None:
        shortest = min(min(size) for size in (picture, *styles))
        while automatic < preset.levels:
            factor = preset.ratio**automatic
            if round(max(picture) / factor) < preset.smallest or round(shortest / factor) < minimum:
                break
            automatic += 1
    count = _count("stylize", levels, automatic)
    first, middle, last = preset.iterations
    usual = [first, *[middle] * (count - 2), last] if count > 1 else [first]
    plan = []
    for index, number in enumerate(_iterations("stylize", usual, iterations)):
        factor = preset.ratio ** (count - 1 - index)
        sizes = tuple(_reduced(size, factor, 1) for size in styles)
        plan.append(StyleLevel(_reduced(picture, factor, 1), sizes, number))
    return plan


def _reduced(size: tuple[int, int], factor: float, multiple: int) -> tuple[int, int]:
    height, width = (max(1, round(side / (factor * multiple))) * multiple for side in size)
    return height, width


def _count(function: str, levels: str | int, automatic: int) -> int:
    if levels == "auto":
        return automatic
    if not isinstance(levels, int) or isinstance(levels, bool) or levels < 1:
        raise ValueError(f"{function}: expected levels to be 'auto' or at least 1, got {levels!r}")
    return levels


def _iterations(function: str, usual: list[int], iterations: int | Sequence[int] | None) -> list[int]:
    """Iterations of every level from what a caller said; one number is the finest level's, others in proportion."""
    if iterations is None:
        numbers = usual
    elif isinstance(iterations, int):
        numbers = [max(1, round(iterations * number / usual[-1])) for number in usual[:-1]] + [iterations]
    else:
        numbers = list(iterations)
    if len(numbers) != len(usual):
        raise ValueError(f"{function}: expected iterations for {len(usual)} levels, got {len(numbers)} numbers")
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise ValueError(f"{function}: expected iterations of at least 0, got {iterations!r}")
    return numbers
