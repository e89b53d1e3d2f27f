"""Steps of a training: those that are not finite change nothing, and the end after too many of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")

from torch.utils.data import Dataset

from cnnfast._errors import InputError
from cnnfast.training.files import read_checkpoint
from cnnfast.training.loop import fit
from cnnfast.training.options import TrainingOptions
from cnnfast.training.run import run as train
from cnnfast.training.step import Training
from cnnfast.training.task import Task
from tests.mutations import replace


class Numbers(NamedTuple):
    values: torch.Tensor
    skipped: list[str]


class Source(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, key):
        return torch.randn(3, generator=torch.Generator().manual_seed(key[0]))


class Line(Training):
    """Fits a batch-normed line; the inputs of bad steps are NaN, the gradient of steep ones infinite."""

    def __init__(self, steps, bad=(), steep=()):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        super().__init__(network, steps=steps)
        self.bad, self.steep = set(bad), set(steep)

    def build_optimizer(self):
        return torch.optim.SGD(self.network.parameters(), 0.02, momentum=0.9)

    def terms(self, batch):
        values = batch.values * (float("nan") if self.step + 1 in self.bad else 1.0)
        output = self.network(values)
        error = (output[:, 0] - values.sum(1)).square().mean()
        root = output.sub(output.detach()).abs().sum().sqrt()  # 0, with a gradient that is not finite
        return {"error": error, "steep": root if self.step + 1 in self.steep else 0 * error}


def run(module, tmp_path=None, resume=None, callback=None):
    history = []

    def note(progress):
        history.append(progress)
        return callback is not None and callback(progress)

    task = Task(
        function="train_line",
        examples=Source(),
        collate=lambda items: Numbers(torch.stack(items), []),
        build=lambda steps: module,
        settings={"a": 1},
        save=lambda *_: None,
    )
    files = {"checkpoint": None if tmp_path is None else tmp_path / "run.pt", "checkpoint_every": 5, "resume": resume}
    options = TrainingOptions(max_steps=module.steps, batch_size=8, workers=0, device="cpu", log_every=1, **files)
    train(task, options, note)
    return history


class TestSteps:
    def test_loss_falls(self):
        history = run(Line(100))
        losses = [progress.loss for progress in history]
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        assert history[0].metrics() == {
            "loss": history[0].loss,
            "error": history[0].terms["error"],
            "steep": 0.0,
            "skipped_steps": 0.0,
        }

    @pytest.mark.parametrize("kind", ["bad", "steep"])
    def test_what_is_not_finite_changes_nothing(self, kind):
        module, states = Line(5, **{kind: {3, 4}}), []

        def keep(progress):
            states.append({name: tensor.clone() for name, tensor in module.network.state_dict().items()})

        history = run(module, callback=keep)
        assert [p.skipped_steps for p in history] == [0, 0, 1, 2, 2]
        for name, before in states[1].items():
            assert torch.equal(before, states[2][name]) and torch.equal(before, states[3][name]), name
            assert torch.isfinite(states[4][name]).all()
        assert not torch.equal(states[3]["1.running_mean"], states[4]["1.running_mean"])

    def test_twenty_in_a_row_end_it_and_the_checkpoint_stays(self, tmp_path):
        words = "train_line: expected finite losses and gradients, got none in 20 steps in a row, the last one step 25"
        with pytest.raises(RuntimeError, match=words):
            run(Line(60, bad=range(6, 60)), tmp_path)
        counters = torch.load(tmp_path / "run.pt", weights_only=True)["state_dict"]["counters"]
        assert counters.tolist()[0] in (5, 10, 15, 20)

    def test_more_gpus_than_there_are(self):
        options = TrainingOptions(device="cuda", devices=torch.cuda.device_count() + 1)
        with pytest.raises(InputError, match="train_line: expected devices of at most"):
            fit(Line(1), SimpleNamespace(function="train_line"), options, None)

    def test_resume(self, tmp_path):
        whole = [p.loss for p in run(Line(12))]
        first = run(Line(12), tmp_path, callback=lambda progress: progress.step == 6)
        rest = run(Line(12), resume=tmp_path / "run.pt")
        assert [p.loss for p in first + rest] == whole and rest[0].step == 8

    @pytest.mark.slow
    def test_resume_from_a_mutated_checkpoint(self, tmp_path):
        random = np.random.default_rng(0)
        run(Line(9), tmp_path, callback=lambda progress: progress.step == 3)
        checkpoint = torch.load(tmp_path / "run.pt", weights_only=True)
        for _ in range(700):
            torch.save(replace(checkpoint, random), tmp_path / "changed.pt")
            try:
                run(Line(9), resume=tmp_path / "changed.pt")
            except InputError as error:
                assert "changed.pt" in str(error) or "settings of the checkpoint" in str(error)

    def test_resume_from_a_checkpoint_of_the_lightning_trainer(self, tmp_path):
        whole = [p.loss for p in run(Line(9))]
        run(Line(9), tmp_path, callback=lambda progress: progress.step == 3)
        checkpoint = torch.load(tmp_path / "run.pt", weights_only=True)
        names = {"epoch": 0, "global_step": 4, "pytorch-lightning_version": "2.6.6", "loops": {}, "callbacks": {}}
        torch.save({**names, "lr_schedulers": [], **checkpoint}, tmp_path / "old.pt")
        assert [p.loss for p in run(Line(9), resume=tmp_path / "old.pt")] == whole[4:]

    def test_checkpoints_of_others_are_refused(self, tmp_path):
        run(Line(2), tmp_path)
        with pytest.raises(ValueError, match="train_other: expected a checkpoint of its own"):
            read_checkpoint("train_other", tmp_path / "run.pt", {"a": 1})
        with pytest.raises(ValueError, match=r"expected the settings of the checkpoint \(a=1\), got a=2"):
            read_checkpoint("train_line", tmp_path / "run.pt", {"a": 2})
