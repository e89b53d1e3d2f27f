"""Colour statistics against published code and against their own definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnfast.images import ImageError
from cnnfast.models.style.picture.colour import luminance, match_colour, original_colours, rgb_to_yuv, yuv_to_rgb


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def arrays(parity):
    return {
        name: torch.from_numpy(value).permute(2, 0, 1) if value.ndim == 3 else torch.from_numpy(value)
        for name, value in parity("colour_a").items()
    }


TOLERANCES = {torch.float64: {"rtol": 1e-9, "atol": 1e-12}, torch.float32: {"rtol": 2e-5, "atol": 1e-6}}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
class TestParity:
    @pytest.mark.parametrize("mode", ["chol", "pca", "sym"])
    def test_match_colour(self, arrays, dtype, mode):
        matched = match_colour(arrays["target"].to(dtype), arrays["source"].to(dtype), mode)
        torch.testing.assert_close(matched, arrays[f"match_{mode}"].to(dtype), **TOLERANCES[dtype])

    def test_luminance(self, arrays, dtype):
        torch.testing.assert_close(luminance(arrays["target"].to(dtype)), arrays["lum"].to(dtype), **TOLERANCES[dtype])

    def test_yuv_and_back(self, arrays, dtype):
        yuv = rgb_to_yuv(arrays["target"].to(dtype))
        torch.testing.assert_close(yuv, arrays["yuv"].to(dtype), **TOLERANCES[dtype])
        torch.testing.assert_close(yuv_to_rgb(yuv), arrays["rgb_back"].to(dtype), **TOLERANCES[dtype])


def test_original_colours_of_bytes_equal_pillows(arrays):
    mixed = original_colours(arrays["u8_content"], arrays["u8_generated"])
    assert torch.equal(mixed, arrays["original_colors_u8"])


def test_original_colours_of_floats_agree_within_the_rounding_of_bytes(arrays):
    mixed = original_colours(arrays["u8_content"].float() / 255, arrays["u8_generated"].float() / 255)
    assert (mixed * 255 - arrays["original_colors_u8"]).abs().max() < 3.5


def test_original_colours_keep_luma_and_chroma():
    content, generated = (torch.rand(3, 5, 6, dtype=torch.float64) * 0.2 + 0.4 for _ in range(2))
    mixed = original_colours(content, generated)
    torch.testing.assert_close(luminance(mixed), luminance(generated), rtol=0, atol=1e-8)
    blue_minus_luma, of_content = ((p[2] - luminance(p)[2]) for p in (mixed, content))
    torch.testing.assert_close(blue_minus_luma, of_content, rtol=0, atol=1e-8)
    torch.testing.assert_close(original_colours(content, content), content, rtol=0, atol=1e-8)


@pytest.mark.parametrize("mode", ["chol", "pca", "sym"])
class TestMatchColour:
    def test_statistics_become_the_sources(self, mode):
        generator = torch.Generator().manual_seed(0)
        mix = torch.tensor([[0.5, 0.2, 0.1], [0.0, 0.3, 0.1], [0.2, 0.0, 0.4]], dtype=torch.float64)
        target = torch.rand(3, 40, 40, generator=generator, dtype=torch.float64) * 0.5 + 0.2
        source = (
            torch.einsum("oc,chw->ohw", mix, torch.rand(3, 30, 50, generator=generator, dtype=torch.float64)) * 0.4
            + 0.3
        )
        matched = match_colour(target, source, mode, eps=1e-9)
        assert matched.min() > 0 and matched.max() < 1  # nothing was clipped, so the equations hold exactly
        torch.testing.assert_close(matched.mean((1, 2)), source.mean((1, 2)))
        covariances = (torch.cov(picture.flatten(1), correction=0) for picture in (matched, source))
        torch.testing.assert_close(*covariances, rtol=1e-5, atol=1e-8)

    def test_itself_changes_nothing(self, mode):
        image = torch.rand(3, 9, 9, dtype=torch.float64)
        torch.testing.assert_close(match_colour(image, image, mode), image, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("kind", ["grey", "constant", "black", "one pixel"])
    def test_singular_covariances(self, mode, kind):
        flat = {
            "grey": torch.rand(1, 8, 8).expand(3, 8, 8),
            "constant": torch.full((3, 8, 8), 0.4),
            "black": torch.zeros(3, 8, 8),
            "one pixel": torch.rand(3, 1, 1),
        }[kind]
        colourful = torch.rand(3, 7, 9)
        for target, source in ((flat, colourful), (colourful, flat), (flat, flat)):
            matched = match_colour(target, source, mode)
            assert matched.isfinite().all() and matched.dtype == target.dtype and matched.shape == target.shape
        assert (match_colour(colourful, flat, mode).mean((1, 2)) - flat.mean((1, 2))).abs().max() < 0.02

    def test_half_precision_counts_in_float64(self, mode):
        target, source = torch.rand(3, 9, 9).half(), torch.rand(3, 8, 8).half()
        matched = match_colour(target, source, mode)
        assert matched.dtype == torch.float16
        assert torch.equal(matched, match_colour(target.double(), source.double(), mode).half())


class TestWrongInput:
    image = torch.rand(3, 4, 4)

    @pytest.mark.parametrize(
        "call, error, words",
        [
            (lambda x: match_colour(x[:1], x), ImageError, r"target \[3,H,W\] .* got \[1, 4, 4\]"),
            (lambda x: match_colour(x, x[None]), ImageError, r"source \[3,H,W\] .* got \[1, 3, 4, 4\]"),
            (lambda x: match_colour(x, x * float("nan")), ImageError, "source with finite values"),
            (lambda x: match_colour(x, x, "hsv"), ValueError, "expected mode .* got 'hsv'"),
            (lambda x: match_colour(x, x, eps=0.0), ValueError, r"eps above 0, got 0\.0"),
            (lambda x: match_colour(x, np.zeros((3, 4, 4))), TypeError, "source as a tensor .* got ndarray"),
            (lambda x: luminance(x[:2]), ImageError, "luminance: expected"),
            (lambda x: rgb_to_yuv(x.int()), TypeError, r"floating-point values, got torch\.int32"),
            (lambda x: yuv_to_rgb(x[..., 0]), ImageError, "yuv_to_rgb: expected"),
            (lambda x: original_colours(x, x[..., :3]), ImageError, "same shape, got"),
            (lambda x: original_colours(x, x.double()), TypeError, r"one dtype, got torch\.float32 and torch\.float64"),
            (lambda x: original_colours(x.int(), x.int()), TypeError, "floating-point"),
        ],
    )
    def test_one_sentence(self, call, error, words):
        with pytest.raises(error, match=words) as caught:
            call(self.image)
        assert "\n" not in str(caught.value)
