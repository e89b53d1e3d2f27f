"""The distance transforms' CUDA kernels, run on the CPU in three thread orders, against their twins: every bit."""

from __future__ import annotations

import itertools

import pytest
import torch

from cnnfast import reference
from tests.cuda_emulation import emulation
from tests.cuda_emulation.emulated_cases import emulated

pytestmark = [
    pytest.mark.skipif(
        not (emulation.KERNELS and emulation.compiler()), reason="needs the CUDA sources and a C++ compiler"
    ),
    pytest.mark.sanitized_where("float32", "test_empty"),
]
DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
# Around the side of a tile (32), of a block of columns (32) and of its segments, of a block of a row (256).
SIZES = [(1, 1), (1, 70), (70, 1), (31, 33), (32, 32), (33, 31), (64, 65), (5, 300), (100, 40)]
OUTPUTS = ["bins", "distance", "squared", "signed edge", "signed half", "signed inner"]
ONE_HOT = [None, torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def random_mask(shape, dtype, density=0.03, seed=0):
    """Patches of up to five values, also large and negative ones, with holes in them."""
    generator = torch.Generator().manual_seed(seed)
    *batch, height, width = shape
    patches = torch.randint(0, 5, (*batch, height // 9 + 1, width // 13 + 1), generator=generator)
    values = torch.tensor([0, 1, 2, 127, -128]) if dtype == torch.int8 else torch.tensor([0, 1, 2, 200, 255])
    if dtype in (torch.int16, torch.int32, torch.int64):
        # Equal in the low bytes: the whole value counts.
        values = torch.tensor([0, 1, 1 - 2 ** (torch.iinfo(dtype).bits - 1), -2, torch.iinfo(dtype).max])
    mask = values[patches].repeat_interleave(9, -2).repeat_interleave(13, -1)[..., :height, :width]
    holes = torch.rand(shape, generator=generator) < density
    return torch.where(holes, 0, mask).to(dtype)


def transform(mask, R, labels, spacing, border, output, zero="edge"):
    """The emulated operator on the arguments of the public function."""
    codes = {"bins": 0, "distance": 1, "squared": 2, "signed": 3}, {"edge": 0, "half": 1, "inner": 2}
    is_labels = labels and mask.dtype != torch.bool
    options = (*spacing, border == "background", codes[0][output], codes[1][zero])
    return emulated("truncated_distance_transform", mask, float(R or 0), is_labels, *options)


def assert_equals_twin(mask, R, labels=False, spacing=(1.0, 1.0), border="none", output="bins", zero="edge"):
    found = transform(mask, R, labels, spacing, border, output, zero)
    expected = reference.truncated_distance_transform(
        mask, R, labels=labels, spacing=spacing, border=border, output=output, zero=zero
    )
    assert found.dtype == expected.dtype
    assert found.is_contiguous()
    assert torch.equal(found, expected)


def combinations():
    """Every seventh combination of options, with sizes and dtypes that change with it."""
    spacings = [(1.0, 1.0), (0.5, 0.5), (2.0, 0.7), (1.0, 3.0)]
    radii = [1, 2, 2.5, 9, 32, 33, 255, None]
    every = itertools.product(OUTPUTS, radii, spacings, [False, True], ["none", "background"])
    for index, (output, radius, spacing, labels, border) in enumerate(every):
        output, _, zero = output.partition(" ")
        whole = radius is not None and radius % 1 == 0
        pixels = output == "squared" and spacing == (1.0, 1.0)
        if index % 7 or (output == "bins" and not whole) or (pixels and radius == 2.5):
            continue
        size, dtype = SIZES[index // 7 % 9], DTYPES[index // 7 % 6]
        name = f"{output}{zero}-{radius}-{spacing}-{labels}-{border}-{size}-{dtype}"
        yield pytest.param(size, dtype, radius, labels, spacing, border, output, zero or "edge", id=name)


@pytest.mark.sanitized_where("background", "long", "strides")
class TestTransform:
    @pytest.mark.parametrize(
        ("size", "dtype", "radius", "labels", "spacing", "border", "output", "zero"), list(combinations())
    )
    def test_combination(self, size, dtype, radius, labels, spacing, border, output, zero):
        assert_equals_twin(random_mask((2, *size), dtype), radius, labels, spacing, border, output, zero)

    @pytest.mark.parametrize("radius", [9, 32, 33, None])
    @pytest.mark.parametrize("border", ["none", "background"])
    @pytest.mark.parametrize("value", [0, 1])
    def test_one_value_alone(self, value, border, radius):
        mask = torch.full((1, 37, 41), value, dtype=torch.uint8)
        assert_equals_twin(mask, radius, border=border, output="squared")
        assert_equals_twin(mask, radius, border=border, output="signed")

    @pytest.mark.parametrize("radius", [6, 32, 33, 40, None])
    @pytest.mark.parametrize("at", [(0, 0), (36, 50), (31, 32), (36, 0)], ids=str)
    def test_one_site(self, at, radius):
        """Distances in every direction, across tiles and up to the last one that counts."""
        mask = torch.ones(1, 37, 51, dtype=torch.int32)
        mask[0][at] = 0
        assert_equals_twin(mask, radius, output="squared")
        assert_equals_twin(mask, radius, output="signed", zero="half")

    @pytest.mark.parametrize("shape", [(1, 1100, 2), (1, 2, 1100), (70, 3, 2)], ids=str)
    def test_long_and_many_planes(self, shape):
        mask = random_mask(shape, torch.int16, density=0.002)
        assert_equals_twin(mask, None, True, output="squared")
        assert_equals_twin(mask, 20, True, border="background")

    @pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
    def test_empty(self, shape):
        for radius, output in ((3, "bins"), (None, "signed"), (None, "squared")):
            assert_equals_twin(torch.ones(shape, dtype=torch.uint8), radius, output=output)

    @pytest.mark.parametrize("radius", [9, 40])
    def test_any_strides(self, radius):
        mask = random_mask((3, 40, 50), torch.int32)
        assert_equals_twin(mask.mT, radius, True)
        assert_equals_twin(mask[:, 1:, ::3], radius, True)
        assert_equals_twin(mask[:1].expand(4, -1, -1), radius, True)


class TestBins:
    @pytest.mark.parametrize("dtype", ONE_HOT, ids=str)
    @pytest.mark.parametrize(("radius", "bins"), [(1, 1), (9, 5), (32, 32), (16, 3), (40, 7), (255, 255)])
    def test_against_twin(self, radius, bins, dtype):
        labels, border = bins % 2 == 1, radius == 9
        mask = random_mask((2, 33, 35), torch.int16, 0.005)
        code = ONE_HOT.index(dtype)
        found = emulated("mask_to_bins", mask, radius, bins, labels, border, code)
        expected = reference.mask_to_bins(
            mask,
            radius,
            bins,
            labels=labels,
            border="background" if border else "none",
            one_hot=code > 0,
            dtype=dtype,
        )
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)

    def test_empty(self):
        for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
            mask = torch.ones(shape, dtype=torch.bool)
            assert emulated("mask_to_bins", mask, 9, 5, False, False, 0).shape == shape
            assert emulated("mask_to_bins", mask, 9, 5, False, False, 4).shape == (shape[0], 5, *shape[1:])


@pytest.mark.parametrize(("name", "key"), [("tdt_binary", "mask"), ("tdt_labels", "labels")])
def test_distances_of_all_pairs(name, key, parity):
    """Squared distances that were found pixel by pixel."""
    emulation.load()
    emulation.set_order("forward")
    operator = torch.ops.cnnfast_emulated.truncated_distance_transform
    arrays = {name: torch.from_numpy(array) for name, array in parity(name, "bais").items()}
    for case in {name.split("/")[0] for name in arrays if "/" in name}:
        mask = arrays[f"{case}/{key}"][None]
        for border in ("none", "background"):
            options, squares = (key == "labels", 1.0, 1.0, border == "background"), arrays[f"{case}/d2_{border}"]
            found = operator(mask, 0.0, *options, 2, 0)[0]
            nowhere = found == torch.iinfo(torch.int64).max
            assert torch.equal(torch.where(nowhere, torch.inf, found.double()), squares)
            for radius in (1, 5, 9, 40):
                bins = squares.sqrt().ceil().clamp(max=radius).to(torch.uint8)
                assert torch.equal(operator(mask, float(radius), *options, 0, 0)[0], bins)


@pytest.mark.sanitized
class TestChecks:
    """Arguments that would give a wrong result or read outside of memory are refused on CUDA as on the CPU."""

    @pytest.fixture(params=["cnnfast", "cnnfast_emulated"])
    def operators(self, request):
        emulation.load()
        return getattr(torch.ops, request.param)

    @pytest.mark.parametrize(
        ("radius", "spacing", "output", "zero"),
        [
            (0.5, 1.0, 1, 0),
            (-1.0, 1.0, 1, 0),
            (float("inf"), 1.0, 1, 0),
            (float("nan"), 1.0, 1, 0),
            (0.0, 1.0, 0, 0),
            (256.0, 1.0, 0, 0),
            (2.5, 1.0, 0, 0),
            (2.5, 1.0, 2, 0),
            (46341.0, 1.0, 2, 0),
            (2.0, 0.0, 1, 0),
            (2.0, float("nan"), 1, 0),
            (2.0, 1.0, 4, 0),
            (2.0, 1.0, 3, 3),
        ],
    )
    def test_refused(self, operators, radius, spacing, output, zero):
        mask = torch.ones(1, 3, 4, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match="truncated_distance_transform: "):
            operators.truncated_distance_transform(mask, radius, False, 1.0, spacing, False, output, zero)

    @pytest.mark.parametrize(("radius", "bins", "one_hot"), [(0, 1, 0), (256, 1, 0), (4, 5, 0), (4, 0, 0), (4, 4, 6)])
    def test_bins_refused(self, operators, radius, bins, one_hot):
        with pytest.raises(RuntimeError, match="mask_to_bins: "):
            operators.mask_to_bins(torch.ones(1, 3, 4, dtype=torch.uint8), radius, bins, False, False, one_hot)

    @pytest.mark.parametrize("mask", [torch.ones(3, 4, dtype=torch.uint8), torch.ones(1, 3, 4)], ids=["2-d", "float"])
    def test_mask_refused(self, operators, mask):
        with pytest.raises(RuntimeError, match="truncated_distance_transform: mask must"):
            operators.truncated_distance_transform(mask, 2.0, False, 1.0, 1.0, False, 0, 0)
        with pytest.raises(RuntimeError, match="mask_to_bins: mask must"):
            operators.mask_to_bins(mask, 2, 2, False, False, 0)
