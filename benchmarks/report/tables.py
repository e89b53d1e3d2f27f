"""Results as Markdown: the tables of one machine in benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import families
from benchmarks.report.results import not_measured


def milliseconds(seconds: float) -> str:
    """Three significant digits, never in exponents."""
    value = 1e3 * seconds
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"


def ratio(value: float) -> str:
    """A factor with two or three significant digits."""
    return f"{value:.0f}x" if value >= 100 else f"{value:.1f}x" if value >= 10 else f"{value:.2f}x"


def is_rival(name: str) -> bool:
    """Whether an implementation is something that a user could take instead of ours."""
    return not name.startswith("cnnfast") and name not in ("objective alone", "without")


def cell(result: Mapping[str, Any] | None, ours: float | None, rival: bool = True) -> str:
    """Median, quartiles, and how many times longer it takes than ours; in bold where a rival is faster."""
    if result is None:
        return ""
    if result["status"] != "ok":
        return str(result["status"])
    text = f"{milliseconds(result['median_s'])} ({milliseconds(result['q1_s'])}-{milliseconds(result['q3_s'])})"
    if result["samples"] == 1:
        text = milliseconds(result["median_s"])
    if "loss" in result:
        text += f", loss {result['loss']:.3g}"
    return _compared(text, result["median_s"], ours, rival)


def _compared(text: str, value: float, ours: float | None, rival: bool) -> str:
    """The text and how many times ours the value is, in bold where a rival has less."""
    if ours is None:
        return text
    text = f"{text}, {ratio(value / ours)}"
    return f"**{text}**" if rival and value < ours else text


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the header; all columns but the first are aligned to the right."""
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Markdown table of the cases of one group: a row a case, a column an implementation, ours first."""
    names = list(dict.fromkeys(name for case in cases for name in case["results"]))
    bounded = any("bound_s" in case for case in cases)
    rows = [["case", *(["bound"] if bounded else []), *names]]
    for case in cases:
        first = case["results"][names[0]]
        ours = first.get("median_s")
        row = [case["label"] if case["dtype"] == "float32" else f"{case['label']} {case['dtype']}"]
        if bounded:
            row.append(milliseconds(case["bound_s"]) if "bound_s" in case else "")
        text = cell(first, None)
        if ours and "bound_s" in case:
            text += f", {ratio(ours / case['bound_s'])} bound"
        row += [text, *(cell(case["results"].get(name), ours, is_rival(name)) for name in names[1:])]
        rows.append(row)
    return _markdown(rows)


def memory_table(cases: Sequence[Mapping[str, Any]]) -> str | None:
    """Markdown table of the peak memory in the cases of one group; None where it was not measured.

    In parentheses the peak from the second iteration on, without what loading took, where that is less.
    """
    names = list(dict.fromkeys(name for case in cases for name in case["results"]))
    rows = [["case", "torch alone", *names]]
    for case in cases:
        known = {name: result for name, result in case["results"].items() if "peak_bytes" in result}
        if not known:
            continue
        ours = known[names[0]]["peak_bytes"] if names[0] in known else None
        start = min(result["start_bytes"] for result in known.values())
        cells = [_memory_cell(known.get(name), None if name == names[0] else ours, is_rival(name)) for name in names]
        rows.append([case["label"], f"{start / 1e6:.0f}", *cells])
    return _markdown(rows) if len(rows) > 1 else None


def _memory_cell(result: Mapping[str, Any] | None, ours: float | None, rival: bool) -> str:
    if result is None:
        return ""
    text = f"{result['peak_bytes'] / 1e6:.0f}"
    if result["loop_peak_bytes"] < result["peak_bytes"]:
        text += f" ({result['loop_peak_bytes'] / 1e6:.0f})"
    return _compared(text, result["peak_bytes"], ours, rival)


def groups(suite: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The cases of every group."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for case in suite["cases"]:
        found.setdefault(case["group"], []).append(case)
    return found


def reasons(suite: Mapping[str, Any]) -> list[str]:
    """Why implementations are missing from tables, each reason once."""
    listed: dict[str, None] = {}
    for case in suite["cases"]:
        for name, result in case["results"].items():
            if result["status"] != "ok":
                listed[f"{name}: {result['status']} ({result['reason']})"] = None
    return list(listed)


def losses(suite: Mapping[str, Any]) -> list[str]:
    """Cases in which something that is not ours is faster than the best of ours."""
    found = []
    for case in suite["cases"]:
        ok = {name: r["median_s"] for name, r in case["results"].items() if r["status"] == "ok"}
        mine = [seconds for name, seconds in ok.items() if name.startswith("cnnfast")]
        for name, seconds in ok.items():
            if mine and is_rival(name) and seconds < min(mine):
                found.append(
                    f"{case['group']}, {case['label']} {case['dtype']}: {name} is {ratio(min(mine) / seconds)} faster"
                )
    return found


def render(document: Mapping[str, Any]) -> str:
    """Everything about one machine, as Markdown."""
    missing = not_measured(document)
    parts = [f"## {document['machine']}"]
    for name in families.names():
        if name in missing:
            parts.append(f"### {name}\n\nNot measured on this machine.")
        elif name in document["suites"]:
            parts += [f"### {name}", *_render_suite(document["suites"][name])]
    return "\n\n".join(parts)


def _render_suite(suite: Mapping[str, Any]) -> list[str]:
    about, limits = suite["metadata"], suite["roofline"]
    peaks = ", ".join(f"{dtype} {rate / 1e9:.0f}" for dtype, rate in limits["flops_per_s"].items())
    parts = [
        f"{about['cpu']}, {about['threads']} threads, {about['capability']}, "
        f"torch {about['torch']}, cnnfast {about['cnnfast']} ({about['commit']}), Python {about['python']}, "
        f"{about['date']}. Measured limits: {peaks} GFLOP/s; {limits['copy_bytes_per_s'] / 1e9:.1f} GB/s copying, "
        f"{limits['read_bytes_per_s'] / 1e9:.1f} GB/s reading."
    ]
    if any("bound_s" in case and "new_memory_s" not in case for case in suite["cases"]):
        parts[0] += " These bounds leave out the time to allocate the results."
    for group, cases in groups(suite).items():
        parts.append(f"**{group}** (ms)\n\n{table(cases)}")
        if memory := memory_table(cases):
            parts.append(f"**{group}: peak resident memory** (MB)\n\n{memory}")
    if left_out := suite.get("left_out"):
        parts.append(f"Not measured, because the time for this run was over: {left_out} more cases.")
    if absent := reasons(suite):
        parts.append("Not measured:\n\n" + "\n".join(f"- {text}" for text in absent))
    lost = losses(suite)
    text = "\n\n" + "\n".join(f"- {line}" for line in lost) if lost else " none in this run."
    return [*parts, f"Where something else is faster:{text}"]
