"""Metrics of views against scikit-image and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.models.view_synthesis.metrics import mean_absolute_error, psnr, ssim

METRICS = (mean_absolute_error, psnr, ssim)


def pictures(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    first, noise = (torch.rand(2, 3, height, width, dtype=torch.float64, generator=generator) for _ in range(2))
    return first.to(dtype), (0.8 * first + 0.2 * noise).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("size", [(11, 11), (24, 31)])
def test_scikit_image(size, dtype, tolerance):
    metrics = pytest.importorskip("skimage.metrics")
    first, second = pictures(*size, dtype)
    options = {"channel_axis": -1, "data_range": 1, "gaussian_weights": True, "sigma": 1.5, "full": True}
    mask = torch.rand(2, *size, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[:, 5, 5] = True
    inner = (slice(5, -5), slice(5, -5))
    arrays = (x.double().permute(0, 2, 3, 1).numpy() for x in (first, second))
    for index, (a, b) in enumerate(zip(*arrays, strict=True)):
        mean, values = metrics.structural_similarity(a, b, use_sample_covariance=False, **options)
        assert ssim(first, second)[index].item() == pytest.approx(mean, abs=tolerance)
        masked = values[inner][mask[index][inner].numpy()].mean()
        assert ssim(first, second, mask)[index].item() == pytest.approx(masked, abs=tolerance)
        ratio = metrics.peak_signal_noise_ratio(a, b, data_range=1)
        assert psnr(first, second)[index].item() == pytest.approx(ratio, rel=tolerance)
        assert mean_absolute_error(first, second)[index].item() == pytest.approx(np.abs(a - b).mean(), abs=tolerance)


def test_masks():
    """Only masked pixels count: others may be NaN; a picture without a pixel is NaN."""
    first, second = pictures(24, 24)
    mask = torch.zeros(2, 24, 24, dtype=torch.bool)
    mask[0, 8:16, 8:16] = True
    expected = mean_absolute_error(first[:, :, 8:16, 8:16], second[:, :, 8:16, 8:16])[0]
    second[:, :, 0, 0] = math.nan
    found = mean_absolute_error(first, second, mask)
    torch.testing.assert_close(found[0], expected)
    assert found[1].isnan() and psnr(first, second, mask)[1].isnan()
    assert ssim(first, second, mask)[0].isfinite()
    assert mean_absolute_error(first, second, mask[:, None])[0] == found[0]


def test_equal_pictures():
    first, _ = pictures(16, 16, torch.float32)
    assert psnr(first, first).tolist() == [math.inf, math.inf]
    assert ssim(first, first).tolist() == [1.0, 1.0]
    assert mean_absolute_error(first, first).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(dtype):
    first, second = pictures(16, 16, dtype)
    for metric in METRICS:
        found = metric(first, second)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, metric(first.float(), second.float()), rtol=0, atol=0)


def test_gradients():
    first, second = (x[:1, :1, :, :11].clone().requires_grad_() for x in pictures(11, 12))
    assert torch.autograd.gradcheck(ssim, (first, second))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_bad_arguments(metric):
    first, second = pictures(16, 16)
    name = metric.__name__
    with pytest.raises(ValueError, match=rf"{name}: expected prediction of shape \[B,C,H,W\], got \[3, 16, 16\]"):
        metric(first[0], second[0])
    with pytest.raises(ValueError, match=rf"{name}: expected target of shape .* got \[1, 3, 16, 16\]"):
        metric(first, second[:1])
    with pytest.raises(TypeError, match=rf"{name}: expected target of dtype torch.float64"):
        metric(first, second.float())
    with pytest.raises(TypeError, match=rf"{name}: expected mask of dtype torch.bool, got torch.float64"):
        metric(first, second, first[:, 0])
    with pytest.raises(ValueError, match=rf"{name}: expected mask of shape \[2,16,16\] or .* got \[16, 16\]"):
        metric(first, second, first[0, 0] > 0)


def test_small_pictures():
    with pytest.raises(ValueError, match="ssim: expected pictures of at least 11 px a side, got shape"):
        ssim(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))
