"""The loss of every iteration as a file and as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnfast._atomic import atomic_write
from cnnfast._errors import InputError
from cnnfast._json import write_json
from cnnfast._rooms import missing_package

_PLOTS = (".png", ".pdf", ".svg")


def write_history(path: Path, facts: Mapping[str, Any], history: list[list[float]]) -> None:
    """A JSON object: the facts, and one entry an iteration under "history"."""
    entries = [{"level": int(level), "iteration": int(i), "loss": loss} for level, i, loss in history]
    write_json(path, {**facts, "history": entries}, indent=1)


def check_plot(path: Path) -> None:
    """Refuses, before the work, what matplotlib would refuse after it.

    Raises:
        InputError: an ending that is none of ours.
        MissingPackageError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _PLOTS:
        raise InputError(f"--plot: expected a path ending in {', '.join(_PLOTS)}, got {path}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise missing_package("--plot", "matplotlib") from error


def plot_history(path: Path, history: list[list[float]], label: str = "relative loss") -> None:
    """The loss over all iterations, on a logarithmic axis, with a line where a new level begins."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogy(range(1, len(history) + 1), [loss for _, _, loss in history])
    for index in range(1, len(history)):
        if history[index][0] != history[index - 1][0]:
            axes.axvline(index + 0.5, color="0.7", linewidth=0.8)
    axes.set(xlabel="iteration", ylabel=label)
    axes.grid(True, alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
