"""From `results/*.json` to tables in two README files and a plot a machine."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.front_page import summary
from benchmarks.report.plot import draw
from benchmarks.report.results import FOLDER, RESULTS, load
from benchmarks.report.tables import render

_DETAILS = ("<!-- results -->", "<!-- /results -->")
_SUMMARY = ("<!-- benchmarks -->", "<!-- /benchmarks -->")


def replace_between(text: str, markers: tuple[str, str], content: str) -> str:
    """The text with the content between two markers, each of which it must hold exactly once."""
    first, last = markers
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise ValueError(f"replace_between: expected {first} and {last} once each and in this order")
    head, rest = text.split(first)
    return f"{head}{first}\n{content}\n{last}{rest.split(last)[1]}"


def write(results: Path = RESULTS, readme: Path = FOLDER / "README.md", front: Path | None = None) -> list[Path]:
    """Plots, and the tables between the markers of benchmarks/README.md and, if it is there, of the front page."""
    documents = load(results)
    if not documents:
        raise ValueError(f"write: expected result files in {results}, got none")
    written = [path for path in (draw(document, results) for document in documents) if path is not None]
    sections = []
    for document in documents:
        name = f"{document['machine']}.svg"
        image = f"\n\n![{document['machine']}](results/{name})" if (results / name).is_file() else ""
        sections.append(render(document) + image)
    for path, markers, content in (
        (readme, _DETAILS, "\n\n".join(sections)),
        (FOLDER.parent / "README.md" if front is None else front, _SUMMARY, summary(documents)),
    ):
        if path.is_file():
            path.write_text(replace_between(path.read_text(), markers, content))
            written.append(path)
    return written
