"""Options of every training, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cnnfast._options import option, options_of
from cnnfast.training.options import TrainingOptions


@dataclass(kw_only=True)
class LineOptions(TrainingOptions):
    """Of a family."""

    epochs: int = option("passes over the numbers", default=3)
    slope: float = option("of the line", default=1.0)


def test_a_family_changes_defaults_and_adds_its_own():
    options = LineOptions(slope=2.0)
    assert (options.epochs, options.slope, TrainingOptions().epochs) == (3, 2.0, 1)
    assert options.arguments(TrainingOptions).keys() == vars(TrainingOptions()).keys()
    names = [field.name for field, _ in options_of(LineOptions)]
    assert names[names.index("epochs") + 1] == "slope" and "log_every" not in names


def test_steps():
    assert TrainingOptions(max_steps=7).steps_for(100) == 7
    assert TrainingOptions(epochs=3, batch_size=4, devices=2, nodes=2).steps_for(10) == 2  # 30 examples, 16 a step


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"max_steps": 0}, "max_steps of at least 1, got 0"),
        ({"nodes": 0}, "nodes of at least 1, got 0"),
        ({"log_every": 0}, "log_every of at least 1, got 0"),
        ({"workers": -1}, "workers of at least 0, got -1"),
        ({"amp": "fp8"}, "amp among auto, bf16, none, bfloat16, float32, got 'fp8'"),
        ({"log_format": "xml"}, "log_format among csv, tensorboard, got 'xml'"),
    ],
)
def test_refused(changes, words):
    with pytest.raises(ValueError, match=f"train_line: expected {words}"):
        LineOptions(**changes).check("train_line")
