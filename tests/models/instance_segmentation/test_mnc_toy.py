"""Cascades on synthetic scenes: the experiment runs, is repeatable, and object masks train end to end."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation.mnc_toy import CascadeToySettings, run_cascade_toy

TINY = CascadeToySettings(steps=2, batch=2, training=4, testing=3)


class TestRun:
    def test_repeatable_and_leaves_the_random_numbers_alone(self):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, second = (run_cascade_toy("omn", 1, TINY) for _ in range(2))
        assert first.losses == second.losses and first.perturbed == second.perturbed
        assert torch.equal(torch.get_rng_state(), before)
        assert run_cascade_toy("omn", 2, TINY).losses != first.losses

    def test_scores_and_callback(self):
        calls = []
        result = run_cascade_toy("binary", 0, TINY, callback=lambda *call: calls.append(call))
        assert calls == [("binary", 1, result.losses[0]), ("binary", 2, result.losses[1])]
        assert len(result.perturbed) == 3 and not result.model.training
        for value in (result.ap50, result.ap70, *(part for score in result.perturbed for part in vars(score).values())):
            assert 0 <= value <= 1

    def test_seed(self):
        with pytest.raises(ValueError, match="run_cascade_toy: expected a seed of at least 0, got -1"):
            run_cascade_toy("omn", -1)
