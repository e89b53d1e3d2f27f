"""The disc functions, fused and plain, against arrays made by brute force and by float64 deconvolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast import ops, reference
from cnnfast.arguments.discs import bin_radii, half_widths
from tests.ops.discs.cases import load_parity
from tests.parity import PARITY

pytestmark = pytest.mark.emulated

FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
SOFT, HARD, CODEC = load_parity("idt_soft"), load_parity("union_hard"), load_parity("codec")
# Absolute errors of values and first derivatives, and of second derivatives.
TOLERANCES = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 2e-4)}


@FUSED_AND_PLAIN
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", SOFT)
class TestSoft:
    def arguments(self, case, dtype, device):
        arrays = {key: torch.as_tensor(value).to(device) for key, value in SOFT[case].items()}
        leaves = [arrays[key].to(dtype).requires_grad_() for key in ("B", "w", "b")]
        return arrays, leaves, arrays["radii"].tolist(), int(arrays["pad"])

    def close(self, actual, expected, tolerance):
        assert actual.shape == expected.shape
        assert (actual.double() - expected).abs().max() <= tolerance * max(1, float(expected.abs().max()))

    def test_values(self, module, dtype, case, device):
        arrays, (B, w, b), radii, pad = self.arguments(case, dtype, device)
        first, _ = TOLERANCES[dtype]
        for n, radius in enumerate(radii):
            self.close(module.disc_sum(B[:, n : n + 1], [radius], pad=pad), arrays["disc_sums"][:, n : n + 1], first)
        transform = module.inverse_distance_transform
        self.close(transform(B, radii, w, b, pad=pad, return_logits=True), arrays["logit"], first)
        self.close(transform(B, radii, w, b, pad=pad), arrays["prob"], first)
        self.close(transform(B, radii, pad=pad, union="noisy_or"), arrays["noisy_or"], first)
        self.close(transform(B, radii, pad=pad, union="max"), arrays["soft_max"], first)

    def test_derivatives(self, module, dtype, case, device):
        arrays, leaves, radii, pad = self.arguments(case, dtype, device)
        B, w, b = leaves
        first, second = TOLERANCES[dtype]
        mask = module.inverse_distance_transform(B, radii, w, b, pad=pad)
        upstream = arrays["g"].to(dtype)
        gradients = torch.autograd.grad(mask, leaves, upstream, create_graph=True)
        for gradient, key in zip(gradients, ("gB", "gw", "gb"), strict=True):
            self.close(gradient, arrays[key], first)
        product = sum((g * arrays[v].to(dtype)).sum() for g, v in zip(gradients, ("vB", "vw", "vb"), strict=True))
        for gradient, key in zip(torch.autograd.grad(product, leaves), ("hB", "hw", "hb"), strict=True):
            self.close(gradient, arrays[key], second)
        mask = module.inverse_distance_transform(B, radii, pad=pad, union="noisy_or")
        self.close(torch.autograd.grad(mask, B, upstream)[0], arrays["gB_noisy_or"], first)


@FUSED_AND_PLAIN
@pytest.mark.parametrize("case", HARD)
def test_union(module, case, device):
    arrays = HARD[case]
    labels = torch.as_tensor(arrays["labels"])[None].to(device)
    mask = module.disc_union(labels, arrays["radii"].tolist(), pad=int(arrays["pad"]))
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask[0].cpu(), arrays["mask"].astype(bool))


@FUSED_AND_PLAIN
@pytest.mark.parametrize("case", CODEC)
def test_decoding(module, case, device):
    arrays = CODEC[case]
    bins, mask = torch.as_tensor(arrays["bins"])[None].to(device), arrays["mask"].astype(bool)
    lower, upper = arrays["radii_lower"].tolist(), arrays["radii_upper"].tolist()
    assert bin_radii(int(arrays["R"]), int(arrays["K"])) == tuple(lower)
    np.testing.assert_array_equal(module.disc_union(bins, lower, pad=0)[0].cpu(), mask)
    np.testing.assert_array_equal(module.disc_union(bins, upper, pad=0)[0].cpu(), arrays["decode_upper"].astype(bool))
    centre = module.disc_union(bins[:, 9:37, 9:37], lower, pad=9)[0].cpu()
    np.testing.assert_array_equal(centre, arrays["decode_from_centre28"].astype(bool))


def test_half_widths_count_the_area_of_discs():
    with np.load(PARITY / "bais" / "union_hard.npz") as arrays:
        areas = arrays["disc_area"]
    for radius, area in enumerate(areas):
        assert sum(2 * h + 1 for h in half_widths(radius)) == area
