"""Progress of a run over a picture, for people who call it from Python."""

from __future__ import annotations

from collections.abc import Callable

from cnnfast.models.style.picture.levels import RunProgress


def print_progress(every: int = 25) -> Callable[[RunProgress], None]:
    """A callback of `synthesize_texture` and `stylize` that prints a line now and then, and at the end of each level.

    Args:
        every: iterations between two lines.

    Raises:
        ValueError: below 1.

    Example:
        >>> from cnnfast.models.style import print_progress
        >>> from cnnfast.models.style.picture.levels import RunProgress
        >>> show = print_progress(every=10)
        >>> show(RunProgress(1, 2, 20, 60, 0.125, (64, 48), None, None))
        level 1/2 48x64  iteration 20/60  loss 0.125
    """
    if every < 1:
        raise ValueError(f"print_progress: expected every of at least 1, got {every}")

    def show(progress: RunProgress) -> None:
        if progress.iteration % every == 0 or progress.iteration == progress.iterations:
            height, width = progress.size
            print(
                f"level {progress.level}/{progress.levels} {width}x{height}  "
                f"iteration {progress.iteration}/{progress.iterations}  loss {progress.loss:.3g}",
                flush=True,
            )

    return show
