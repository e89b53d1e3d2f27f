"""Documents in, tables and a plot out."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks import report


def ok(seconds, **more):
    return {"status": "ok", "median_s": seconds, "q1_s": 0.9 * seconds, "q3_s": 1.2 * seconds, "samples": 7, **more}


def case(group, label, ours, eager, dtype="float32"):
    results = {"cnnfast": ok(ours, error=1e-7), "eager": ok(eager), "peer": {"status": "absent", "reason": "no peer"}}
    return {"group": group, "label": label, "dtype": dtype, "bound_s": 0.001, "results": results}


@pytest.fixture
def document():
    metadata = {key: "x" for key in report._METADATA}
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
    return {"schema": report.SCHEMA, "machine": "a-machine-2-threads", "suites": {"gram": suite}}


def test_valid_document(document):
    report.validate(document)


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
        report.validate(broken)


def test_store_keeps_other_suites(document, tmp_path):
    suite = document["suites"]["gram"]
    report.store("a-machine", "gram", suite, tmp_path)
    path = report.store("a-machine", "lbfgs", suite, tmp_path)
    assert list(json.loads(path.read_text())["suites"]) == ["gram", "lbfgs"]
    assert [found["machine"] for found in report.load(tmp_path)] == ["a-machine"]
    assert [file.name for file in tmp_path.iterdir()] == ["a-machine.json"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2345, "234"), (0.02345, "23.4"), (0.0023456, "2.35"), (0.00023456, "0.235")]
)
def test_milliseconds(seconds, text):
    assert report.milliseconds(seconds) in (text, text[:-1] + "5")


def test_table_shows_wins_losses_and_absences(document):
    lines = report.table(document["suites"]["gram"]["cases"]).splitlines()
    assert lines[0] == "| case | bound | cnnfast | eager | peer |"
    assert "2.00 (1.80-2.40), 2.00x bound" in lines[2] and "5.00 (4.50-6.00), 2.50x" in lines[2]
    assert "**3.00 (2.70-3.60), 0.75x**" in lines[3]
    assert lines[2].endswith("| absent |")


def test_only_a_rival_is_printed_bold():
    assert report.cell(ok(0.001), 0.002, rival=False) == "1.00 (0.900-1.20), 0.50x"
    assert [report.is_rival(n) for n in ("eager", "cnnfast bfloat16", "objective alone", "without")] == [True] + 3 * [
        False
    ]


def test_memory_table():
    def took(start, peak, loop):
        return ok(1.0, start_bytes=start * 10**6, peak_bytes=peak * 10**6, loop_peak_bytes=loop * 10**6)

    results = {"cnnfast": took(500, 800, 800), "peer": took(510, 1000, 900), "small": took(500, 700, 700)}
    absent = {"status": "absent", "reason": "no peer"}
    cases = [{"label": "a", "results": results}, {"label": "b", "results": {"cnnfast": ok(1.0), "peer": absent}}]
    lines = report.memory_table(cases).splitlines()
    assert lines[0] == "| case | torch alone | cnnfast | peer | small |"
    assert lines[2:] == ["| a | 500 | 800 | 1000 (900), 1.25x | **700, 0.88x** |"]
    assert report.memory_table(cases[1:]) is None


def test_memory_is_shown_behind_the_times(document):
    results = document["suites"]["gram"]["cases"][0]["results"]
    assert "peak resident memory" not in report.render(document)
    results["cnnfast"] |= {"start_bytes": 5e8, "peak_bytes": 8e8, "loop_peak_bytes": 8e8}
    assert "**forward: peak resident memory** (MB)" in report.render(document)


def test_losses_and_reasons_are_listed(document):
    suite = document["suites"]["gram"]
    assert report.losses(suite) == ["forward, large contiguous float32: eager is 1.33x faster"]
    assert report.reasons(suite) == ["peer: absent (no peer)"]
    text = report.render(document)
    assert "eager is 1.33x faster" in text and "no peer" in text and "100 GFLOP/s" in text.replace("float32 ", "")


def test_summary_has_contiguous_float32_rows(document):
    text = report.summary([document])
    assert "| forward | small contiguous | 2.00x | 2.50x |  |" in text
    assert "| forward | large contiguous | 4.00x | 0.75x |  |" in text
    assert "channels_last" not in text


def test_summary_keeps_bfloat16_apart(document):
    results = document["suites"]["gram"]["cases"][0]["results"]
    results["cnnfast bfloat16"] = ok(0.0005)
    results["cnnfast bfloat16 channels_last"] = ok(0.001)
    text = report.summary([document])
    assert "| forward | small contiguous | 2.00x | 2.50x |  |" in text
    assert "| forward | small contiguous (bfloat16) |  | 10.0x |  |" in text


def test_summary_leaves_out_rows_without_a_figure(document):
    case = document["suites"]["gram"]["cases"][0]
    del case["bound_s"], case["results"]["eager"]
    assert "small contiguous" not in report.summary([document]) and "large contiguous" in report.summary([document])


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
    report.store("a-machine-2-threads", "gram", document["suites"]["gram"], tmp_path)
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
