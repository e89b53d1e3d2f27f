"""MaskToBins, BinsToMask, InverseDistanceTransform: what they restore, what they learn, messages."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from cnnfast import ops
from cnnfast.layers import BinsToMask, InverseDistanceTransform, MaskToBins
from tests.parity import PARITY

MASK_7X7 = torch.tensor(
    [[int(c) for c in row] for row in ["0000000", "0111100", "0111100", "0111110", "0111110", "0111110", "0000000"]]
)


def random_mask(*shape, seed=0, density=0.7):
    """Blobs: noise, smoothed and cut."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1) if len(shape) > 2 else noise
    return smooth < density * 0.75


def intersection_over_union(a, b):
    return ((a & b).sum() / (a | b).sum()).item()


class TestRestoration:
    @pytest.mark.parametrize("R", range(1, 21))
    @pytest.mark.parametrize("border", ["none", "background"])
    def test_decoding_what_was_encoded_is_the_mask(self, R, border):
        masks = torch.cat([random_mask(4, 31, 37, seed=R), torch.ones(1, 31, 37).bool(), torch.zeros(1, 31, 37).bool()])
        for K in range(1, R + 1):
            bins = MaskToBins(R, K, border=border)(masks)
            assert bins.max() <= K
            assert torch.equal(BinsToMask(R, K)(bins), masks)

    def test_real_masks(self):
        data = pytest.importorskip("skimage.data")
        masks = [torch.from_numpy(~data.horse()), torch.from_numpy(data.coins() > 110)]
        for mask in masks:
            for R, K in ((9, 5), (16, 3), (20, 20)):
                assert torch.equal(BinsToMask(R, K)(MaskToBins(R, K)(mask)), mask)

    @pytest.mark.parametrize("case", range(20))
    def test_published_bins(self, case):
        with np.load(PARITY / "bais" / "codec.npz") as arrays:
            mask, bins, R, K = (arrays[f"c{case}/{name}"] for name in ("mask", "bins", "R", "K"))
        layer = MaskToBins(int(R), int(K))
        np.testing.assert_array_equal(layer(torch.as_tensor(mask)), bins)
        one_hot = MaskToBins(int(R), int(K), one_hot=True)(torch.as_tensor(mask))
        assert one_hot.dtype == torch.float32
        np.testing.assert_array_equal((one_hot * torch.arange(1, int(K) + 1)[:, None, None]).sum(0), bins)

    def test_label_maps(self):
        """Touching instances keep their own distances, and each is restored alone."""
        labels = torch.zeros(20, 30, dtype=torch.int64)
        labels[2:15, 3:14], labels[2:15, 14:27], labels[15:19, 5:20] = 300, -4, 7
        bins = MaskToBins(9, 5, labels=True)(labels)
        for label in (300, -4, 7):
            mask = labels == label
            assert torch.equal(BinsToMask(9, 5)(bins * mask), mask)

    def test_discs_leave_the_window(self):
        bins = torch.zeros(2, 3, 10, 10, dtype=torch.uint8)
        bins[..., 0, 0] = 5
        mask = BinsToMask(9, 5, pad=7)(bins)
        assert mask.shape == (2, 3, 24, 24) and mask[0, 0, 0, 7] and mask.sum() == 6 * 149

    def test_batches_of_any_depth(self):
        masks = random_mask(2, 3, 4, 12).unsqueeze(-2).expand(2, 3, 4, 9, 12)
        bins = MaskToBins(4, 2)(masks)
        assert bins.shape == masks.shape and torch.equal(BinsToMask(4, 2)(bins), masks)
        single = MaskToBins(4, 2)(MASK_7X7)
        assert single.shape == (7, 7) and torch.equal(BinsToMask(4, 2)(single), MASK_7X7.bool())
        assert BinsToMask(4, 2)(torch.zeros(0, 3, 5, 5, dtype=torch.uint8)).shape == (0, 3, 5, 5)


class TestInnerBoundary:
    def test_worked_example(self):
        layer = MaskToBins(9, 9, convention="inner_boundary")
        expected = ["0000000", "0000000", "0011000", "0012100", "0012100", "0000000", "0000000"]
        # The example of the exact convention's distances minus 1, where corners count from the inner layer.
        distances = layer(MASK_7X7)
        assert distances.tolist()[2] == [int(c) for c in expected[2]]
        assert distances.max() == 2
        decoded = BinsToMask(9, 9, convention="inner_boundary")(distances)
        rows = ["0000000", "0011000", "0111100", "0111110", "0111110", "0011100", "0000000"]
        assert torch.equal(decoded, torch.tensor([[int(c) for c in row] for row in rows]).bool())
        assert round(intersection_over_union(decoded, MASK_7X7.bool()), 3) == 0.826

    def test_is_one_less_on_straight_edges(self):
        mask = torch.zeros(20, 40, dtype=torch.bool)
        mask[:, 5:30] = True
        exact = MaskToBins(20, 20)(mask).int()
        inner = MaskToBins(20, 20, convention="inner_boundary")(mask).int()
        assert torch.equal(inner[:, 5:30], exact[:, 5:30] - 1)

    def test_thin_objects_vanish(self):
        mask = torch.zeros(9, 9, dtype=torch.bool)
        mask[3:5] = True
        assert not MaskToBins(convention="inner_boundary")(mask).any()

    def test_border_and_labels(self):
        everything = torch.ones(7, 7, dtype=torch.int32)
        assert (MaskToBins(4, 4, "inner_boundary")(everything) == 4).all()
        framed = MaskToBins(4, 4, "inner_boundary", border="background")(everything)
        assert framed.tolist()[0] == [0] * 7 and framed[3, 3] == 3
        halves = torch.ones(7, 8, dtype=torch.int32)
        halves[:, 4:] = 2
        bins = MaskToBins(4, 4, "inner_boundary", labels=True)(halves)
        assert bins[0].tolist() == [3, 2, 1, 0, 0, 1, 2, 3]
        assert torch.equal(halves[:, 3], torch.ones(7, dtype=torch.int32))


class TestInverseDistanceTransform:
    @pytest.mark.parametrize(("K", "R"), [(5, 9), (9, 9), (5, 5), (3, 9)])
    def test_certain_bins_decode_to_the_union_at_first(self, K, R):
        masks = random_mask(6, 28, 28, seed=K, density=0.62)
        bins = MaskToBins(R, K, one_hot=True)(masks)
        layer = InverseDistanceTransform(K, R, pad=0)
        assert torch.equal(layer(bins).squeeze(1) > 0.5, masks)
        assert (layer.weight == 4).all() and layer.bias == -3

    @pytest.mark.parametrize("union", ["sum", "noisy_or", "max"])
    def test_is_the_function(self, union):
        layer = InverseDistanceTransform(5, 9, union=union)
        bins = torch.rand(2, 5, 20, 24)
        assert layer.radii.tolist() == [0, 1, 3, 5, 7] and layer.pad == 7
        weighted = {"weight": layer.weight, "bias": layer.bias}
        expected = ops.inverse_distance_transform(bins, (0, 1, 3, 5, 7), **weighted, union=union, return_logits=True)
        assert torch.equal(layer(bins, return_logits=True), expected)

    def test_learns(self):
        torch.manual_seed(0)
        masks = random_mask(8, 28, 28, density=0.6)
        bins = MaskToBins(9, 5, one_hot=True)(masks) * 0.3
        layer = InverseDistanceTransform(5, 9, pad=0)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        losses = []
        for _ in range(40):
            logits = layer(bins, return_logits=True).squeeze(1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]

    def test_without_learned_weights(self):
        layer = InverseDistanceTransform(5, 9, learn_weight=False)
        assert not list(layer.parameters()) and set(layer.state_dict()) == {"weight", "bias"}
        assert not list(InverseDistanceTransform(5, 9, union="max").parameters())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_halves_are_decoded_in_float32(self, dtype):
        layer = InverseDistanceTransform(5, 9)
        bins = torch.rand(1, 5, 9, 9).to(dtype).requires_grad_()
        mask = layer(bins)
        assert mask.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(mask.float(), layer(bins.detach().float())) or dtype == torch.float64
        mask.sum().backward()
        assert bins.grad.dtype == dtype

    def test_under_autocast(self):
        layer = InverseDistanceTransform(5, 9)
        bins = torch.rand(1, 5, 9, 9).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(bins).dtype == layer(bins, return_logits=True).dtype == torch.float32

    def test_copies_and_state(self):
        layer, bins = InverseDistanceTransform(5, 9), torch.rand(1, 5, 9, 9)
        with torch.no_grad():
            layer.weight.uniform_()
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(bins), layer(bins)) and repr(twin) == repr(layer)
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        fresh = InverseDistanceTransform(5, 9)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(fresh(bins), layer(bins))
        assert layer.double()(bins.double()).dtype == torch.float64

    def test_compiles_to_one_graph(self):
        layer, bins = InverseDistanceTransform(5, 9), torch.rand(2, 5, 9, 9)
        torch.compiler.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(bins), layer(bins))


def test_codec_compiles_to_one_graph():
    torch.compiler.reset()
    for convention in ("exact", "inner_boundary"):
        encode, decode = MaskToBins(convention=convention), BinsToMask(convention=convention)
        compiled = torch.compile(lambda mask, e=encode, d=decode: d(e(mask)), fullgraph=True, backend="aot_eager")
        mask = random_mask(2, 20, 20)
        assert torch.equal(compiled(mask), decode(encode(mask)))


@pytest.mark.parametrize("border", ["none", "background"])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 6), (6, 1), (2, 3), (2, 3, 7, 9)])
def test_inner_boundary_by_its_definition(shape, labels, border):
    """A pixel is outermost if one of its four neighbours has another value; beyond the image only a border counts."""
    values = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0))
    values = (values if labels else values.clamp(max=1)).to(torch.uint16)
    grown = torch.nn.functional.pad(values.int(), (1, 1, 1, 1), value=0 if border == "background" else -1)
    inner = grown[..., 1:-1, 1:-1]
    outermost = torch.zeros(shape, dtype=torch.bool)
    for neighbour in (grown[..., :-2, 1:-1], grown[..., 2:, 1:-1], grown[..., 1:-1, :-2], grown[..., 1:-1, 2:]):
        outermost |= (neighbour != inner) & (neighbour != -1)
    expected = ops.mask_to_bins(torch.where(outermost, 0, values.int()), 4, 2, labels=labels, border=border)
    result = MaskToBins(4, 2, "inner_boundary", labels=labels, border=border)(values)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("convention", ["exact", "inner_boundary"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_bins_compile(convention, backend):
    torch._dynamo.reset()
    layer, mask = MaskToBins(5, 3, convention, border="background"), random_mask(2, 20, 24)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    assert torch.equal(compiled(mask), layer(mask))
    back = BinsToMask(5, 3, convention)
    assert torch.equal(torch.compile(back, backend=backend, fullgraph=True)(layer(mask)), back(layer(mask)))


def test_integers_of_any_kind():
    class Nine:
        def __index__(self):
            return 9

    mask = random_mask(1, 20, 20)
    for R, K in ((np.int64(9), np.uint8(5)), (torch.tensor(9), np.array(5)), (9.0, 5), (np.float32(9), np.int16(5))):
        assert torch.equal(ops.mask_to_bins(mask, R, K), ops.mask_to_bins(mask, 9, 5))
        layer = MaskToBins(R, K)
        assert (type(layer.R), type(layer.K)) == (int, int) and layer.radii == (0, 1, 3, 5, 7)
    labels, radii = ops.mask_to_bins(mask, 9, 5), (0, 1, 3, 5, 7)
    for given in (np.array(radii), [np.int32(radius) for radius in radii], torch.tensor(radii).numpy()):
        assert torch.equal(ops.disc_union(labels, given, pad=np.int64(2)), ops.disc_union(labels, radii, pad=2))
    assert torch.equal(ops.disc_union(labels, [*radii[:-1], Nine()]), ops.disc_union(labels, [*radii[:-1], 9]))
    assert InverseDistanceTransform(np.int64(5), np.int64(9), pad=np.int64(3)).pad == 3


def test_representation():
    assert repr(MaskToBins(9, 3)) == (
        "MaskToBins(R=9, K=3, convention='exact', labels=False, border='none', one_hot=False)"
    )
    assert repr(BinsToMask(9, 3, pad=2)) == "BinsToMask(R=9, K=3, convention='exact', pad=2)"
    assert "K=3, R=9, union='max', pad=6" in repr(InverseDistanceTransform(3, 9, "max"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaskToBins(0, 1), ValueError, r"MaskToBins: expected R .* got 0"),
        (lambda: MaskToBins(5, 6), ValueError, r"MaskToBins: expected K .* got 6"),
        (lambda: MaskToBins(convention="outer"), ValueError, r"MaskToBins: expected convention one of .* got 'outer'"),
        (lambda: MaskToBins(border="mirror"), ValueError, r"MaskToBins: expected border one of .* got 'mirror'"),
        (lambda: BinsToMask(9, 10), ValueError, r"BinsToMask: expected K .* got 10"),
        (lambda: BinsToMask(pad=-1), ValueError, r"BinsToMask: expected pad from 0 to 32767, got -1"),
        *(
            (lambda mask=mask, convention=convention: MaskToBins(5, 3, convention)(mask), error, f"got {got}")
            for convention in ("exact", "inner_boundary")
            for mask, error, got in (
                (torch.rand(4, 4), TypeError, "torch.float32: pass mask > 0.5"),
                (np.ones((4, 4)), TypeError, "ndarray"),
                (None, TypeError, "NoneType"),
                (torch.ones(4, dtype=torch.bool), ValueError, r"\[4\]"),
            )
        ),
        (lambda: MaskToBins(labels=1), TypeError, r"MaskToBins: expected labels True or False, got 1"),
        (lambda: MaskToBins(one_hot="no"), TypeError, r"MaskToBins: expected one_hot True or False, got 'no'"),
        (lambda: BinsToMask()(torch.zeros(5, dtype=torch.uint8)), ValueError, r"BinsToMask: expected bins of shape"),
        (lambda: BinsToMask()([1]), TypeError, r"BinsToMask: expected bins a torch.Tensor, got list"),
        (lambda: BinsToMask()(torch.zeros(5, 5)), TypeError, r"expected labels of dtype uint8, got torch.float32"),
        (lambda: InverseDistanceTransform(5.0, 9), TypeError, r"InverseDistanceTransform: expected K .* got 5.0"),
        (lambda: InverseDistanceTransform(5, 9, "or"), ValueError, r"InverseDistanceTransform: expected union one of"),
        (
            lambda: InverseDistanceTransform(5, 9, pad=-2),
            ValueError,
            r"InverseDistanceTransform: expected pad from 0",
        ),
        (lambda: InverseDistanceTransform(5, 9)(torch.zeros(1, 5, 4, 4).int()), TypeError, r"expected bins of dtype"),
        (lambda: InverseDistanceTransform(5, 9)(torch.zeros(1, 4, 4, 4)), ValueError, r"expected B with 5 bins"),
    ],
)
def test_messages(make, error, message):
    with pytest.raises(error, match=message):
        make()
