"""The data set of synthetic scenes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from cnnfast.models.view_synthesis.data import PlaneScenes


def test_items_agree_with_themselves():
    """The truth of the source view: its planes give its inverse depth."""
    views = PlaneScenes(3, seed=5, size=24, split="test", poses="less_translation")
    for item in (views[index] for index in range(3)):
        assert item["source"].dtype == torch.float32 and item["source_plane"].dtype == torch.int64
        y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
        rays = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(item["K_src"]).T
        planes = item["planes"][item["source_plane"]]
        torch.testing.assert_close((rays * planes).sum(-1), item["inverse_depth"][0], rtol=1e-4, atol=1e-5)
        assert item["covisible"].dtype == torch.bool and item["covisible"].any()


def test_order_and_batches():
    views = PlaneScenes(4, size=16)
    batch = next(iter(DataLoader(views, batch_size=4)))
    assert batch["planes"].shape == (4, 7, 3)
    assert batch["target"][2].equal(views[2]["target"]) and batch["target"][3].equal(views[-1]["target"])
    assert not PlaneScenes(4, seed=1, size=16)[2]["source"].equal(views[2]["source"])
    still = PlaneScenes(1, size=16, factor=0)[0]
    assert still["source"].equal(still["target"]) and still["covisible"].all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"count": 0}, ValueError, "PlaneScenes: expected count of at least 1, got 0"),
        ({"count": 2.5}, TypeError, "PlaneScenes: expected count an integer, got 2.5"),
        ({"count": 1, "seed": -1}, ValueError, "expected seed of at least 0, got -1"),
        ({"count": 1, "split": "val"}, ValueError, 'expected split one of "train", "test"'),
        ({"count": 1, "poses": "wild"}, ValueError, 'PlaneScenes: expected poses one of "full"'),
        ({"count": 1, "factor": -1}, ValueError, "expected factor of at least 0, got -1"),
        ({"count": 1, "texel": 0}, ValueError, "expected texel above 0, got 0"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        PlaneScenes(**options)


def test_index():
    with pytest.raises(IndexError, match="expected an index below 2, got 2"):
        PlaneScenes(2, size=8)[2]
