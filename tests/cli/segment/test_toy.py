"""`cnnfast segment toy`: table, picture, JSON, and what it refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.picture_cases import size_of

pytest.importorskip("torchvision")

STEPS = ("--steps", 2)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """A task that is over in a second."""
    from cnnfast.models.instance_segmentation.toy import ToySettings

    monkeypatch.setattr(
        "cnnfast.cli.segment.toy_run.ToySettings",
        lambda **words: ToySettings(**{"training": 16, "testing": 8, **words}),
    )


def test_table_picture_and_json(cnnfast):
    result = cnnfast("segment", "toy", *STEPS, "--runs", 2, "--examples", 3, "-o", "a.png", "--results", "a.json")
    assert result.status == 0 and not result.err
    for words in ("binary mask in box", "object mask network", "control: wider box", "box 0.4-0.55", "ideal", "mean"):
        assert words in result.out
    assert "100%  12/12" in result.out and max(map(len, result.out.splitlines()[-25:-4])) <= 100
    assert result.out.splitlines()[-1].startswith("a.png: 3 examples, 0:0")
    assert size_of("a.png") == (4 * 256 + 3 * 8, 22 + 3 * (8 + 256))
    content = json.loads(Path("a.json").read_text())
    assert [(entry["method"], entry["seed"]) for entry in content["results"]][::3] == [
        ("binary mask in box", 0),
        ("binary mask in box", 1),
        ("binary mask in box", None),
    ]
    assert all(len(entry["mean_iou"]) == 3 for entry in content["results"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-o", "none/a.png"], "none/a.png: expected a file that can be written, got: No such folder"),
        (["-o", "."], "expected a"),
        (["-o", "a.txt"], "expected a path ending in .png"),
        (["--results", "toy.png"], "also another file of this call"),
        (["--results", "none/a.json"], "No such folder"),
        (["--steps", 0], "--steps: expected a number of 1..1000000, got 0"),
        (["--runs", 0], "--runs: expected a number of 1..1000, got 0"),
        (["--examples", 9999], "--examples: expected a number of 1..8, got 9999"),
        (["--seed", -1], "--seed: expected a number"),
        (["--seed", 999_999, "--runs", 2], "--seed: expected seeds below 1000000"),
        (["--device", "tpu"], "--device: expected"),
    ],
)
def test_refused_before_any_work(cnnfast, arguments, words):
    result = cnnfast("segment", "toy", *STEPS, *arguments)
    assert result.status == 2 and result.err.count("\n") == 1 and words in result.err
    assert not result.out and not list(Path(".").iterdir())


def test_ctrl_c_writes_nothing(cnnfast, monkeypatch):
    def stop(self, done, text):
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = cnnfast("segment", "toy", *STEPS, "-o", "a.png")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert result.status == 130 and "stopped, nothing was written" in result.err and not list(Path(".").iterdir())
