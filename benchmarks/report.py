"""From benchmarks/results/*.json to tables in two README files and a plot a machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1
SUITES = ("gram", "convolution", "texture_step", "style", "style_levers", "lbfgs", "distance", "discs")
STATUSES = ("ok", "absent", "failed", "wrong")
FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
_METADATA = ("cpu", "threads", "capability", "torch", "cnnfast", "commit", "python", "system", "date")
_TIMES = ("median_s", "q1_s", "q3_s", "samples")
_DETAILS = ("<!-- results -->", "<!-- /results -->")
_SUMMARY = ("<!-- benchmarks -->", "<!-- /benchmarks -->")


def validate(document: Mapping[str, Any]) -> None:
    """Raise ValueError unless a document is one that the tables can be made from."""
    if document.get("schema") != SCHEMA:
        raise ValueError(f"validate: expected schema {SCHEMA}, got {document.get('schema')!r}")
    for name, suite in document["suites"].items():
        if name not in SUITES:
            raise ValueError(f"validate: expected a suite among {', '.join(SUITES)}, got {name!r}")
        for key in _METADATA:
            _require(key in suite["metadata"], name, f"metadata.{key}")
        _require(suite["roofline"]["bytes_per_s"] > 0, name, "roofline.bytes_per_s")
        for case in suite["cases"]:
            where = f"{name}, {case.get('group')}, {case.get('label')}"
            for key in ("group", "label", "dtype", "results"):
                _require(key in case, where, key)
            _require("bound_s" not in case or case["bound_s"] > 0, where, "bound_s")
            for who, result in case["results"].items():
                _validate_result(result, f"{where}, {who}")


def _validate_result(result: Mapping[str, Any], where: str) -> None:
    _require(result.get("status") in STATUSES, where, "status")
    if result["status"] == "ok":
        for key in _TIMES:
            _require(result.get(key, 0) > 0, where, key)
        _require(result["q1_s"] <= result["median_s"] <= result["q3_s"], where, "quartiles in order")
    else:
        _require(bool(result.get("reason")), where, "reason")


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ValueError(f"validate: expected {what} in {where}, got none or a wrong one")


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All documents of a folder, validated, in the order of their machines' names."""
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for document in documents:
        validate(document)
    return documents


def store(machine: str, suite: str, content: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Put one suite into a machine's file, leaving its other suites alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{machine}.json"
    document = json.loads(path.read_text()) if path.is_file() else {"schema": SCHEMA, "machine": machine, "suites": {}}
    document["suites"][suite] = content
    validate(document)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)
    return path


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
    if ours is None:
        return text
    factor = result["median_s"] / ours
    return f"**{text}, {ratio(factor)}**" if rival and factor < 1 else f"{text}, {ratio(factor)}"


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Markdown table of the cases of one group: a row a case, a column an implementation, ours first."""
    names = list(dict.fromkeys(name for case in cases for name in case["results"]))
    bounded = any("bound_s" in case for case in cases)
    header = ["case", *(["bound"] if bounded else []), *names]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
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
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def memory_table(cases: Sequence[Mapping[str, Any]]) -> str | None:
    """Markdown table of the peak memory in the cases of one group; None where it was not measured.

    In parentheses the peak from the second iteration on, without what loading took, where that is less.
    """
    names = list(dict.fromkeys(name for case in cases for name in case["results"]))
    rows = []
    for case in cases:
        known = {name: result for name, result in case["results"].items() if "peak_bytes" in result}
        if not known:
            continue
        ours = known[names[0]]["peak_bytes"] if names[0] in known else None
        start = min(result["start_bytes"] for result in known.values())
        cells = [_memory_cell(known.get(name), None if name == names[0] else ours, is_rival(name)) for name in names]
        rows.append([case["label"], f"{start / 1e6:.0f}", *cells])
    if not rows:
        return None
    header = ["case", "torch alone", *names]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _memory_cell(result: Mapping[str, Any] | None, ours: float | None, rival: bool) -> str:
    if result is None:
        return ""
    text = f"{result['peak_bytes'] / 1e6:.0f}"
    if result["loop_peak_bytes"] < result["peak_bytes"]:
        text += f" ({result['loop_peak_bytes'] / 1e6:.0f})"
    if ours is None:
        return text
    factor = result["peak_bytes"] / ours
    return f"**{text}, {ratio(factor)}**" if rival and factor < 1 else f"{text}, {ratio(factor)}"


def _groups(suite: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for case in suite["cases"]:
        groups.setdefault(case["group"], []).append(case)
    return groups


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
    parts = [f"## {document['machine']}"]
    for name in SUITES:
        suite = document["suites"].get(name)
        if suite is None:
            continue
        about, limits = suite["metadata"], suite["roofline"]
        peaks = ", ".join(f"{dtype} {rate / 1e9:.0f}" for dtype, rate in limits["flops_per_s"].items())
        parts.append(
            f"### {name}\n\n{about['cpu']}, {about['threads']} threads, {about['capability']}, "
            f"torch {about['torch']}, cnnfast {about['cnnfast']} ({about['commit']}), Python {about['python']}, "
            f"{about['date']}. Measured limits: {peaks} GFLOP/s; {limits['copy_bytes_per_s'] / 1e9:.1f} GB/s copying, "
            f"{limits['read_bytes_per_s'] / 1e9:.1f} GB/s reading."
        )
        for group, cases in _groups(suite).items():
            parts.append(f"**{group}** (ms)\n\n{table(cases)}")
            if memory := memory_table(cases):
                parts.append(f"**{group}: peak resident memory** (MB)\n\n{memory}")
        if missing := reasons(suite):
            parts.append("Not measured:\n\n" + "\n".join(f"- {text}" for text in missing))
        lost = losses(suite)
        text = "\n".join(f"- {line}" for line in lost) if lost else "none in this run."
        parts.append(f"Where something else is faster: {'' if not lost else chr(10) * 2}{text}")
    return "\n\n".join(parts)


def summary(documents: Sequence[Mapping[str, Any]]) -> str:
    """The short table of the main README: how many times longer the alternatives take, at contiguous float32."""
    parts = []
    for document in documents:
        suites = [document["suites"][name] for name in SUITES if name in document["suites"]]
        rows = ["| operation | case | ours / bound | eager / ours | torch.compile / ours |", "|---|---|---:|---:|---:|"]
        for suite in suites:
            rows += [row for case in suite["cases"] if _is_headline(case) for row in _summary_rows(case)]
        about = suites[0]["metadata"]
        machine = f"{about['cpu']}, {about['capability']}, {about['threads']} threads, torch {about['torch']}"
        parts.append(f"{machine}:\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _is_headline(case: Mapping[str, Any]) -> bool:
    return case["dtype"] == "float32" and "channels_last" not in case["label"]


def _summary_rows(case: Mapping[str, Any]) -> list[str]:
    """The best of ours in the dtype of the case and the best in bfloat16, a row each where there is a figure for it."""
    ok = {name: r["median_s"] for name, r in case["results"].items() if r["status"] == "ok"}
    eager = next((seconds for name, seconds in ok.items() if name == "eager" or name.startswith("torch.optim")), None)
    rows = []
    for half in (False, True):
        mine = [name for name in ok if name.startswith("cnnfast") and ("bfloat16" in name) == half]
        if not mine:
            continue
        best = min(mine, key=lambda name: ok[name])
        ours, note = ok[best], best.removeprefix("cnnfast").strip()
        cells = [
            case["group"],
            f"{case['label']} ({note})" if note else case["label"],
            # The bound of a case holds for its own dtype.
            ratio(ours / case["bound_s"]) if "bound_s" in case and not half else "",
            ratio(eager / ours) if eager else "",
            ratio(ok["torch.compile"] / ours) if "torch.compile" in ok else "",
        ]
        if any(cells[2:]):
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def replace_between(text: str, markers: tuple[str, str], content: str) -> str:
    """The text with the content between two markers, each of which it must hold exactly once."""
    first, last = markers
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise ValueError(f"replace_between: expected {first} and {last} once each and in this order")
    head, rest = text.split(first)
    return f"{head}{first}\n{content}\n{last}{rest.split(last)[1]}"


def plot(document: Mapping[str, Any], folder: Path = RESULTS) -> Path | None:
    """Bars of how many times faster than eager each implementation is; None without a Gram suite."""
    suite = document["suites"].get("gram")
    if suite is None:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    headline = {"cases": [case for case in suite["cases"] if _is_headline(case)]}
    groups = _groups(headline)
    if not groups:
        return None
    matplotlib.rcParams["svg.hashsalt"] = "cnnfast"
    figure, axes = pyplot.subplots(1, len(groups), figsize=(5 * len(groups), 4), squeeze=False, layout="constrained")
    for axis, (group, cases) in zip(axes[0], groups.items(), strict=True):
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


def write(results: Path = RESULTS, readme: Path = FOLDER / "README.md", front: Path | None = None) -> list[Path]:
    """Plots, and the tables between the markers of benchmarks/README.md and, if it is there, of the front page."""
    documents = load(results)
    if not documents:
        raise ValueError(f"write: expected result files in {results}, got none")
    written = [path for path in (plot(document, results) for document in documents) if path is not None]
    sections = []
    for document in documents:
        image = (
            f"\n\n![{document['machine']}](results/{document['machine']}.svg)" if "gram" in document["suites"] else ""
        )
        sections.append(render(document) + image)
    for path, markers, content in (
        (readme, _DETAILS, "\n\n".join(sections)),
        (FOLDER.parent / "README.md" if front is None else front, _SUMMARY, summary(documents)),
    ):
        if path.is_file():
            path.write_text(replace_between(path.read_text(), markers, content))
            written.append(path)
    return written
