"""What the examples share: options that are refused before any work, the training loop, the table, the results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from examples.common import cell, experiment_parser, fit, markdown_table, print_progress, write_results


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_options():
    parser = experiment_parser("family.claim", "Shows it.", 300)
    options = parser.parse_args([])
    assert vars(options) == {
        "output": Path("claim.png"),
        "results": None,
        "seeds": [0],
        "steps": 300,
        "rows": 6,
        "device": torch.device("cpu"),
    }
    options = parser.parse_args(["--seeds", "3", "4", "--results", "a.json", "-o", "b.png", "--device", "cuda:1"])
    assert options.seeds == [3, 4] and options.results == Path("a.json") and options.device.index == 1
    assert parser.prog == "python -m examples.family.claim" and "claim.png" in parser.format_help()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-o", "none/a.png"], "expected a path ending in .png in an existing folder, got none/a.png"),
        (["-o", "."], "--output: expected a path"),
        (["-o", "a.txt"], "--output: expected a path ending in .png"),
        (["--results", "claim.png"], "--results: expected a path ending in .json"),
        (["--results", "none/a.json"], "in an existing folder, got none/a.json"),
        (["--steps", "0"], "--steps: expected a whole number of at least 1, got 0"),
        (["--rows", "0"], "--rows: expected a whole number of at least 1, got 0"),
        (["--seeds", "0", "-1"], "--seeds: expected a whole number of at least 0, got -1"),
        (["--device", "tpu"], "--device: expected"),
    ],
)
def test_refused(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        experiment_parser("family.claim", None, 300).parse_args(arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


def test_a_folder_is_no_picture(capsys):
    Path("claim.png").mkdir()
    with pytest.raises(SystemExit):
        experiment_parser("family.claim", None, 300).parse_args([])
    assert "--output: expected a path" in capsys.readouterr().err


def test_fit():
    weight = torch.tensor(4.0, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.25)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    steps: list[int] = []
    calls: list[tuple] = []

    def loss(step: int) -> torch.Tensor:
        steps.append(step)
        return weight**2

    losses = fit("square", loss, optimizer, schedule, 3, lambda *call: calls.append(call))
    assert losses == [16.0, 4.0, 2.25] and steps == [0, 1, 2]
    assert calls == [("square", 1, 16.0), ("square", 2, 4.0), ("square", 3, 2.25)]


def test_progress(capsys):
    show = print_progress(120)
    for step in range(1, 121):
        show("net", step, 0.5)
    assert capsys.readouterr().err.splitlines() == [f"net: step {step} of 120, loss 0.500" for step in (50, 100, 120)]


def test_table():
    assert markdown_table(["mask", "IoU"], [["in box", cell([0.5])], ["wider", cell((1, 0.25))]]).splitlines() == [
        "| mask   | IoU           |",
        "| ------ | ------------- |",
        "| in box | 0.500         |",
        "| wider  | 1.000 / 0.250 |",
    ]


def test_results():
    write_results(Path("a.json"), {"steps": 3}, [{"seed": 0, "scores": (0.1, 1 / 3)}])
    content = json.loads(Path("a.json").read_text())
    assert content["steps"] == 3 and content["results"] == [{"seed": 0, "scores": [0.1, 1 / 3]}]
    assert content["torch"] == torch.__version__ and "cnnfast" in content
