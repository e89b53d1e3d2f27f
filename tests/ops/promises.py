"""What every differentiable operator promises, as parts of test classes that are parametrised by its cases.

A case has `shapes`, makes `tensors`, and is called with a module and tensors; `case.apply` calls any function that
takes the arguments of the case's own.
"""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from cnnfast import ops, reference
from tests.ops.tensors import random_tensor

assert_same = torch.testing.assert_close


def as_function(case, module):
    """The case as a function of its tensors in order."""
    return lambda *values: case(module, dict(zip(case.shapes, values, strict=True)))


def scalar(case, module):
    return lambda *values: as_function(case, module)(*values).square().sum()


def everything(case):
    return tuple(range(len(case.shapes)))


class Gradients:
    """Ordinary gradients: those of the twin, and only those that are wanted."""

    def test_equal_the_twins_for_each_set_of_wanted_inputs(self, case, device):
        tensors = case.tensors(device=device, requires_grad="all")
        output = case(reference, tensors)
        upstream = random_tensor(*output.shape, device=device, seed=7)
        expected = dict(zip(tensors, torch.autograd.grad(output, list(tensors.values()), upstream), strict=True))
        for count in range(1, len(tensors) + 1):
            for wanted in itertools.combinations(tensors, count):
                leaves = case.tensors(device=device, requires_grad=wanted)
                case(ops, leaves).backward(upstream)
                for name, leaf in leaves.items():
                    if name in wanted:
                        torch.testing.assert_close(leaf.grad, expected[name])
                    else:
                        assert leaf.grad is None

    def test_nothing_is_recorded_without_a_wanted_one(self, case, device):
        assert not case(ops, case.tensors(device=device)).requires_grad
        with torch.no_grad():
            assert not case(ops, case.tensors(device=device, requires_grad="all")).requires_grad

    def test_second_ones_equal_the_twins(self, case, device):
        """Gradient penalties through each input, with the first gradient's other outputs unused."""
        for wanted in case.shapes:
            results = []
            for module in (ops, reference):
                tensors = case.tensors(device=device, requires_grad="all")
                (first,) = torch.autograd.grad(case(module, tensors).square().sum(), tensors[wanted], create_graph=True)
                inputs = list(tensors.values())
                results.append(
                    torch.autograd.grad(first.square().sum(), inputs, allow_unused=True, materialize_grads=True)
                )
            for actual, expected in zip(*results, strict=True):
                torch.testing.assert_close(actual, expected)

    def test_checkpointing(self, case, device):
        tensors = case.tensors(device=device, requires_grad="all")
        output = case(ops, tensors)
        upstream = random_tensor(*output.shape, device=device, seed=7)
        expected = torch.autograd.grad(output, list(tensors.values()), upstream)
        again = checkpoint(as_function(case, ops), *tensors.values(), use_reentrant=False)
        assert torch.equal(again, output)
        for actual, wanted in zip(torch.autograd.grad(again, list(tensors.values()), upstream), expected, strict=True):
            assert torch.equal(actual, wanted)


class Derivatives:
    """torch.func and forward mode: everywhere the answer of the twin."""

    def test_grad(self, case, device):
        values = tuple(case.tensors(device=device).values())
        results = [torch.func.grad(scalar(case, module), everything(case))(*values) for module in (ops, reference)]
        assert_same(*results)
        assert max(grad.abs().max().item() for grad in results[0]) > 1e-4

    def test_vjp(self, case, device):
        values = tuple(case.tensors(device=device).values())
        output, pull = torch.func.vjp(as_function(case, ops), *values)
        expected_output, expected_pull = torch.func.vjp(as_function(case, reference), *values)
        assert_same(output, expected_output)
        upstream = random_tensor(*output.shape, device=device, seed=7)
        assert_same(pull(upstream), expected_pull(upstream))

    def test_jvp(self, case, device):
        values = tuple(case.tensors(device=device).values())
        tangents = tuple(random_tensor(*value.shape, device=device, seed=8) for value in values)
        actual = torch.func.jvp(as_function(case, ops), values, tangents)
        assert_same(actual, torch.func.jvp(as_function(case, reference), values, tangents))
        assert actual[1].abs().max() > 1e-4

    def test_forward_mode(self, case, device):
        """A tangent on each single tensor arrives: it is never dropped."""
        for name in case.shapes:
            tangents = []
            for module in (ops, reference):
                tensors = case.tensors(device=device)
                with forward_ad.dual_level():
                    direction = random_tensor(*tensors[name].shape, device=device, seed=9)
                    tensors[name] = forward_ad.make_dual(tensors[name], direction)
                    tangents.append(forward_ad.unpack_dual(case(module, tensors)).tangent)
            assert tangents[0] is not None
            assert_same(*tangents)


class Jacobians:
    """Jacobians in both modes."""

    def test_jacobians(self, case, device):
        values = tuple(case.tensors(device=device).values())
        expected = torch.func.jacrev(as_function(case, reference), everything(case))(*values)
        assert_same(torch.func.jacrev(as_function(case, ops), everything(case))(*values), expected)
        assert_same(torch.func.jacfwd(as_function(case, ops), everything(case))(*values), expected)


def check_vmap_over_one_argument(case, device, samples):
    """`samples` makes three of a tensor; they are stacked along the last axis."""
    tensors = case.tensors(device=device)
    for name, value in tensors.items():
        several = torch.stack(samples(value), -1)
        axes = tuple(-1 if other == name else None for other in tensors)
        values = [several if other == name else tensor for other, tensor in tensors.items()]
        actual = torch.func.vmap(as_function(case, ops), axes)(*values)
        singles = [
            as_function(case, ops)(*(v[..., i] if a == -1 else v for v, a in zip(values, axes, strict=True)))
            for i in range(3)
        ]
        assert_same(actual, torch.stack(singles))


def check_gradient_of_each_sample(case, values):
    """Values hold several samples of each tensor."""
    results = [
        torch.func.vmap(torch.func.grad(scalar(case, module), everything(case)))(*values) for module in (ops, reference)
    ]
    assert_same(*results)


def check_ordinary_gradient_through_vmap(case, make_values):
    """The vmap rule of an operator keeps it differentiable."""
    results = []
    for module in (ops, reference):
        values = [value.requires_grad_() for value in make_values()]
        output = torch.func.vmap(as_function(case, module))(*values)
        results.append(torch.autograd.grad(output.square().sum(), values))
    assert_same(*results)


class FreshCompiler:
    """Tests of torch.compile that do not see what others have compiled."""

    @pytest.fixture(autouse=True)
    def fresh_dynamo(self):
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    def counted(self, function):
        """The function compiled for dynamic sizes, and the counter of its graphs."""
        counter = CompileCounterWithBackend("aot_eager")
        return torch.compile(function, fullgraph=True, dynamic=True, backend=counter), counter


def _forward_and_backward(function, case, tensors):
    """The result and the gradients of its random projection."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    output = case.apply(function, leaves)
    upstream = random_tensor(*output.shape, dtype=output.dtype, device=output.device, seed=7)
    return output, *torch.autograd.grad(output, list(leaves.values()), upstream)


def check_compiled(case, device, backend, dynamic):
    """Result and gradients of the compiled function are those of the function itself, layouts included."""
    eager = getattr(ops, case.function)
    compiled = torch.compile(eager, fullgraph=True, dynamic=dynamic, backend=backend)
    tensors = case.tensors(torch.float32, device)
    for actual, expected in zip(
        _forward_and_backward(compiled, case, tensors), _forward_and_backward(eager, case, tensors), strict=True
    ):
        assert actual.dtype == expected.dtype and actual.stride() == expected.stride()
        torch.testing.assert_close(actual, expected)


def compiled_tests(cases, few, check):
    """Base class of the tests that compile each case, `few` of them in the quick set and by Inductor, too.

    `check` takes a case, the device, the backend and whether sizes are dynamic.
    """
    others = [case for case in cases if case not in few]
    either = pytest.mark.parametrize("dynamic", [False, True])

    class CompiledCases(FreshCompiler):
        """Through AOT autograd; Inductor, which takes seconds for each, in a few cases."""

        @either
        @pytest.mark.parametrize("case", few, ids=str)
        def test_few_cases(self, case, device, dynamic):
            check(case, device, "aot_eager", dynamic)

        @pytest.mark.slow
        @either
        @pytest.mark.parametrize("case", others, ids=str)
        def test_other_cases(self, case, device, dynamic):
            check(case, device, "aot_eager", dynamic)

        @pytest.mark.slow
        @either
        @pytest.mark.parametrize("case", few, ids=str)
        def test_inductor(self, case, device, dynamic):
            check(case, device, "inductor", dynamic)

    return CompiledCases


def refused_calls(wrong_kind, wrong_value):
    """A test, for operators and twins, of the messages of calls (function, arguments, options) by their names."""
    cases = [(TypeError, *case) for case in wrong_kind.values()] + [
        (ValueError, *case) for case in wrong_value.values()
    ]

    @pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
    @pytest.mark.parametrize(("error", "call", "message"), cases, ids=[*wrong_kind, *wrong_value])
    def test_message(module, error, call, message):
        function, args, kwargs = call
        with pytest.raises(error, match="^" + re.escape(f"{function}: ") + ".*" + re.escape(message)):
            getattr(module, function)(*args, **kwargs)

    return test_message


class WithoutData:
    """Shapes, dtypes and layouts are known without values."""

    def test_meta_device(self, case):
        real = case(ops, case.tensors(torch.bfloat16))
        tensors = case.tensors(torch.bfloat16, requires_grad="all")
        meta = {name: tensor.detach().to("meta").requires_grad_() for name, tensor in tensors.items()}
        output = case(ops, meta)
        assert output.is_meta and output.shape == real.shape and output.dtype == real.dtype
        for grad, tensor in zip(torch.autograd.grad(output.sum(), list(meta.values())), tensors.values(), strict=True):
            assert grad.shape == tensor.shape and grad.dtype == tensor.dtype

    def test_fake_tensors(self, case, device):
        real = case(ops, case.tensors(torch.float32, device))
        with FakeTensorMode() as mode:
            fake = {name: mode.from_tensor(tensor) for name, tensor in case.tensors(torch.float32, device).items()}
            output = case(ops, fake)
        assert output.shape == real.shape and output.stride() == real.stride() and output.device == real.device
