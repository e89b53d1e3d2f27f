"""Coarse-to-fine schedules: sizes, numbers and iterations of levels."""

from __future__ import annotations

from collections.abc import Sequence

from cnnfast.arguments.checks import whole_number


def reduced_size(size: tuple[int, int], factor: float, multiple: int = 1) -> tuple[int, int]:
    """(height, width) divided by a factor and rounded to multiples of some px, at least one of them."""
    height, width = (max(1, round(side / (factor * multiple))) * multiple for side in size)
    return height, width


def number_of_levels(function: str, levels: str | int, automatic: int) -> int:
    """The number that the caller gave, or the automatic one.

    Raises:
        ValueError: not "auto" and no number of at least 1.
    """
    if levels == "auto":
        return automatic
    if not isinstance(levels, int) or isinstance(levels, bool) or levels < 1:
        raise ValueError(f"{function}: expected levels to be 'auto' or at least 1, got {levels!r}")
    return levels


def iterations_of_levels(
    function: str, usual: list[int], iterations: int | Sequence[int] | None, initial: int | None = None
) -> list[int]:
    """Iterations of every level; a single number is that of the finest level and scales the usual ones of the others.

    `initial` are those of the coarsest level, whatever the others have.

    Raises:
        ValueError: iterations that are negative or not one a level.
    """
    if iterations is None:
        numbers = usual
    elif isinstance(iterations, int):
        numbers = [max(1, round(iterations * number / usual[-1])) for number in usual[:-1]] + [iterations]
    else:
        numbers = list(iterations)
    if initial is not None:
        first = whole_number(initial)
        if first is None or first < 1:
            raise ValueError(f"{function}: expected initial_iterations of at least 1, got {initial!r}")
        numbers = [first, *numbers[1:]]
    if len(numbers) != len(usual):
        raise ValueError(f"{function}: expected iterations for {len(usual)} levels, got {len(numbers)} numbers")
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise ValueError(f"{function}: expected iterations of at least 0, got {iterations!r}")
    return numbers
