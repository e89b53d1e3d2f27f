"""The disc functions inside PyTorch: opcheck, compiler, export, AOTInductor, autocast, fake tensors."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from cnnfast import ops, reference
from tests.ops.discs.cases import CASES, FEW_CASES, probabilities, random_labels
from tests.ops.promises import WithoutData, check_compiled, compiled_tests
from tests.ops.tensors import random_tensor

RADII = [0, 2, 3]
OPERATORS = ["disc_sum", "_disc_sum_backward", "disc_max"]


def layouts(dtype):
    x = probabilities(2, 3, 5, 6, dtype=dtype)
    return [x, x.to(memory_format=torch.channels_last), x.mT, x[:1].expand(2, -1, -1, -1), x[..., :0], x[:0]]


def operator_samples(name, dtype):
    """Arguments of a private operator for every layout and option."""
    accumulated = torch.float64 if dtype == torch.float64 else torch.float32
    weight = random_tensor(3, dtype=accumulated)
    for x in layouts(dtype):
        for pad in (0, 2, 5):
            if name == "disc_max":
                yield x, RADII, pad
                continue
            for option in ((None, pad, False), (weight, pad, False), (None, pad, True)):
                if name == "disc_sum":
                    yield x, RADII, *option
                    continue
                grad = random_tensor(x.shape[0], 1, x.shape[2] + 2 * pad, x.shape[3] + 2 * pad, dtype=accumulated)
                yield grad, x, RADII, *option, True, not option[2]
                yield grad, x, RADII, *option, option[2], not option[2]


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name, dtype, requires_grad):
    checks = ("test_schema", "test_faketensor") if not requires_grad else ("test_autograd_registration",)
    for args in list(operator_samples(name, dtype))[:: 2 if dtype == torch.float64 else 5]:
        self_contained = [a.detach().requires_grad_() if requires_grad and torch.is_tensor(a) else a for a in args]
        torch.library.opcheck(getattr(torch.ops.cnnfast, name).default, tuple(self_contained), test_utils=checks)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck_of_dynamic_shapes(name, requires_grad):
    for args in list(operator_samples(name, torch.float32))[:: 3 if name == "disc_max" else 11]:
        tensors = [a.detach().requires_grad_() if requires_grad and torch.is_tensor(a) else a for a in args]
        check = "test_aot_dispatch_dynamic"
        torch.library.opcheck(getattr(torch.ops.cnnfast, name).default, tuple(tensors), test_utils=check)


def test_opcheck_of_the_union():
    for labels in (
        random_labels(2, 5, 6, kinds=3),
        random_labels(2, 5, 6, kinds=3).mT,
        random_labels(0, 5, 6, kinds=3),
    ):
        torch.library.opcheck(torch.ops.cnnfast.disc_union.default, (labels, RADII, 2))


class TestCompile(compiled_tests(CASES, FEW_CASES, check_compiled)):
    """Each case, and the number of graphs."""

    def test_sizes_may_change_without_recompiling(self, device):
        compiled, counter = self.counted(ops.inverse_distance_transform)
        weight = torch.ones(3, device=device)
        for batch, height, width in [(2, 4, 5), (3, 6, 7), (4, 12, 5), (7, 3, 31)]:
            x = probabilities(batch, 3, height, width, device=device, dtype=torch.float32)
            torch.testing.assert_close(compiled(x, RADII, weight), ops.inverse_distance_transform(x, RADII, weight))
        assert counter.frame_count == 1

    def test_wrong_shape_is_an_error(self, device):
        compiled = torch.compile(ops.disc_sum, fullgraph=True, backend="aot_eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match=r"expected B with 3 bins"):
            compiled(torch.ones(2, 2, 4, 4, device=device), RADII)


class Decoder(nn.Module):
    """Every disc function once."""

    def forward(self, x, weight, labels):
        transform = ops.inverse_distance_transform
        masks = [transform(x, RADII, weight, -1.0), *(transform(x, RADII, union=u) for u in ("noisy_or", "max"))]
        return *masks, ops.disc_sum(x, RADII, weight, pad=1), ops.disc_union(labels, RADII)


def decoder_inputs(batch=2, height=4, width=5):
    x = probabilities(batch, 3, height, width, dtype=torch.float32)
    return x, random_tensor(3, dtype=torch.float32, seed=1), random_labels(batch, height, width, kinds=3)


def dynamic_shapes():
    batch, height, width = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "height", "width"))
    return {"x": {0: batch, 2: height, 3: width}, "weight": None, "labels": {0: batch, 1: height, 2: width}}


class TestExport:
    def check(self, loaded):
        for sizes in [(2, 4, 5), (3, 7, 6)]:
            inputs = decoder_inputs(*sizes)
            for actual, expected in zip(loaded(*inputs), Decoder()(*inputs), strict=True):
                torch.testing.assert_close(actual, expected)

    def test_save_and_load(self):
        program = torch.export.export(Decoder(), decoder_inputs(), dynamic_shapes=dynamic_shapes())
        assert {"cnnfast.disc_sum.default", "cnnfast.disc_max.default", "cnnfast.disc_union.default"} <= {
            str(node.target) for node in program.graph.nodes
        }
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        self.check(torch.export.load(file).module())

    @pytest.mark.slow
    def test_ahead_of_time_inductor(self, tmp_path):
        program = torch.export.export(Decoder(), decoder_inputs(), dynamic_shapes=dynamic_shapes())
        package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "decoder.pt2"))
        self.check(torch._inductor.aoti_load_package(package))


class TestAutocast:
    @pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
    @pytest.mark.parametrize("case", FEW_CASES, ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_nothing_is_cast_down(self, case, module, device, dtype):
        tensors = case.tensors(dtype, device)
        expected = case(module, tensors)
        with torch.autocast(device, torch.bfloat16):
            actual = case(module, tensors)
        assert actual.dtype == dtype
        assert torch.equal(actual, expected)

    @pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
    @pytest.mark.parametrize("union", ["sum", "noisy_or", "max"])
    def test_logits_are_float32(self, module, union, device):
        B = probabilities(2, 3, 9, 9, dtype=torch.bfloat16, device=device)
        with torch.autocast(device, torch.bfloat16):
            logits = module.inverse_distance_transform(B, RADII, union=union, return_logits=True)
            masks = module.inverse_distance_transform(B, RADII, union=union)
        assert logits.dtype == torch.float32 and masks.dtype == torch.bfloat16
        expected = module.inverse_distance_transform(B.float(), RADII, union=union, return_logits=True)
        assert torch.equal(logits, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
class TestWithoutData(WithoutData):
    """Of every case."""


def test_union_without_data():
    labels = torch.empty(3, 1 << 16, 1 << 16, device="meta", dtype=torch.uint8)
    assert ops.disc_union(labels, (0, 3)).shape == (3, (1 << 16) + 6, (1 << 16) + 6)


def test_package_exports_the_functions():
    assert set(ops.__all__) >= {"disc_sum", "disc_union", "inverse_distance_transform"}
    assert set(reference.__all__) >= {"disc_sum", "disc_union", "inverse_distance_transform"}
