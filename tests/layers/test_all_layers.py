"""What every style layer promises: derivatives, persistence, copies, half types, layouts, compilation."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tests.layers.layer_cases import CASES, WITH_TARGET, random

every_layer = pytest.mark.parametrize("name", CASES)
# A texture loss sees an image; its extractor decides the dtype of the features.
ON_FEATURES = [name for name in CASES if not name.startswith("texture")]
every_target = pytest.mark.parametrize("name", WITH_TARGET)


@every_layer
def test_gradient(name):
    layer = CASES[name].captured()
    assert gradcheck(layer, CASES[name].input().requires_grad_())


@every_layer
def test_second_gradient(name):
    assert gradgradcheck(CASES[name].captured(), CASES[name].input().requires_grad_(), fast_mode=True)


@every_layer
def test_float32_agrees_with_float64(name):
    results = []
    for dtype in (torch.float64, torch.float32):
        x = CASES[name].input().to(dtype).requires_grad_()
        loss = CASES[name].captured(dtype)(x)
        assert loss.shape == () and loss.dtype == dtype
        loss.backward()
        results.append((loss.detach(), x.grad))
    for wide, narrow in zip(*results, strict=True):
        torch.testing.assert_close(narrow.double(), wide, rtol=2e-5, atol=2e-5 * float(wide.abs().max()))


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_accumulate_in_float32(name, dtype):
    case = CASES[name]
    x = case.input(dtype).requires_grad_()
    layer = case.captured(torch.float32)
    loss = layer(x)
    wide = layer(x.detach().float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), wide, rtol=1e-5, atol=0)
    loss.backward()
    assert x.grad.dtype == dtype and x.grad.isfinite().all()


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_half_features_stay_finite(name, dtype):
    case = CASES[name]
    layer = case.captured(torch.float32)
    assert layer(300 * case.input(dtype)).isfinite()


@every_layer
def test_layouts(name):
    case = CASES[name]
    layer = case.captured()
    x = case.input()
    expected = layer(x)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), expected)
    padded = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
    padded[..., ::2] = x
    torch.testing.assert_close(layer(padded[..., ::2]), expected)
    torch.testing.assert_close(layer(x[:1].expand(3, -1, -1, -1)) / (1 if _averages(name) else 3), layer(x[:1]))


def _averages(name):
    return name not in ("content-gatys", "tv-l1", "tv-l2")


@every_layer
def test_input_is_left_alone_and_repeats_bitwise(name):
    case = CASES[name]
    layer, x = case.captured(), case.input()
    first, before = layer(x), x.clone()
    assert torch.equal(layer(x), first) and torch.equal(x, before)


@every_layer
def test_copies(name):
    case = CASES[name]
    layer, x = case.captured(), case.input()
    expected = layer(x)
    for twin in (copy.deepcopy(layer), *([] if name.startswith("texture") else [pickle.loads(pickle.dumps(layer))])):
        assert torch.equal(twin(x), expected)
        assert repr(twin) == repr(layer)


@every_target
def test_state_dict_fills_a_fresh_layer(name):
    case = CASES[name]
    layer, x = case.captured(), case.input()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    fresh = case.make()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.double()(x), layer(x))
    assert list(fresh.state_dict()) == list(layer.state_dict())


@every_target
def test_state_dict_goes_into_a_captured_layer(name):
    case = CASES[name]
    source, other, x = case.captured(), case.captured(), case.input()
    if name.startswith("texture"):
        other.set_target(case.input()[:1])
    else:
        other.capture(random(*case.target_shape, seed=3))
    assert not torch.equal(other(x), source(x))
    other.load_state_dict(source.state_dict())
    assert torch.equal(other(x), source(x))


@every_target
def test_strict_loading_names_a_missing_target(name):
    case = CASES[name]
    with pytest.raises(RuntimeError, match=r"Missing key.*target"):
        case.captured().load_state_dict(case.make().state_dict())


@every_target
def test_call_before_capture(name):
    with pytest.raises(RuntimeError, match="expected a target, got none"):
        CASES[name].make().double()(CASES[name].input())


@every_target
def test_another_capture_replaces_the_target(name):
    case = CASES[name]
    layer, expected = case.captured(), case.captured()
    case.capture(layer, random(*case.target_shape, seed=3))
    case.capture(layer, random(*case.target_shape, seed=2))
    assert torch.equal(layer(case.input()), expected(case.input()))


@every_target
def test_captured_in_inference_mode_it_trains_afterwards(name):
    case = CASES[name]
    layer = case.make().double()
    with torch.inference_mode():
        case.capture(layer, random(*case.target_shape, seed=2))
    assert not any(buffer.is_inference() for buffer in layer.buffers())
    x = case.input().requires_grad_()
    layer(x).backward()
    assert x.grad.isfinite().all() and layer(x).item() == case.captured()(x).item()


@every_target
def test_loaded_in_inference_mode_it_trains_afterwards(name):
    case = CASES[name]
    layer, expected = case.make().double(), case.captured()
    with torch.inference_mode():
        layer.load_state_dict(expected.state_dict())
    assert not any(buffer.is_inference() for buffer in layer.buffers())
    x = case.input().requires_grad_()
    layer(x).backward()
    assert x.grad.isfinite().all() and layer(x).item() == expected(x).item()


@every_target
def test_target_is_constant(name):
    layer = CASES[name].captured()
    assert all(not buffer.requires_grad for buffer in layer.buffers())
    features = torch.ones(CASES[name].target_shape, dtype=torch.float64, requires_grad=True)
    CASES[name].capture(layer, features)
    assert not layer(CASES[name].input()).requires_grad


@every_layer
def test_compiles_to_one_graph(name):
    case = CASES[name]
    layer = case.captured()
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, y = case.input().requires_grad_(), case.input().requires_grad_()
    torch.testing.assert_close(compiled(x), layer(y))
    compiled(x).backward()
    layer(y).backward()
    torch.testing.assert_close(x.grad, y.grad)
