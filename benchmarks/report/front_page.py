"""The table of the main README: one row an operation, at its headline case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import families
from benchmarks.report.results import describe, device, not_measured
from benchmarks.report.tables import groups, is_rival, ratio

_HEADER = (
    "| operation | case | machine | ours / bound | eager / ours | best peer / ours |\n|---|---|---|---:|---:|---:|\n"
)


def summary(documents: Sequence[Mapping[str, Any]]) -> str:
    """One row an operation: how far ours is from its bound, and how many times longer eager and the best peer take.

    An operation that was measured on several CPUs, or GPUs, has the row of the latest measurement.
    """
    latest: dict[tuple[int, str, str], tuple[str, str]] = {}
    for document in documents:
        for place, name in enumerate(families.names()):
            suite = document["suites"].get(name)
            for operation, row in _rows(name, suite) if suite else ():
                key = (place, device(document), operation)
                latest[key] = max(latest.get(key, ("", "")), (suite["metadata"]["date"], row), key=lambda item: item[0])
    order = sorted(latest, key=lambda key: key[:2])
    parts = [_HEADER + "\n".join(latest[key][1] for key in order)]
    parts += [_missing(document) for document in documents if not_measured(document)]
    return "\n\n".join(parts)


def _missing(document: Mapping[str, Any]) -> str:
    about = next(iter(document["suites"].values()))["metadata"]
    return f"Not measured on {describe(about)}: {', '.join(not_measured(document))}."


def _rows(family: str, suite: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Operations and their rows; those without any figure have none."""
    machine, label = describe(suite["metadata"]), families.headline(family)
    for operation, cases in groups(suite).items():
        headline = next((case for case in cases if case["label"] == label), cases[0])
        figures = _figures(headline)
        if any(figures[1:]):
            shape = f"{headline['label']} {figures[0]}".strip()
            yield operation, f"| {' | '.join([operation, shape, machine, *figures[1:]])} |"


def _figures(case: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Which of ours is compared, and its ratios to the bound, to eager PyTorch and to the best peer."""
    ok = {name: result["median_s"] for name, result in case["results"].items() if result["status"] == "ok"}
    # The bound holds for the dtype of the case, so that one in bfloat16 is another operation.
    mine = {name: seconds for name, seconds in ok.items() if name.startswith("cnnfast") and "bfloat16" not in name}
    if not mine:
        return "", "", "", ""
    best = min(mine, key=lambda name: mine[name])
    ours = mine[best]
    note = best.removeprefix("cnnfast").strip()
    eager = {name: seconds for name, seconds in ok.items() if name == "eager" or name.startswith("torch.optim")}
    peers = {name: seconds for name, seconds in ok.items() if is_rival(name) and name not in eager}
    return (
        f"({note})" if note else "",
        ratio(ours / case["bound_s"]) if "bound_s" in case else "",
        _faster(min(eager.values()) / ours) if eager else "",
        f"{_faster(min(peers.values()) / ours)} ({min(peers, key=lambda name: peers[name])})" if peers else "",
    )


def _faster(factor: float) -> str:
    """A ratio to ours, in bold where it is lost."""
    return f"**{ratio(factor)}**" if factor < 1 else ratio(factor)
