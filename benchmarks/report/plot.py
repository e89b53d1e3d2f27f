"""A plot a machine: how many times faster than eager PyTorch the Gram operators are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.results import RESULTS
from benchmarks.report.tables import groups


def draw(document: Mapping[str, Any], folder: Path = RESULTS) -> Path | None:
    """Bars of how many times faster than eager each implementation is; None without a Gram suite or matplotlib."""
    suite = document["suites"].get("gram")
    if suite is None:
        return None
    try:
        import matplotlib
    except ImportError:
        # `make gpu` needs torch and numpy only, and the tables do without a plot.
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [case for case in suite["cases"] if case["dtype"] == "float32" and "channels_last" not in case["label"]]
    panels = groups({"cases": shown})
    if not panels:
        return None
    matplotlib.rcParams["svg.hashsalt"] = "cnnfast"
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False, layout="constrained")
    for axis, (group, cases) in zip(axes[0], panels.items(), strict=True):
        _panel(axis, group, cases)
    axes[0][0].set_ylabel("times faster than eager PyTorch")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.suptitle(document["machine"], fontsize=10)
    path = folder / f"{document['machine']}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _panel(axis: Any, group: str, cases: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for case in cases for name in case["results"]))
    width = 0.8 / len(names)
    for offset, name in enumerate(names):
        heights = []
        for case in cases:
            eager, own = case["results"]["eager"], case["results"].get(name, {"status": "absent"})
            both = eager["status"] == own["status"] == "ok"
            heights.append(eager["median_s"] / own["median_s"] if both else 0.0)
        axis.bar([i + (offset + 0.5) * width - 0.4 for i in range(len(cases))], heights, width, label=name)
    for i, case in enumerate(cases):
        if case["results"]["eager"]["status"] == "ok":
            limit = case["results"]["eager"]["median_s"] / case["bound_s"]
            label = "measured limit of the machine" if i == 0 else None
            axis.hlines(limit, i - 0.42, i + 0.42, colors="black", linewidth=1, label=label)
    axis.axhline(1, color="grey", linewidth=0.5)
    labels = [case["label"].removesuffix(" contiguous") for case in cases]
    axis.set_xticks(range(len(cases)), labels, rotation=30, ha="right", fontsize=8)
    axis.set_title(group, fontsize=10)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
