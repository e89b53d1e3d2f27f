"""Cascades on synthetic scenes: the experiment runs, is repeatable, and object masks train end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.images import load_image
from examples.instance_segmentation.cascade import SETTINGS, main, train_and_test

TINY = replace(SETTINGS, steps=2, batch=2, training=4, testing=3)


class TestRun:
    def test_repeatable_and_leaves_the_random_numbers_alone(self):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, second = (train_and_test("omn", 1, TINY) for _ in range(2))
        assert first.losses == second.losses and first.boxes == second.boxes
        assert torch.equal(torch.get_rng_state(), before)
        assert train_and_test("omn", 2, TINY).losses != first.losses

    def test_scores_and_callback(self):
        calls = []
        result = train_and_test("binary", 0, TINY, lambda *call: calls.append(call))
        assert calls == [("binary masks", 1, result.losses[0]), ("binary masks", 2, result.losses[1])]
        assert len(result.boxes) == 3 and not result.model.training
        for value in (result.ap50, result.ap70, *(part for score in result.boxes for part in score)):
            assert 0 <= value <= 1

    def test_seed(self):
        with pytest.raises(ValueError, match=r"training_scenes: expected a seed of 0\.\.999999, got -1"):
            train_and_test("omn", -1, TINY)


def test_table_picture_and_json(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    main(["--rows", "2", "--results", "a.json"], TINY)
    out, err = capsys.readouterr()
    table = [line.split("|") for line in out.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in table[2:]] == ["binary masks", "object masks"]
    assert {len(row) for row in table} == {9} and err.count("step 2 of 2") == 2
    assert load_image("cascade.png").shape == (3, 22 + 2 * (8 + 256), 3 * 256 + 2 * 8)
    content = json.loads(Path("a.json").read_text())
    assert [entry["mask_head"] for entry in content["results"]] == ["binary", "omn"]
    assert all(len(entry["box_ap70"]) == len(content["test_ious"]) == 3 for entry in content["results"])


def test_one_kind_of_masks(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    main(["--heads", "omn", "-o", "a.png"], TINY)
    assert "object masks" in capsys.readouterr().out and load_image("a.png").shape[2] == 2 * 256 + 8
