"""Coins of a photograph: encoded, decoded, and measured against themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("skimage")

import skimage
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import opening

from cnnfast.detection.data.base import split_objects
from cnnfast.detection.metrics import average_recall, boundary_f, cityscapes_ap, voc_ap_r
from cnnfast.images import load_image
from cnnfast.ops import disc_union, mask_to_bins


@pytest.fixture(scope="module")
def coins() -> torch.Tensor:
    """Masks [n,303,384] bool of the coins in scikit-image's photograph: Otsu's threshold, filled, opened, labelled."""
    picture = load_image(Path(skimage.__file__).parent / "data" / "coins.png")[0].numpy()
    solid = opening(ndimage.binary_fill_holes(picture > threshold_otsu(picture)))
    numbers = torch.from_numpy(ndimage.label(solid)[0]).long()
    return split_objects(numbers)[1]


@pytest.mark.parametrize("R, K", [(9, 5), (5, 5), (20, 7)])
def test_coins(coins, R, K):
    assert len(coins) > 20 and coins.shape[1:] == (303, 384)
    radii = [n * R // K for n in range(K)]
    decoded = disc_union(mask_to_bins(coins, R, K), radii, pad=0)
    assert torch.equal(decoded, coins)
    labels = torch.arange(len(coins)) % 3 + 1
    truth = {"masks": coins, "labels": labels}
    found = {"masks": decoded, "labels": labels, "scores": torch.linspace(1, 0.1, len(coins))}
    for method in ("voc07", "area"):
        for iou in (0.5, 0.7, 1.0):
            assert voc_ap_r([found], [truth], iou, method) == pytest.approx(1, abs=1e-14)
    assert average_recall([found], [truth], (1000,)) == {1000: 1.0}
    assert cityscapes_ap([found], [truth])["AP"] == pytest.approx(1)
    assert (boundary_f(decoded, coins, 0) == 1).all()
