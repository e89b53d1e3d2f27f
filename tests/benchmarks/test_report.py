"""Documents in, tables and a plot out."""

from __future__ import annotations

import copy
import json
import sys

import pytest

from benchmarks import families, report
from benchmarks.families import gram
from benchmarks.report import results, tables


def ok(seconds, **more):
    return {"status": "ok", "median_s": seconds, "q1_s": 0.9 * seconds, "q3_s": 1.2 * seconds, "samples": 7, **more}


def case(group, label, ours, eager, dtype="float32"):
    times = {"cnnfast": ok(ours, error=1e-7), "eager": ok(eager), "peer": {"status": "absent", "reason": "no peer"}}
    return {"group": group, "label": label, "dtype": dtype, "bound_s": 0.001, "results": times}


@pytest.fixture
def document():
    metadata = {key: "x" for key in results._METADATA}
    roofline = {
        "flops_per_s": {"float32": 1e11},
        "bytes_per_s": 2e10,
        "copy_bytes_per_s": 1e10,
        "read_bytes_per_s": 2e10,
    }
    cases = [
        case("forward", "small contiguous", 0.002, 0.005),
        case("forward", "large contiguous", 0.004, 0.003),
        case("forward", "large channels_last", 0.004, 0.005),
    ]
    suite = {"metadata": metadata, "roofline": roofline, "cases": cases}
    return {"schema": results.SCHEMA, "machine": "a-machine-2-threads", "suites": {"gram": suite}}


def test_valid_document(document):
    results.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 99),
        (("suites", "gram", "metadata"), {}),
        (("suites", "gram", "roofline", "bytes_per_s"), 0),
        (("suites", "gram", "cases", 0, "bound_s"), 0),
        (("suites", "gram", "cases", 0, "results", "eager", "status"), "fine"),
        (("suites", "gram", "cases", 0, "results", "eager", "median_s"), 0),
        (("suites", "gram", "cases", 0, "results", "eager", "q1_s"), 1.0),
        (("suites", "gram", "cases", 0, "results", "peer", "reason"), ""),
        (("suites", "unknown"), {}),
    ],
)
def test_invalid_documents(document, path, value):
    broken = copy.deepcopy(document)
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match="validate: expected"):
        results.validate(broken)


def test_store_keeps_other_suites(document, tmp_path):
    suite = document["suites"]["gram"]
    results.store("a-machine", "gram", suite, tmp_path)
    path = results.store("a-machine", "lbfgs", suite, tmp_path)
    assert list(json.loads(path.read_text())["suites"]) == ["gram", "lbfgs"]
    assert [found["machine"] for found in results.load(tmp_path)] == ["a-machine"]
    assert [file.name for file in tmp_path.iterdir()] == ["a-machine.json"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2345, "234"), (0.02345, "23.4"), (0.0023456, "2.35"), (0.00023456, "0.235")]
)
def test_milliseconds(seconds, text):
    assert tables.milliseconds(seconds) in (text, text[:-1] + "5")


def test_table_shows_wins_losses_and_absences(document):
    lines = tables.table(document["suites"]["gram"]["cases"]).splitlines()
    assert lines[0] == "| case | bound | cnnfast | eager | peer |"
    assert "2.00 (1.80-2.40), 2.00x bound" in lines[2] and "5.00 (4.50-6.00), 2.50x" in lines[2]
    assert "**3.00 (2.70-3.60), 0.75x**" in lines[3]
    assert lines[2].endswith("| absent |")


def test_only_a_rival_is_printed_bold():
    assert tables.cell(ok(0.001), 0.002, rival=False) == "1.00 (0.900-1.20), 0.50x"
    assert [tables.is_rival(n) for n in ("eager", "cnnfast bfloat16", "objective alone", "without")] == [True] + 3 * [
        False
    ]


def test_memory_table():
    def took(start, peak, loop):
        return ok(1.0, start_bytes=start * 10**6, peak_bytes=peak * 10**6, loop_peak_bytes=loop * 10**6)

    took_by = {"cnnfast": took(500, 800, 800), "peer": took(510, 1000, 900), "small": took(500, 700, 700)}
    absent = {"status": "absent", "reason": "no peer"}
    cases = [{"label": "a", "results": took_by}, {"label": "b", "results": {"cnnfast": ok(1.0), "peer": absent}}]
    lines = tables.memory_table(cases).splitlines()
    assert lines[0] == "| case | torch alone | cnnfast | peer | small |"
    assert lines[2:] == ["| a | 500 | 800 | 1000 (900), 1.25x | **700, 0.88x** |"]
    assert tables.memory_table(cases[1:]) is None


def test_memory_is_shown_behind_the_times(document):
    times = document["suites"]["gram"]["cases"][0]["results"]
    assert "peak resident memory" not in report.render(document)
    times["cnnfast"] |= {"start_bytes": 5e8, "peak_bytes": 8e8, "loop_peak_bytes": 8e8}
    assert "**forward: peak resident memory** (MB)" in report.render(document)


def test_losses_and_reasons_are_listed(document):
    suite = document["suites"]["gram"]
    assert tables.losses(suite) == ["forward, large contiguous float32: eager is 1.33x faster"]
    assert tables.reasons(suite) == ["peer: absent (no peer)"]
    text = report.render(document)
    assert "eager is 1.33x faster" in text and "no peer" in text and "100 GFLOP/s" in text.replace("float32 ", "")


def test_summary_has_one_row_an_operation(document):
    """That of the first case of the group."""
    text = report.summary([document])
    assert "| forward | small contiguous | x, x, x threads | 2.00x | 2.50x |  |" in text
    assert text.count("| forward |") == 1 and "large" not in text


def test_a_family_may_choose_its_headline(document, monkeypatch):
    monkeypatch.setattr(gram, "HEADLINE", "large contiguous", raising=False)
    assert "| forward | large contiguous | x, x, x threads | 4.00x | **0.75x** |  |" in report.summary([document])
    monkeypatch.setattr(gram, "HEADLINE", "of another group", raising=False)
    assert "| forward | small contiguous |" in report.summary([document])


def test_summary_names_the_best_of_ours_and_the_best_peer(document):
    times = document["suites"]["gram"]["cases"][0]["results"]
    times |= {"cnnfast bfloat16": ok(0.0005), "cnnfast channels_last": ok(0.001), "slow": ok(0.003), "fast": ok(0.0008)}
    row = "| forward | small contiguous (channels_last) | x, x, x threads | 1.00x | 5.00x | **0.80x** (fast) |"
    assert row in report.summary([document])


def test_summary_has_the_latest_measurement(document):
    later = copy.deepcopy(document)
    later["suites"]["gram"]["metadata"] |= {"cpu": "later", "date": "y"}
    for order in ([document, later], [later, document]):
        rows = [line for line in report.summary(order).splitlines() if line.startswith("| forward |")]
        assert len(rows) == 1 and "later" in rows[0]
    later["suites"]["gram"]["metadata"] |= {"gpu": "a GPU"}
    rows = [line for line in report.summary([document, later]).splitlines() if line.startswith("| forward |")]
    assert len(rows) == 2 and "| a GPU |" in rows[1]


def test_summary_leaves_out_rows_without_a_figure(document):
    case = document["suites"]["gram"]["cases"][0]
    del case["bound_s"], case["results"]["eager"]
    assert "| forward |" not in report.summary([document])


def test_missing_suites_are_named(document):
    others = [name for name in families.names() if name != "gram"]
    assert f"Not measured on x, x, x threads: {', '.join(others)}." in report.summary([document])
    assert report.render(document).count("Not measured on this machine.") == len(others)
    document["suites"]["gram"]["metadata"] |= {"gpu": "a GPU"}
    on_a_gpu = [name for name in families.names_on("cuda") if name != "gram"]
    assert f"Not measured on a GPU: {', '.join(on_a_gpu)}." in report.summary([document])
    assert "### lbfgs" not in report.render(document)


def test_cases_that_were_left_out_are_counted(document):
    assert "time for this run" not in report.render(document)
    document["suites"]["gram"]["left_out"] = 3
    assert "Not measured, because the time for this run was over: 3 more cases." in report.render(document)


def test_stored_results_make_the_committed_tables():
    """What `python -m benchmarks --report` writes is what is there, but for families that were never measured."""
    documents = results.load()
    for path, made in (
        (results.FOLDER / "README.md", "\n".join(report.render(document) for document in documents)),
        (results.FOLDER.parent / "README.md", report.summary(documents)),
    ):
        rows = [line for line in made.splitlines() if line.startswith(("|", "- ", "**"))]
        assert len(rows) > 10 and set(rows) <= set(path.read_text().splitlines())


def test_no_plot_without_matplotlib(document, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report.draw(document, tmp_path) is None


def test_replace_between():
    markers = ("<!-- a -->", "<!-- /a -->")
    text = report.replace_between("head\n<!-- a -->\nold\n<!-- /a -->\ntail", markers, "new")
    assert text == "head\n<!-- a -->\nnew\n<!-- /a -->\ntail"
    assert report.replace_between(text, markers, "new") == text
    for wrong in ("no markers", "<!-- a -->", "<!-- /a --><!-- a -->", "<!-- a --><!-- a --><!-- /a -->"):
        with pytest.raises(ValueError, match="replace_between: expected"):
            report.replace_between(wrong, markers, "new")


def test_write_makes_tables_and_a_plot(document, tmp_path):
    pytest.importorskip("matplotlib")
    results.store("a-machine-2-threads", "gram", document["suites"]["gram"], tmp_path)
    readme, front = tmp_path / "README.md", tmp_path / "FRONT.md"
    readme.write_text("<!-- results -->\n<!-- /results -->\n")
    front.write_text("x\n<!-- benchmarks -->\n<!-- /benchmarks -->\n")
    written = report.write(tmp_path, readme, front)
    assert [path.name for path in written] == ["a-machine-2-threads.svg", "README.md", "FRONT.md"]
    assert "results/a-machine-2-threads.svg" in readme.read_text() and "| forward |" in front.read_text()
    first = written[0].read_bytes()
    report.write(tmp_path, readme, front)
    assert first.startswith(b"<?xml") and written[0].read_bytes() == first
    with pytest.raises(ValueError, match="expected result files"):
        report.write(tmp_path / "empty", readme, front)
