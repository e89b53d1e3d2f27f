"""The distance transforms, fused and plain, against arrays made by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast import ops, reference
from tests.ops.distance.cases import BINARY_DTYPES, bins_of

pytestmark = pytest.mark.emulated

FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
BORDERS = pytest.mark.parametrize("border", ["none", "background"])


def cases(arrays):
    return sorted({key.split("/")[0] for key in arrays if "/" in key})


def to_tensor(array, device):
    return torch.from_numpy(array).to(device)


def whole(squares):
    """Squared distances as the operator gives them for R=None."""
    values = torch.where(squares.isinf(), 0, squares).long()
    return torch.where(squares.isinf(), torch.iinfo(torch.int64).max, values)


@FUSED_AND_PLAIN
class TestBinary:
    @BORDERS
    def test_squared(self, module, border, parity, device):
        arrays = parity("tdt_binary", "bais")
        for case in cases(arrays):
            mask, squares = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("mask", f"d2_{border}"))
            for dtype in BINARY_DTYPES:
                actual = module.truncated_distance_transform(mask.to(dtype), border=border, output="squared")
                assert actual.dtype == torch.int64
                assert torch.equal(actual, whole(squares)), case

    @BORDERS
    def test_bins(self, module, border, parity, device):
        arrays = parity("tdt_binary", "bais")
        for case in cases(arrays):
            mask, squares = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("mask", f"d2_{border}"))
            for R in arrays["R_values"].tolist():
                actual = module.truncated_distance_transform(mask, R, border=border)
                assert actual.dtype == torch.uint8
                assert torch.equal(actual, bins_of(squares, R)), (case, R)

    def test_signed(self, module, parity, device):
        arrays = parity("tdt_binary", "bais")
        for case in cases(arrays):
            mask = to_tensor(arrays[f"{case}/mask"], device)
            inside, outside = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("d2_none", "d2_outside"))
            expected = torch.where(mask != 0, inside.sqrt(), -outside.sqrt()).float()
            for R in (None, 3, 20):
                actual = module.truncated_distance_transform(mask, R, output="signed")
                assert torch.equal(actual, expected if R is None else expected.clamp(-R, R)), (case, R)

    def test_strided(self, module, parity, device):
        arrays = parity("tdt_binary", "bais")
        for case in cases(arrays):
            mask, squares = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("mask", "d2_none"))
            expected = bins_of(squares, 9)
            for laid in (mask.mT.contiguous().mT, torch.stack([mask, 1 - mask], -1)[..., 0]):
                assert torch.equal(module.truncated_distance_transform(laid, 9), expected), case
            transposed = module.truncated_distance_transform(mask.mT, 9)
            assert transposed.is_contiguous() and torch.equal(transposed, expected.mT), case
            expanded = module.truncated_distance_transform(mask.expand(3, *mask.shape), 9)
            assert torch.equal(expanded, expected.expand(3, *mask.shape)), case


@FUSED_AND_PLAIN
@BORDERS
def test_label_maps(module, border, parity, device):
    arrays = parity("tdt_labels", "bais")
    for case in cases(arrays):
        labels, squares = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("labels", f"d2_{border}"))
        for dtype in (torch.int32, torch.int64):
            options = {"labels": True, "border": border}
            actual = module.truncated_distance_transform(labels.to(dtype), output="squared", **options)
            assert torch.equal(actual, whole(squares)), case
            for R in (1, 2, 9, 15, 16, 64, 65, 255):
                actual = module.truncated_distance_transform(labels.to(dtype), R, **options)
                assert torch.equal(actual, bins_of(squares, R)), (case, R)


@FUSED_AND_PLAIN
def test_two_spacings(module, parity, device):
    arrays = parity("tdt_anisotropic", "bais")
    spacings = [tuple(arrays[key].tolist()) for key in sorted(arrays) if key.startswith("spacing_")]
    assert len(spacings) > 1
    for case in cases(arrays):
        labels = f"{case}/labels" in arrays
        mask = to_tensor(arrays[f"{case}/labels" if labels else f"{case}/mask"], device)
        for index, spacing in enumerate(spacings):
            squares = arrays[f"{case}/d2_sp{index}"]
            options = {"labels": labels, "spacing": spacing}
            actual = module.truncated_distance_transform(mask, output="distance", **options)
            np.testing.assert_allclose(actual.cpu(), np.sqrt(squares), rtol=1e-6)
            for R in (1, 3, 9):
                actual = module.truncated_distance_transform(mask, R, **options)
                expected = np.minimum(np.ceil(np.sqrt(squares) * (1 - 1e-6)), R)
                np.testing.assert_array_equal(actual.cpu(), expected)


@FUSED_AND_PLAIN
def test_codec(module, parity, device):
    arrays = parity("codec", "bais")
    for case in cases(arrays):
        mask, R, K = to_tensor(arrays[f"{case}/mask"], device), int(arrays[f"{case}/R"]), int(arrays[f"{case}/K"])
        distances, bins = (to_tensor(arrays[f"{case}/{key}"], device) for key in ("D", "bins"))
        assert torch.equal(module.truncated_distance_transform(mask, R), distances.to(torch.uint8)), case
        assert torch.equal(module.mask_to_bins(mask, R, K), bins.to(torch.uint8)), case
        channels = module.mask_to_bins(mask, R, K, one_hot=True)
        assert channels.dtype == torch.float32
        assert torch.equal(channels, torch.stack([(bins == n).float() for n in range(1, K + 1)], -3)), case
        restored = reference.disc_union(bins.to(torch.uint8)[None], arrays[f"{case}/radii_lower"].tolist(), pad=0)
        assert torch.equal(restored[0], mask != 0), case
