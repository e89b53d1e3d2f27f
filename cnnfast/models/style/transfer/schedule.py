"""The schedule of style transfer: how many levels, their sizes, their iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnfast.models.style.picture.schedule import iterations_of_levels, number_of_levels, reduced_size
from cnnfast.models.style.transfer.presets import StylePreset


class StyleLevel(NamedTuple):
    """One step of style transfer: (height, width) of the picture and of every style, and the iterations."""

    picture: tuple[int, int]
    styles: tuple[tuple[int, int], ...]
    iterations: int


def plan_style_levels(
    picture: tuple[int, int],
    styles: Sequence[tuple[int, int]],
    preset: StylePreset,
    *,
    levels: str | int = "auto",
    iterations: int | Sequence[int] | None = None,
    initial_iterations: int | None = None,
    fixed_styles: bool = False,
    minimum: int = 1,
) -> list[StyleLevel]:
    """The schedule of style transfer, coarse to fine; picture and styles shrink together by the preset's ratio.

    Args:
        picture: (height, width) of the picture to make in px.
        styles: (height, width) of every style on the finest level.
        preset: ratio of the sizes, largest number of levels, smallest longest side, and iterations.
        levels: "auto" for as many as the preset has, as long as every picture has the sides that the network needs.
        iterations: of every level, coarse to fine; a single number is that of the finest level, and coarser ones get
            the same share of it as in the preset; None takes the preset.
        initial_iterations: of the coarsest level, whatever the others have.
        fixed_styles: whether styles keep their size on all levels.
        minimum: px of a side that the network needs.

    Raises:
        ValueError: a number of levels below 1, iterations that are negative or not one a level.

    Example:
        >>> from cnnfast.models.style.transfer.presets import STYLE_PRESETS
        >>> from cnnfast.models.style.transfer.schedule import plan_style_levels
        >>> for level in plan_style_levels((192, 256), [(300, 200)], STYLE_PRESETS["cnnfast"], iterations=50):
        ...     print(*level)
        (96, 128) ((150, 100),) 100
        (192, 256) ((300, 200),) 50
    """
    automatic = 1
    if preset.smallest is not None:
        shrinking = min(min(size) for size in ((picture,) if fixed_styles else (picture, *styles)))
        while automatic < preset.levels:
            factor = preset.ratio**automatic
            if round(max(picture) / factor) < preset.smallest or round(shrinking / factor) < minimum:
                break
            automatic += 1
    count = number_of_levels("stylize", levels, automatic)
    first, middle, last = preset.iterations
    usual = [first, *[middle] * (count - 2), last] if count > 1 else [first]
    numbers = iterations_of_levels("stylize", usual, iterations, initial_iterations)
    plan = []
    for index, number in enumerate(numbers):
        factor = preset.ratio ** (count - 1 - index)
        sizes = tuple(size if fixed_styles else reduced_size(size, factor) for size in styles)
        plan.append(StyleLevel(reduced_size(picture, factor), sizes, number))
    return plan
