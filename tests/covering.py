"""Covering samples: few rows of a table of options in which every combination of a few options still occurs."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Hashable, Sequence


def combinations_of(row: Sequence[Hashable], strength: int) -> list[tuple]:
    """Every combination of `strength` options of a row, each option with its column."""
    return list(itertools.combinations(enumerate(row), min(strength, len(row))))


def covering(rows: Sequence[Sequence[Hashable]], strength: int = 2) -> list[int]:
    """Indices of rows that have between them every combination of `strength` options that any row has.

    Greedy: the row with the most combinations that are missing so far comes next. Equals come in a random order, the
    same in every run.

    Args:
        rows: Options of each row, a column an axis.
        strength: 2 for each pair of options, 1 for each option.
    """
    contents = [combinations_of(row, strength) for row in rows]
    missing = set(itertools.chain.from_iterable(contents))
    order = random.Random(0).sample(range(len(rows)), len(rows))
    queue = [(-len(contents[index]), place, index) for place, index in enumerate(order)]
    heapq.heapify(queue)
    chosen = []
    while missing:
        _, place, index = heapq.heappop(queue)
        gain = sum(combination in missing for combination in contents[index])
        if queue and (-gain, place) > queue[0][:2]:
            # Rows chosen since have taken some of its combinations: back into the queue.
            heapq.heappush(queue, (-gain, place, index))
        elif gain:
            chosen.append(index)
            missing.difference_update(contents[index])
    return sorted(chosen)
