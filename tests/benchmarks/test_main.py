"""`python -m benchmarks` and `pytest benchmarks` from end to end, at small sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from torch.overrides import TorchFunctionMode

from benchmarks import __main__ as program
from benchmarks import families, machine, report
from benchmarks.case import Case, Implementation, Work
from benchmarks.report import results


class CudaOnCPU(TorchFunctionMode):
    """Makes tensors of "cuda" on the CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        args = tuple("cpu" if argument == "cuda" else argument for argument in args)
        kwargs = {key: "cpu" if value == "cuda" else value for key, value in (kwargs or {}).items()}
        return function(*args, **kwargs)


@pytest.fixture
def fake_gpu(monkeypatch):
    """Code for a GPU runs here; returns how often it waited for it."""
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU 100")
    monkeypatch.setitem(machine._SIZES, "cuda", (64,))
    monkeypatch.setattr(machine, "_STREAM_BYTES", 1 << 20)
    with CudaOnCPU():
        yield waits


def tiny(group, label):
    """A case of a family that needs no time."""
    one = Implementation("cnnfast", lambda: lambda: (torch.ones(3),), 0.0, lambda: [torch.ones(3).double()])
    return Case(group, label, (3,), Work(1, 1), implementations=lambda: [one])


@pytest.fixture
def tiny_family(monkeypatch):
    listed = [tiny("a", "1"), tiny("a", "2"), tiny("b", "1"), tiny("b", "2")]
    monkeypatch.setattr(families, "cases", lambda *_: listed)
    monkeypatch.setattr(program, "measure_roofline", lambda *_: {"flops_per_s": {"float32": 1.0}, "bytes_per_s": 1.0})
    return listed


def test_families_of_a_device():
    assert program.parse([]).only == list(families.names()) and program.parse([]).budget == float("inf")
    on_a_gpu = program.parse(["--device", "cuda"])
    assert {"gram", "discs", "distance"} <= set(on_a_gpu.only) < set(families.names()) and on_a_gpu.budget == 120
    assert program.parse(["--device", "cuda", "--only", "gram"]).only == ["gram"]


def test_a_family_that_does_not_run_on_a_device(capsys):
    with pytest.raises(SystemExit):
        program.parse(["--device", "cuda", "--only", "lbfgs", "gram"])
    assert "--device cuda: lbfgs does not run there" in capsys.readouterr().err


def test_headlines_are_measured_first_and_always(tiny_family):
    assert [case.name for case in program.by_importance(tiny_family)] == [
        f"{name} float32" for name in ("a, 1", "b, 1", "a, 2", "b, 2")
    ]
    chosen = [case.name for case in program.by_importance(tiny_family, "2")]
    assert chosen == [f"{name} float32" for name in ("a, 2", "b, 2", "a, 1", "b, 1")]
    options = program.parse(["--quick"])
    run = program.Run("gram", options, time.monotonic() - 1)
    assert [(made["group"], made["label"]) for made in run.records] == [("a", "1"), ("b", "1")] and run.left_out == 2
    assert run.content()["left_out"] == 2
    run = program.Run("gram", options, float("inf"))
    assert len(run.records) == 4 and "left_out" not in run.content()
    assert [made["label"] for made in run.records] == ["1", "2", "1", "2"]


def test_cases_are_chosen_by_a_text(tiny_family):
    run = program.Run("gram", program.parse(["--quick", "--cases", "b, 2"]), float("inf"))
    assert [(made["group"], made["label"]) for made in run.records] == [("b", "2")]


def test_operators_on_a_gpu(fake_gpu, monkeypatch, tmp_path, capsys):
    """The whole way from cases to a results file, on the CPU in the place of a GPU."""
    monkeypatch.setattr("benchmarks.families.gram.compiled", lambda function, mode=None: function)
    monkeypatch.setattr("benchmarks.families.discs.compiled", lambda function, mode=None: function)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "write", lambda folder: [])
    quick = families.cases
    monkeypatch.setattr(families, "cases", lambda name, device, _: quick(name, device, True))
    monkeypatch.setattr(program, "GPU", program.QUICK)
    assert program.main(["--device", "cuda", "--results", str(tmp_path), "--budget", "0"]) == 0
    (document,) = results.load(tmp_path)
    assert document["machine"] == "some-gpu-100" and list(document["suites"]) == list(families.names_on("cuda"))
    for suite in document["suites"].values():
        assert suite["metadata"]["gpu"] == "Some GPU 100" and suite["roofline"]["flops_per_s"]["float32"] > 0
        for case in suite["cases"]:
            assert case["results"]["cnnfast"]["status"] == case["results"]["eager"]["status"] == "ok"
            assert case["new_memory_s"] == 0
    assert len(fake_gpu) > 100
    assert "| some-gpu-100 |" not in report.summary([document]) and "| Some GPU 100 |" in report.summary([document])


@pytest.mark.slow
def test_pytest_benchmark(tmp_path):
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "found.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "--quick", "-p", "no:cacheprovider"]
    command += ["--benchmark-max-time=0.1", "--threads=1", f"--benchmark-json={path}"]
    command += ["-k", "gram_matrix and contiguous and not backward and not compile"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run(command, cwd=results.FOLDER.parent, env=environment, capture_output=True, text=True)
    assert output.returncode == 0, output.stdout
    assert "benchmark 'gram: gram_matrix forward, 1x64x128x128 contiguous float32'" in output.stdout
    found = json.loads(path.read_text())["benchmarks"]
    assert {"cnnfast", "cnnfast channels_last", "eager"} <= {one["name"] for one in found}
    for one in found:
        assert one["group"] == "gram: gram_matrix forward, 1x64x128x128 contiguous float32"
        about = one["extra_info"]
        assert about["shape"] == [1, 64, 128, 128] and about["flops"] > 0 and about["bytes"] > 0
        assert about["bound_s"] > 0 and about["new_bytes"] == 4 * 64 * 64 and about["machine"]["threads"] == 1
        assert about["machine"]["roofline"]["bytes_per_s"] > 0 and about["relative_error"] < 1e-4
