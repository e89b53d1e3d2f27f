"""Targets of detectors that are refused before anything is computed."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model


@pytest.mark.parametrize("kind", ["maskrcnn", "maskrcnn-omn", "mnc", "mnc-omn"])
def test_a_label_of_no_class(kind):
    """Three classes with the background: a loop that counts from 0 to 3 by mistake."""
    network = build_model(ModelSettings(kind, "small", 3, min_size=64, max_size=64))
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 10:40, 10:40] = True
    target = {"boxes": torch.tensor([[10.0, 10.0, 40.0, 40.0]]), "masks": mask, "labels": torch.tensor([3])}
    with pytest.raises(ValueError, match="expected target labels of 1 to 2, got 3"):
        network([torch.rand(3, 64, 64)], [target])
