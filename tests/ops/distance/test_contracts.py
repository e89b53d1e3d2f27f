"""The distance transforms inside PyTorch: opcheck, compiler, export, AOTInductor, transforms, fake tensors."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cnnfast import ops, reference
from tests.ops.distance.cases import BINARY_DTYPES, CASES, FEW_CASES, random_labels, random_mask
from tests.ops.promises import compiled_tests

transform = torch.ops.cnnfast.truncated_distance_transform.default
bins = torch.ops.cnnfast.mask_to_bins.default


def layouts():
    """Planes [3,8,9], contiguous, transposed, with gaps, expanded, and empty ones."""
    labels = random_labels(3, 8, 9)
    return [
        labels,
        labels.mT.contiguous().mT,
        random_labels(3, 16, 18)[:, ::2, 1::2],
        labels[:1].expand(3, -1, -1),
        labels[:0],
        labels[..., :0],
        random_mask(3, 8, 9, dtype=torch.bool),
    ]


def operator_samples():
    """Every private operator, for every layout and the algorithms and results there are."""
    for mask in layouts():
        for radius, spacing, output in (
            (5.0, (1.0, 1.0), 0),
            (100.0, (1.0, 2.0), 0),
            (2.5, (1.0, 1.0), 1),
            (20.0, (1.0, 1.0), 2),
            (0.0, (1.0, 1.0), 2),
            (0.0, (1.0, 2.0), 3),
        ):
            yield transform, (mask, radius, True, *spacing, False, output, 1)
        for one_hot in range(6):
            yield bins, (mask, 9, 5, False, True, one_hot)


def test_opcheck():
    for operator, args in operator_samples():
        torch.library.opcheck(operator, args, test_utils=("test_schema", "test_faketensor"))
    for operator, args in list(operator_samples())[::5]:
        torch.library.opcheck(operator, args)


def check_compiled(case, device, backend, dynamic):
    compiled = torch.compile(getattr(ops, case.function), fullgraph=True, dynamic=dynamic, backend=backend)
    for shape in ((2, 9, 14), (3, 20, 11)):
        mask = case.mask(*shape, device=device)
        actual, expected = compiled(mask, *case.args, **case.options), case(ops, mask)
        assert actual.dtype == expected.dtype and actual.stride() == expected.stride()
        assert torch.equal(actual, expected)


class TestCompile(compiled_tests(CASES, FEW_CASES, check_compiled)):
    """Each case, and the number of graphs."""

    def test_sizes_may_change_without_recompiling(self, device):
        compiled, counter = self.counted(ops.truncated_distance_transform)
        counts = []
        for shape in [(2, 3, 4), (3, 5, 6), (4, 9, 12), (7, 8, 31)]:
            mask = random_mask(*shape, device=device)
            assert torch.equal(compiled(mask, 5), ops.truncated_distance_transform(mask, 5))
            counts.append(counter.frame_count)
        assert len(set(counts)) == 1

    def test_number_of_bins_may_change_without_recompiling(self, device):
        compiled, counter = self.counted(ops.mask_to_bins)
        mask = random_mask(2, 9, 10, device=device)
        for K in (3, 4, 5, 7):
            assert torch.equal(compiled(mask, 9, K, one_hot=True), ops.mask_to_bins(mask, 9, K, one_hot=True))
        assert counter.frame_count <= 2

    def test_between_differentiable_steps(self, device):
        """A threshold in front and a loss behind: the graph stays whole, gradients pass beside the transform."""

        def loss(x):
            weight = ops.truncated_distance_transform(x > 0, 5, output="distance")
            return (x * weight).sum()

        x = torch.randn(2, 9, 10, device=device, generator=torch.Generator(device).manual_seed(0)).requires_grad_()
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        (grad,) = torch.autograd.grad(compiled(x), x)
        assert torch.equal(grad, ops.truncated_distance_transform(x.detach() > 0, 5, output="distance"))

    def test_wrong_argument_is_an_error(self, device):
        compiled = torch.compile(ops.truncated_distance_transform, fullgraph=True, backend="aot_eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match=r"expected R a whole number"):
            compiled(torch.ones(3, 4, device=device, dtype=torch.bool), 300)


class Targets(nn.Module):
    """Both functions once."""

    def forward(self, mask):
        return ops.truncated_distance_transform(mask, 6, output="signed"), ops.mask_to_bins(mask, 9, 5, one_hot=True)


def dynamic_shapes():
    planes, height, width = (torch.export.Dim(name, min=2, max=64) for name in ("planes", "height", "width"))
    return {"mask": {0: planes, 1: height, 2: width}}


class TestExport:
    def test_save_and_load(self):
        program = torch.export.export(Targets(), (random_mask(2, 9, 8),), dynamic_shapes=dynamic_shapes())
        assert {"cnnfast.truncated_distance_transform.default", "cnnfast.mask_to_bins.default"} <= {
            str(node.target) for node in program.graph.nodes
        }
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        for shape in [(2, 9, 8), (3, 30, 21)]:
            mask = random_mask(*shape)
            for actual, expected in zip(loaded(mask), Targets()(mask), strict=True):
                assert torch.equal(actual, expected)

    @pytest.mark.slow
    def test_ahead_of_time_inductor(self, tmp_path):
        program = torch.export.export(Targets(), (random_mask(2, 9, 8),), dynamic_shapes=dynamic_shapes())
        package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "targets.pt2"))
        loaded = torch._inductor.aoti_load_package(package)
        for shape in [(2, 9, 8), (3, 30, 21)]:
            mask = random_mask(*shape)
            for actual, expected in zip(loaded(mask), Targets()(mask), strict=True):
                assert torch.equal(actual, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
class TestTransforms:
    def test_vmap(self, case, device):
        masks = case.mask(3, 2, 9, 14, device=device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mapped = torch.func.vmap(lambda mask: case(ops, mask))(masks)
            last = torch.func.vmap(lambda mask: case(ops, mask), -1, 1)(masks.movedim(0, -1))
            nested = torch.func.vmap(torch.func.vmap(lambda mask: case(ops, mask)))(masks)
        assert torch.equal(mapped, case(ops, masks))
        assert torch.equal(last, case(ops, masks).movedim(0, 1))
        assert torch.equal(nested, case(ops, masks))
        assert torch.equal(torch.func.vmap(lambda mask: case(reference, mask))(masks), mapped)

    def test_inside_a_derivative(self, case, device):
        """What depends on the mask alone is a constant there."""

        def weighted(x):
            return (case(ops, x > 0).double().clamp(-9, 9) * x.sum()).sum()

        x = torch.randn(2, 9, 14, device=device, generator=torch.Generator(device).manual_seed(0), dtype=torch.float64)
        expected = case(ops, x > 0).double().clamp(-9, 9).sum()
        torch.testing.assert_close(torch.func.grad(weighted)(x), expected.expand_as(x))
        _, tangent = torch.func.jvp(weighted, (x,), (torch.ones_like(x),))
        torch.testing.assert_close(tangent, expected * x.numel())

    def test_no_gradient(self, case, device):
        result = case(ops, case.mask(2, 9, 14, device=device))
        assert not result.requires_grad and result.grad_fn is None


@pytest.mark.parametrize("case", CASES, ids=str)
class TestWithoutData:
    def test_meta_device(self, case):
        real = case(ops, case.mask(2, 9, 14))
        output = case(ops, case.mask(2, 9, 14).to("meta"))
        assert output.is_meta and output.shape == real.shape and output.dtype == real.dtype

    def test_fake_tensors(self, case, device):
        mask = case.mask(2, 9, 14, device=device)
        real = case(ops, mask.mT)
        with FakeTensorMode() as mode:
            output = case(ops, mode.from_tensor(mask).mT)
        assert output.shape == real.shape and output.stride() == real.stride() and output.device == real.device


def test_more_elements_than_32_bits_can_count():
    mask = torch.empty(3, 1 << 16, 1 << 16, device="meta", dtype=torch.bool)
    assert ops.truncated_distance_transform(mask, 5).shape == mask.shape
    assert ops.mask_to_bins(mask, 5, 5, one_hot=True).shape == (3, 5, 1 << 16, 1 << 16)


@pytest.mark.parametrize("case", FEW_CASES, ids=str)
def test_autocast_changes_nothing(case, device):
    mask = case.mask(2, 9, 14, device=device)
    expected = case(ops, mask)
    with torch.autocast(device, torch.bfloat16):
        actual = case(ops, mask)
    assert actual.dtype == expected.dtype and torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", BINARY_DTYPES, ids=str)
def test_the_mask_is_not_changed(dtype, device):
    mask = random_mask(2, 30, 40, dtype=dtype, device=device)
    before = mask.clone()
    for R in (5, 30, 90):
        ops.truncated_distance_transform(mask, R)
    assert torch.equal(mask, before)


def test_package_exports_the_functions():
    assert {"mask_to_bins", "truncated_distance_transform"} <= set(ops.__all__) & set(reference.__all__)
