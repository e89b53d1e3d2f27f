"""RoI warping and pooling of boxes from one map or a pyramid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnnfast.detection.roi_warp import RoIWarp, roi_warp

STRIDE = 4


def random_boxes(count, generator, dtype=torch.float32, size=64):
    corners = torch.rand(count, 2, 2, generator=generator, dtype=dtype) * size
    return torch.cat([corners.amin(1), corners.amax(1) + 1], 1).clamp(max=size)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


class TestRoIWarp:
    def test_is_roi_align_with_one_sample_a_bin(self, generator):
        ops = pytest.importorskip("torchvision.ops")
        features = torch.randn(3, 5, 16, 16, generator=generator)
        boxes = [random_boxes(count, generator) for count in (4, 0, 7)]
        expected = ops.roi_align(features, boxes, 7, 1 / STRIDE, sampling_ratio=1, aligned=True)
        torch.testing.assert_close(roi_warp(features, boxes, 7, 1 / STRIDE), expected, rtol=1e-4, atol=1e-5)

    def test_gradients_of_boxes_and_features(self, generator):
        features = torch.randn(2, 2, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        # Away from the lines between pixels, where bilinear interpolation has a kink.
        boxes = [torch.tensor([[3.3, 5.1, 22.7, 29.9]], dtype=torch.float64, requires_grad=True) for _ in range(2)]
        assert torch.autograd.gradcheck(
            lambda f, a, b: roi_warp(f, [a, b], 3, 1 / STRIDE), (features, *boxes), eps=1e-6, atol=1e-6
        )

    def test_moves_with_the_ramp(self):
        ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16) * STRIDE
        box = torch.tensor([[10.0, 10.0, 30.0, 30.0]], requires_grad=True)
        warped = roi_warp(ramp, [box], 1, 1 / STRIDE)
        warped.sum().backward()
        assert warped.item() == pytest.approx(20.0)
        torch.testing.assert_close(box.grad, torch.tensor([[0.5, 0.0, 0.5, 0.0]]))

    def test_layer_takes_the_largest_of_two_by_two(self, generator):
        features = torch.randn(1, 3, 16, 16, generator=generator)
        boxes = [random_boxes(3, generator)]
        expected = F.max_pool2d(roi_warp(features, boxes, 14, 1 / STRIDE), 2)
        assert torch.equal(RoIWarp(7, 1 / STRIDE)(features, boxes), expected)

    def test_half_types_keep_coordinates_in_float32(self, generator):
        features = torch.randn(1, 3, 200, 200, generator=generator).to(torch.bfloat16)
        boxes = [random_boxes(6, generator, size=800)]
        warped = roi_warp(features, boxes, 7, 1 / STRIDE)
        assert warped.dtype == torch.bfloat16
        torch.testing.assert_close(warped, roi_warp(features.float(), boxes, 7, 1 / STRIDE).to(torch.bfloat16))

    def test_box_without_area(self):
        box = torch.tensor([[5.0, 5.0, 5.0, 5.0]], requires_grad=True)
        warped = RoIWarp(7, 1 / STRIDE)(torch.rand(1, 2, 16, 16), [box])
        warped.sum().backward()
        assert warped.isfinite().all() and box.grad.isfinite().all()

    def test_errors(self):
        with pytest.raises(ValueError, match="expected boxes for 2 pictures, got 1"):
            roi_warp(torch.zeros(2, 1, 4, 4), [torch.zeros(1, 4)], 2, 1.0)
        with pytest.raises(ValueError, match=r"expected boxes of shape \[n,4\], got \[1, 5\]"):
            roi_warp(torch.zeros(1, 1, 4, 4), [torch.zeros(1, 5)], 2, 1.0)


class TestRoIPooler:
    @pytest.fixture
    def pooler(self):
        pytest.importorskip("torchvision")
        from cnnfast.detection.roi_pooling import RoIPooler

        return RoIPooler

    @pytest.mark.parametrize("method", ["align", "warp"])
    def test_boxes_of_a_pyramid_come_from_the_level_of_their_size_in_order(self, pooler, method):
        strides = (4, 8, 16, 32)
        features = {str(i): torch.full((2, 1, 512 // s, 512 // s), float(i)) for i, s in enumerate(strides)}
        features["pool"] = torch.full((2, 1, 8, 8), 9.0)
        sides = [[224, 20, 112, 448], [56, 500, 225]]
        boxes = [torch.tensor([[0.0, 0.0, side, side] for side in part]) for part in sides]
        pooled = pooler(14, method)(features, boxes, (512, 512))
        assert pooled.shape == (7, 1, 14, 14)
        assert pooled[:, 0, 7, 7].tolist() == [2, 0, 1, 3, 0, 3, 2]

    def test_align_is_roi_align_with_aligned_coordinates(self, pooler, generator):
        from torchvision.ops import roi_align

        features = torch.randn(2, 3, 16, 16, generator=generator)
        boxes = [random_boxes(3, generator), random_boxes(2, generator)]
        expected = roi_align(features, boxes, 14, 1 / STRIDE, sampling_ratio=2, aligned=True)
        assert torch.equal(pooler(14)({"0": features}, boxes, (64, 64)), expected)

    @pytest.mark.parametrize("method", ["align", "warp"])
    def test_no_boxes(self, pooler, method):
        features = {"0": torch.rand(2, 3, 16, 16), "1": torch.rand(2, 3, 8, 8)}
        assert pooler(14, method)(features, [torch.zeros(0, 4)] * 2, (64, 64)).shape == (0, 3, 14, 14)

    def test_unknown_method(self, pooler):
        with pytest.raises(ValueError, match='expected method one of "align", "warp", got \'pool\''):
            pooler(14, "pool")
