"""What holds for every mask: restored from its bins, monotone in R, the same however it lies."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.distance.cases import blobs, random_labels, random_mask, squared_distances, union_of_discs

MODES = pytest.mark.parametrize("labels", [False, True], ids=["mask", "label map"])
BORDERS = pytest.mark.parametrize("border", ["none", "background"])
RADII = (1, 2, 5, 9, 15, 16, 40, 65, 255)


def some_planes(labels, *shape, device="cpu", seed=0):
    if labels:
        return random_labels(*shape, device=device, seed=seed)
    half = shape[0] // 2
    return torch.cat(
        [
            blobs(half, *shape[1:], device=device, seed=seed),
            random_mask(shape[0] - half, *shape[1:], density=0.95, device=device, seed=seed),
        ]
    )


def bin_radii(R, K):
    """The largest radius of discs that is safe for every distance of a bin."""
    return [(n - 1) * R // K for n in range(1, K + 1)]


@MODES
@BORDERS
class TestInvariance:
    def test_never_falls_with_the_radius(self, labels, border, device):
        planes = some_planes(labels, 4, 37, 45, device=device)
        before = torch.zeros_like(planes, dtype=torch.uint8)
        for R in range(1, 70):
            now = ops.truncated_distance_transform(planes, R, labels=labels, border=border)
            assert (now >= before).all() and now.max() <= R
            assert torch.equal(now.clamp(max=R - 1), before)
            before = now

    def test_flips_and_transposes(self, labels, border, device):
        planes = some_planes(labels, 4, 37, 150, device=device)
        for R in RADII:
            options = {"labels": labels, "border": border}
            expected = ops.truncated_distance_transform(planes, R, **options)
            for move in (lambda t: t.flip(-1), lambda t: t.flip(-2), lambda t: t.mT, lambda t: t.rot90(1, (-2, -1))):
                actual = ops.truncated_distance_transform(move(planes).contiguous(), R, **options)
                assert torch.equal(actual, move(expected)), R

    def test_planes_are_independent(self, labels, border, device):
        planes = some_planes(labels, 12, 20, 21, device=device)
        options = {"labels": labels, "border": border}
        for R in RADII:
            stacked = ops.truncated_distance_transform(planes.view(3, 4, 20, 21), R, **options)
            single = torch.stack([ops.truncated_distance_transform(plane, R, **options) for plane in planes])
            assert torch.equal(stacked, single.view(3, 4, 20, 21)), R
            order = torch.randperm(12, generator=torch.Generator().manual_seed(R)).to(device)
            assert torch.equal(ops.truncated_distance_transform(planes[order], R, **options), single[order]), R

    def test_frame_is_a_ring_of_zeros(self, labels, border, device):
        if border == "none":
            pytest.skip("has no frame")
        planes = some_planes(labels, 6, 30, 31, device=device)
        for R in RADII:
            framed = torch.nn.functional.pad(planes, (1, 1, 1, 1))
            expected = ops.truncated_distance_transform(framed, R, labels=labels)[..., 1:-1, 1:-1]
            actual = ops.truncated_distance_transform(planes, R, labels=labels, border="background")
            assert torch.equal(actual, expected), R

    def test_units(self, labels, border, device):
        """Distances in units of 1/4 pixel are four times as many."""
        planes = some_planes(labels, 4, 37, 45, device=device)
        options = {"labels": labels, "border": border}
        for R in (2, 9.5, 30, 80):
            expected = ops.truncated_distance_transform(planes, R, output="distance", **options)
            actual = ops.truncated_distance_transform(planes, 4 * R, output="distance", spacing=(4, 4), **options)
            assert torch.equal(actual, 4 * expected), R


@BORDERS
def test_label_map_is_a_loop_over_its_objects(border, device):
    labels = random_labels(3, 50, 61, device=device)
    for R in RADII:
        expected = torch.zeros_like(labels, dtype=torch.uint8)
        for label in labels.unique().tolist():
            if label != 0:
                expected += ops.truncated_distance_transform(labels == label, R, border=border)
        assert torch.equal(ops.truncated_distance_transform(labels, R, labels=True, border=border), expected), R


def test_outputs_agree(device):
    planes = some_planes(True, 4, 37, 45, device=device)
    for labels in (False, True):
        for R in (3, 12, 30, 90):
            squares = ops.truncated_distance_transform(planes, R, labels=labels, output="squared")
            distances = ops.truncated_distance_transform(planes, R, labels=labels, output="distance")
            signed = ops.truncated_distance_transform(planes, R, labels=labels, output="signed")
            assert torch.equal(distances, squares.double().sqrt().float())
            assert torch.equal(ops.truncated_distance_transform(planes, R, labels=labels).float(), distances.ceil())
            assert torch.equal(signed.clamp(min=0), distances)
            outside = ops.truncated_distance_transform(planes == 0, R, output="distance")
            assert torch.equal((-signed).clamp(min=0), outside)


@pytest.mark.parametrize("zero", ["half", "inner"])
def test_place_of_the_zero(zero, device):
    mask = blobs(3, 40, 50, device=device)
    for spacing, pixel in (((1.0, 1.0), 1.0), ((0.5, 0.5), 0.5), ((3.0, 2.0), 2.0)):
        for R in (None, 2.25, 7, 100):
            edge = ops.truncated_distance_transform(mask, output="signed", spacing=spacing).double()
            shift = torch.where(edge > 0, pixel, -pixel if zero == "half" else 0.0) * (0.5 if zero == "half" else 1.0)
            expected = (edge - shift).clamp(-R, R) if R else edge - shift
            actual = ops.truncated_distance_transform(mask, R, output="signed", spacing=spacing, zero=zero)
            torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)


class TestCodec:
    """A mask is the union of the discs that its bins stand for: no disc leaves it, and every pixel has one."""

    @pytest.mark.parametrize("R", range(1, 21))
    def test_every_radius_and_number_of_bins(self, R, device):
        masks = torch.cat([some_planes(False, 6, 24, 25, device=device, seed=R), torch.ones(1, 24, 25, device=device)])
        masks = masks.to(torch.uint8)
        for K in range(1, R + 1):
            for border in ("none", "background"):
                bins = ops.mask_to_bins(masks, R, K, border=border)
                assert bins.max() <= K and torch.equal(bins != 0, masks != 0)
                assert torch.equal(union_of_discs(ops, bins, bin_radii(R, K)), masks != 0), (K, border)

    @pytest.mark.parametrize(("R", "K"), [(1, 1), (5, 5), (9, 5), (13, 5), (20, 7)])
    def test_with_the_inverse_operator(self, R, K):
        masks = some_planes(False, 6, 24, 25, seed=R)
        restored = reference.disc_union(ops.mask_to_bins(masks, R, K), bin_radii(R, K), pad=0)
        assert torch.equal(restored, masks != 0)

    def test_objects_of_a_label_map(self, device):
        labels = random_labels(2, 40, 41, device=device)
        bins = ops.mask_to_bins(labels, 9, 5, labels=True)
        for label in labels.unique().tolist():
            own = torch.where(labels == label, bins, 0)
            assert torch.equal(union_of_discs(ops, own, bin_radii(9, 5)), (labels == label) & (label != 0))

    @pytest.mark.parametrize("picture", ["horse", "coins"])
    def test_pictures(self, picture):
        data = pytest.importorskip("skimage.data")
        image = torch.from_numpy(getattr(data, picture)())
        mask = ~image if picture == "horse" else image > 107
        for R, K in ((1, 1), (5, 5), (9, 5), (13, 5), (20, 20)):
            bins = ops.mask_to_bins(mask, R, K)
            assert torch.equal(union_of_discs(ops, bins, bin_radii(R, K)), mask)


@pytest.mark.slow
class TestHundredThousandMasks:
    """Against all pairs of pixels: sides of 1 to 12, both modes and borders, every radius."""

    @pytest.mark.parametrize("seed", range(10))
    def test_against_brute_force(self, seed):
        generator = torch.Generator().manual_seed(seed)

        def draw(limit):
            return int(torch.randint(1, limit + 1, (), generator=generator))

        checked = 0
        while checked < 10_000:
            height, width, count = draw(12), draw(12), 100
            labels, border = draw(2) == 1, ("none", "background")[draw(2) - 1]
            density = torch.rand(count, 1, 1, generator=generator) ** 0.3
            planes = torch.rand(count, height, width, generator=generator) < density
            if labels:
                planes = planes * torch.randint(-1, 3, (count, height, width), generator=generator)
            squares = squared_distances(planes, labels, border)
            options = {"labels": labels, "border": border}
            for R in (draw(20), draw(255)):
                actual = ops.truncated_distance_transform(planes, R, **options)
                assert torch.equal(actual, squares.sqrt().ceil().clamp(max=R).to(torch.uint8))
            limit = draw(20)
            actual = ops.truncated_distance_transform(planes, limit, output="squared", **options)
            assert torch.equal(actual, squares.clamp(max=limit**2).int())
            distances = ops.truncated_distance_transform(planes, output="distance", **options)
            assert torch.equal(distances, squares.sqrt().float())
            checked += count
