"""The Gram functions, fused and plain, against arrays that public code produced."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.tensors import relative_error

pytestmark = [pytest.mark.emulated, pytest.mark.sanitized_once]

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5}
FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
GRAMS = {
    "gram_none_pystiche": "none",
    "gram_hw_pystiche": "hw",
    "gram_hw_gatys": "hw",
    "gram_chw_examples": "chw",
}


@pytest.fixture(params=["gram_losses_a", "gram_losses_b"])
def arrays(request, parity, device):
    return {key: torch.from_numpy(value).to(device) for key, value in parity(request.param).items()}


@pytest.fixture(params=TOLERANCES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request):
    return request.param


def assert_parity(actual, expected, dtype):
    assert actual.dtype == dtype
    assert relative_error(actual, expected.reshape(actual.shape)) <= TOLERANCES[dtype]


def assert_loss_parity(module, dtype, x, target, loss, grad, weight=1.0, **options):
    x = x.to(dtype).requires_grad_()
    actual = module.gram_mse_loss(x, target.to(dtype), weight, **options)
    assert_parity(actual, loss, dtype)
    assert_parity(torch.autograd.grad(actual.sum(), x)[0], grad, dtype)


@FUSED_AND_PLAIN
class TestParity:
    @pytest.mark.parametrize("key", GRAMS)
    def test_gram(self, module, arrays, dtype, key):
        x = arrays["x"].to(dtype).requires_grad_()
        gram = module.gram_matrix(x, GRAMS[key])
        assert_parity(gram, arrays[key], dtype)
        (grad,) = torch.autograd.grad(gram, x, arrays["R"].to(dtype))
        assert_parity(grad, arrays[f"{key}_grad"], dtype)

    @pytest.mark.parametrize("key", GRAMS)
    def test_cross_gram_of_equal_features(self, module, arrays, dtype, key):
        x = arrays["x"].to(dtype).requires_grad_()
        gram = module.cross_gram(x, x, GRAMS[key])
        assert_parity(gram, arrays[key], dtype)
        (grad,) = torch.autograd.grad(gram, x, arrays["R"].to(dtype))
        assert_parity(grad, arrays[f"{key}_grad"], dtype)

    def test_covariance_and_second_moment(self, module, arrays, dtype):
        x = arrays["x_target"].to(dtype)
        assert_parity(module.gram_matrix(x), arrays["w2_srm"], dtype)
        assert_parity(module.gram_matrix(x, centered=True), arrays["w2_cov"], dtype)

    @pytest.mark.parametrize("scale", [1.0, 7.0], ids=["as-given", "times-seven"])
    def test_guided_gram(self, module, arrays, dtype, scale):
        guides = (arrays["guides"].square() * scale).to(dtype)
        x = arrays["x"][:1].to(dtype)
        assert_parity(module.gram_matrix(x, pixel_weight=guides[None]), arrays["guided_gram"], dtype)
        for guide, expected in zip(guides, arrays["guided_gram"], strict=True):
            assert_parity(module.gram_matrix(x, pixel_weight=guide), expected, dtype)

    def test_guided_gram_of_normalized_guides(self, module, arrays, dtype):
        weight = arrays["guides_norm"].square().to(dtype)[None]
        positions = weight[0, 0].numel()
        gram = module.gram_matrix(arrays["x"][:1].to(dtype), positions, pixel_weight=weight)
        assert_parity(gram, arrays["guided_gram"], dtype)

    def test_loss_of_pytorch_neural_style_transfer(self, module, arrays, dtype):
        x, target = arrays["x"], arrays["gatys_pt_target"]
        loss, grad = arrays["gatys_pt_mse_loss"], arrays["gatys_pt_mse_grad"]
        assert_loss_parity(module, dtype, x, target, loss, grad, scale="mean")
        assert_parity(module.gram_matrix(arrays["x_target"].to(dtype)), target, dtype)

    def test_loss_of_fast_neural_style(self, module, arrays, dtype):
        x, target = arrays["x"], arrays["examples_target"]
        loss, grad = arrays["examples_mse_loss"], arrays["examples_mse_grad"]
        assert_loss_parity(module, dtype, x, target, loss, grad, normalize="chw", scale="mean")

    def test_loss_of_deep_textures(self, module, arrays, dtype):
        x, target, weight = arrays["x"], arrays["deeptextures_target"], arrays["deeptextures_weight"].item()
        loss, grad = arrays["deeptextures_loss"], arrays["deeptextures_grad"]
        assert_loss_parity(module, dtype, x, target, loss, grad, weight, reduction="none")
        assert_loss_parity(module, dtype, x, target, loss.sum(), grad, weight, reduction="sum")
        assert_loss_parity(module, dtype, x, target, loss.mean(), grad / x.shape[0], weight)

    def test_loss_of_neural_style_pt(self, module, arrays, dtype):
        for index, x in enumerate(arrays["x"]):
            target, loss, grad = (arrays[f"nspt_style_{name}_{index}"] for name in ("target", "loss", "grad"))
            assert_loss_parity(module, dtype, x[None], target, loss, grad, 100.0, normalize="chw", scale="mean")
