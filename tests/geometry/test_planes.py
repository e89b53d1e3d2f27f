"""Homographies of planes against stored answers and points in space; planes fitted to depth."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cnnfast.geometry import (
    fronto_parallel_planes,
    invert_pose,
    plane_homography,
    plane_homography_from_scaled_normal,
    planes_from_depth,
    pose_from_6dof,
    transform_points,
)

CAMERAS = ("K_src", "K_tgt", "R", "t")


@pytest.fixture
def cameras(parity):
    arrays = parity("camera_homographies", "view_synthesis")
    return {name: torch.from_numpy(array) for name, array in arrays.items() if name != "meta"}


def of(cameras: dict[str, torch.Tensor], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [cameras[name].to(dtype) for name in (*CAMERAS, "normals", "distances")]


class TestHomography:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
    def test_parity(self, cameras, dtype, tolerance):
        H, line = plane_homography(*of(cameras, dtype))
        assert H.dtype == line.dtype == dtype
        for found, expected in ((H, cameras["homographies"]), (line, cameras["lines"])):
            size = expected.flatten(1).norm(dim=1).reshape(-1, *[1] * (expected.dim() - 1))
            assert ((found.double() - expected) / size).abs().max() < tolerance

    def test_points_in_space(self, cameras):
        """A point of the plane is seen at p in the target and at H p in the source; w and the line give its depths."""
        H, line = plane_homography(*of(cameras))
        p = cameras["pixels_target"]
        mapped = p @ H.mT
        z_source, z_target = cameras["depth_source"], cameras["depth_target"]
        torch.testing.assert_close(mapped[..., 2], z_source / z_target, rtol=1e-10, atol=0)
        torch.testing.assert_close((p * line[:, None]).sum(-1), 1 / z_target, rtol=1e-10, atol=1e-12)
        found = transform_points(H, p[..., :2])
        torch.testing.assert_close(found, cameras["pixels_source"][..., :2], rtol=1e-10, atol=1e-9)

    def test_target_frame_form(self, cameras):
        """K_s (R' + t' n_t^T / d_t) K_t^-1, with the plane in the target frame, is the same matrix."""
        K_src, K_tgt, R, t, normal, distance = of(cameras)
        back, shift = invert_pose(R, t)
        n_t = (R @ normal[..., None])[..., 0]
        d_t = distance + (n_t * t).sum(-1)
        inverse = torch.linalg.inv(K_tgt)
        expected = K_src @ (back + shift[..., None] * (n_t / d_t[:, None])[:, None]) @ inverse
        H, line = plane_homography(K_src, K_tgt, R, t, normal, distance)
        torch.testing.assert_close(H, expected, rtol=1e-10, atol=1e-9)
        torch.testing.assert_close(line, ((n_t / d_t[:, None])[:, None] @ inverse)[:, 0], rtol=1e-10, atol=1e-12)

    def test_inverse_of_the_other_direction(self, cameras):
        K_src, K_tgt, R, t, normal, distance = of(cameras)
        m = normal / distance[:, None]
        forth = K_tgt @ (R + t[..., None] * m[:, None]) @ torch.linalg.inv(K_src)
        H, _ = plane_homography_from_scaled_normal(K_src, K_tgt, R, t, m)
        torch.testing.assert_close(H @ forth, torch.eye(3, dtype=H.dtype).expand_as(H), rtol=0, atol=1e-8)

    def test_scenes(self, parity):
        for name in ("scene_0", "scene_1", "scene_2"):
            scene = {
                key: torch.from_numpy(value) for key, value in parity(name, "view_synthesis").items() if key != "meta"
            }
            K = scene["K"]
            H, line = plane_homography(K, K, scene["R"], scene["t"], scene["normals"], scene["distances"])
            torch.testing.assert_close(H[None], scene["homographies"], rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(line[None], scene["inv_depth"], rtol=1e-11, atol=1e-11)

    def test_broadcast(self, cameras):
        K_src, K_tgt, R, t, normal, distance = of(cameras)
        H, line = plane_homography(*(value[:3, None] for value in (K_src, K_tgt, R, t)), normal[:5], distance[:5])
        assert H.shape == (3, 5, 3, 3) and line.shape == (3, 5, 3)
        one = plane_homography(K_src[2], K_tgt[2], R[2], t[2], normal[4], distance[4].item())
        torch.testing.assert_close((H[2, 4], line[2, 4]), one, rtol=0, atol=0)
        many = plane_homography(K_src[2], K_tgt[:4], R[2], t[2], normal[4], distance[4])
        assert many[0].shape == (4, 3, 3) and many[1].shape == (4, 3)
        pair = plane_homography(K_src[:2], K_tgt[2], R[2], t[2], normal[4], distance[4])
        assert pair[0].shape == (2, 3, 3) and pair[1].shape == (2, 3)
        empty = plane_homography(K_src[:1], K_tgt[:1], R[:1], t[:1], normal[:0], distance[:0])
        assert empty[0].shape == (0, 3, 3)

    def test_gradients(self, cameras):
        inputs = [value[2].clone().requires_grad_() for value in of(cameras)]
        inputs[-1] = cameras["distances"][2:3].clone().requires_grad_()
        assert gradcheck(plane_homography, inputs)
        assert gradgradcheck(plane_homography, inputs)

    def test_camera_in_the_plane(self, cameras):
        """Nothing is raised: the planes of a picture that are usable stay so."""
        K = cameras["K_src"][0]
        m = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.25]], dtype=torch.float64)
        t = torch.tensor([0.0, 0.0, -2.0], dtype=torch.float64)
        H, line = plane_homography_from_scaled_normal(K, K, torch.eye(3, dtype=torch.float64), t, m)
        assert not H[0].isfinite().all() and not line[0].isfinite().all()
        assert H[1].isfinite().all() and line[1].isfinite().all()

    def test_plane_at_infinity(self, cameras):
        K_src, K_tgt, R, t, _, _ = of(cameras)
        H, line = plane_homography_from_scaled_normal(K_src, K_tgt, R, t, torch.zeros_like(t))
        torch.testing.assert_close(H, K_src @ R.mT @ torch.linalg.inv(K_tgt), rtol=1e-11, atol=1e-10)
        assert not line.any()

    def test_autocast_leaves_full_precision(self, cameras):
        inputs = of(cameras, torch.float32)
        expected = plane_homography(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(plane_homography(*inputs), expected, rtol=0, atol=0)

    def test_same_camera_is_the_identity(self):
        """Exactly, for focal lengths whose reciprocals are: pictures are copied, not resampled."""
        K = torch.tensor([[64.0, 0.0, 31.5], [0.0, 64.0, 23.5], [0.0, 0.0, 1.0]])
        planes = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 1.0]])
        H, _ = plane_homography_from_scaled_normal(K, K, torch.eye(3), torch.zeros(3), planes)
        assert H.equal(torch.eye(3).expand(2, 3, 3))


class TestFrontoParallel:
    def test_spacing(self):
        planes = fronto_parallel_planes(1.0, 100.0, 32, dtype=torch.float64)
        steps = (1 / planes).diff()
        torch.testing.assert_close(steps, steps[:1].expand(31), rtol=0, atol=1e-15)
        depths = fronto_parallel_planes(1.0, 100.0, 4, "depth", "back_to_front")
        assert depths.tolist() == [100.0, 67.0, 34.0, 1.0]

    @pytest.mark.parametrize("order", ["front_to_back", "back_to_front"])
    def test_ends_are_exact(self, order):
        planes = fronto_parallel_planes(0.3, 7.1, 5, order=order, dtype=torch.float64).tolist()
        assert sorted(planes) == (planes if order == "front_to_back" else planes[::-1])
        assert {planes[0], planes[-1]} == {0.3, 7.1}
        assert fronto_parallel_planes(0.3, 7.1, 1, order=order, dtype=torch.float64).tolist() == [0.3]


class TestPlanesFromDepth:
    K = torch.tensor([[20.0, 0.0, 9.5], [0.0, 22.0, 7.5], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def rays(self) -> torch.Tensor:
        y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (16, 20)), indexing="ij")
        return torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(self.K).T

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
    def test_finds_the_planes(self, dtype, tolerance):
        """Each half of a picture shows a plane of its own."""
        planes = torch.tensor([[[0.1, 0.3, 0.4], [-0.3, 0.05, 0.6]]], dtype=torch.float64)
        regions = torch.zeros(1, 2, 16, 20, dtype=dtype)
        regions[:, 0, :, :10] = regions[:, 1, :, 10:] = 1
        depth = torch.einsum("bqk,hwk,bqhw->bhw", planes, self.rays(), regions.double()).to(dtype)
        prior = torch.tensor([0.0, 0.0, 0.3], dtype=dtype)
        for shape in ((1, 16, 20), (1, 1, 16, 20)):
            found = planes_from_depth(depth.reshape(shape), self.K.to(dtype), regions, prior, 1e-9)
            assert (found - planes).abs().max() < tolerance

    def test_normal_equations(self):
        """The gradient of the stated objective is zero at the answer."""
        generator = torch.Generator().manual_seed(0)
        regions, depth = (
            torch.rand(*s, generator=generator, dtype=torch.float64) for s in ((2, 3, 16, 20), (2, 16, 20))
        )
        prior = torch.rand(2, 3, 3, generator=generator, dtype=torch.float64)
        m = planes_from_depth(depth, self.K, regions, prior, 0.7).requires_grad_()
        error = torch.einsum("bqk,hwk->bqhw", m, self.rays()) - depth[:, None]
        loss = (regions * error**2).sum() + 0.7 * ((m - prior) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, m)
        assert gradient.abs().max() < 1e-10

    def test_region_without_pixels_gets_the_prior(self):
        prior = torch.tensor([[0.0, 0.1, 0.3], [0.2, 0.0, 0.5]], dtype=torch.float64)
        regions = torch.zeros(2, 4, 16, 20, dtype=torch.float64)
        found = planes_from_depth(torch.ones(2, 16, 20, dtype=torch.float64), self.K, regions, prior, 0.5)
        assert found.equal(prior[:, None].expand(2, 4, 3))

    def test_gradients(self):
        generator = torch.Generator().manual_seed(1)
        depth, regions = (torch.rand(*s, generator=generator, dtype=torch.float64) for s in ((1, 3, 4), (1, 2, 3, 4)))
        prior = torch.tensor([0.0, 0.0, 0.4], dtype=torch.float64)
        K = torch.tensor([[[4.0, 0.0, 1.5], [0.0, 4.0, 1.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
        inputs = [value.requires_grad_() for value in (depth, K, regions, prior)]
        assert gradcheck(lambda *x: planes_from_depth(*x, 0.1), inputs)
        assert gradgradcheck(lambda *x: planes_from_depth(*x, 0.1), inputs)

    def test_autocast_leaves_full_precision(self):
        depth, regions = torch.rand(1, 16, 20), torch.rand(1, 2, 16, 20)
        inputs = (depth, self.K.float(), regions, torch.tensor([0.0, 0.0, 0.3]), 0.1)
        expected = planes_from_depth(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert planes_from_depth(*inputs).equal(expected)


def test_a_pose_learned_through_a_homography():
    """Gradients reach six numbers that start at the identity."""
    vec = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    K, m = torch.diag(torch.tensor([10.0, 10.0, 1.0], dtype=torch.float64)), torch.tensor([0.0, 0.0, 0.5]).double()
    plane_homography_from_scaled_normal(K, K, *pose_from_6dof(vec), m)[0].square().sum().backward()
    assert vec.grad.isfinite().all() and vec.grad.any()


I3, Z3 = torch.eye(3), torch.zeros(3)
DEPTH, REGIONS = torch.ones(2, 4, 5), torch.ones(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: plane_homography(I3, I3, I3, Z3, torch.zeros(2), 1.0),
            ValueError,
            r"plane_homography: expected normal of shape \[...,3\], got \[2\]",
        ),
        (lambda: plane_homography(I3, I3, I3, Z3, Z3, "far"), TypeError, "expected distance a number or a tensor"),
        (lambda: plane_homography(I3, I3, I3, Z3, Z3, math.nan), ValueError, "expected a finite distance, got nan"),
        (
            lambda: plane_homography(I3, I3, I3, Z3, Z3.expand(2, 3), torch.ones(3)),
            ValueError,
            r"that broadcast, got normal \[2, 3\], distance \[3\]",
        ),
        (
            lambda: plane_homography_from_scaled_normal(I3, I3.double(), I3, Z3, Z3),
            TypeError,
            "plane_homography_from_scaled_normal: expected K_tgt of dtype torch.float32 like K_src, got torch.float64",
        ),
        (lambda: fronto_parallel_planes(0, 1, 2), ValueError, "0 < near <= far, got near 0.0 and far 1.0"),
        (lambda: fronto_parallel_planes(2, 1, 2), ValueError, "0 < near <= far, got near 2.0 and far 1.0"),
        (lambda: fronto_parallel_planes(1, 2, 0), ValueError, "expected q of at least 1, got 0"),
        (lambda: fronto_parallel_planes(1, 2, 1.5), TypeError, "expected q an integer, got 1.5"),
        (lambda: fronto_parallel_planes(1, 2, 2, "even"), ValueError, 'spacing one of "inverse_depth", "depth"'),
        (lambda: fronto_parallel_planes(1, 2, 2, order="up"), ValueError, 'order one of "front_to_back"'),
        (lambda: planes_from_depth(DEPTH, I3, DEPTH, Z3, 1), ValueError, r"regions of shape \[B,q,H,W\], got"),
        (
            lambda: planes_from_depth(DEPTH[:1], I3, REGIONS, Z3, 1),
            ValueError,
            r"inverse_depth of shape \[2,4,5\] like regions \[2, 3, 4, 5\], got \[1, 4, 5\]",
        ),
        (
            lambda: planes_from_depth(DEPTH, I3.expand(3, 3, 3), REGIONS, Z3, 1),
            ValueError,
            r"expected K of shape \[2,3,3\] or \[3,3\], got \[3, 3, 3\]",
        ),
        (
            lambda: planes_from_depth(DEPTH, I3, REGIONS, torch.zeros(5, 3), 1),
            ValueError,
            r"expected m0 of shape \[3\], \[2,3\] or \[2,3,3\], got \[5, 3\]",
        ),
        (lambda: planes_from_depth(DEPTH, I3, REGIONS, Z3, 0), ValueError, "expected lam above 0, got 0"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
