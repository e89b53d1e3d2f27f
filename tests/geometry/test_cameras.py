"""Poses and intrinsics against closed forms, SciPy and points in space."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from cnnfast.geometry import (
    axis_angle_to_matrix,
    intrinsics_from_corner_origin,
    intrinsics_from_normalized,
    invert_pose,
    pose_from_6dof,
    relative_pose,
    scale_intrinsics,
)


def poses(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    vectors = torch.randn(*shape, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return pose_from_6dof(vectors)


def rigid(R: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    motion = torch.eye(4, dtype=R.dtype).repeat(*R.shape[:-2], 1, 1)
    motion[..., :3, :3], motion[..., :3, 3] = R, t
    return motion


class TestAxisAngle:
    @pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-6, 0.04, 0.0999, 0.1001, 1.0, math.pi, 10.0])
    def test_scipy(self, scale):
        axis = torch.tensor([[2.0, -1.0, 2.0], [0.0, 0.0, -3.0]], dtype=torch.float64) / 3
        expected = torch.from_numpy(Rotation.from_rotvec((scale * axis).numpy()).as_matrix())
        torch.testing.assert_close(axis_angle_to_matrix(scale * axis), expected, rtol=0, atol=2e-15)
        single = axis_angle_to_matrix((scale * axis).float())
        torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("scale", [0.0, 1e-3, 0.05, 1.0, 3.0])
    def test_gradients(self, scale):
        v = (scale * torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)).requires_grad_()
        assert gradcheck(axis_angle_to_matrix, v)
        assert gradgradcheck(axis_angle_to_matrix, v)

    def test_pose(self):
        vec = torch.tensor([1.0, 2.0, 3.0, 0.1, 0.2, 0.3], dtype=torch.float64)
        R, t = pose_from_6dof(vec)
        assert R.equal(axis_angle_to_matrix(vec[3:])) and t.equal(vec[:3])


class TestPoses:
    def test_invert(self):
        R, t = poses(5)
        back, shift = invert_pose(R, t)
        expected = torch.linalg.inv(rigid(R, t))
        torch.testing.assert_close(rigid(back, shift), expected, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("rows", [3, 4])
    @pytest.mark.parametrize("camera_to_world", [False, True])
    def test_relative(self, rows, camera_to_world):
        source, target = rigid(*poses(4, 1, seed=1)), rigid(*poses(3, seed=2))
        R, t = relative_pose(source[..., :rows, :], target[..., :rows, :], camera_to_world=camera_to_world)
        inverse = torch.linalg.inv
        expected = inverse(target) @ source if camera_to_world else target @ inverse(source)
        torch.testing.assert_close(rigid(R, t), expected, rtol=0, atol=1e-14)

    def test_far_from_the_origin(self):
        """Two cameras of one place keep their distance in float32 however far off the world's origin is."""
        away = torch.eye(4)
        away[:3, 3] = torch.tensor([1e6, 2e6, 3e6])
        near = away.clone()
        near[2, 3] += 1.0
        assert relative_pose(away, near, camera_to_world=True)[1].tolist() == [0.0, 0.0, -1.0]

    def test_gradients(self):
        source, target = (rigid(*poses(seed=seed)).requires_grad_() for seed in (3, 4))
        for camera_to_world in (False, True):
            assert gradcheck(
                lambda a, b, way=camera_to_world: relative_pose(a, b, camera_to_world=way), (source, target)
            )


class TestIntrinsics:
    def test_normalized(self):
        K = intrinsics_from_normalized(0.9, 1.2, 0.5, 0.5, 48, 64)
        torch.testing.assert_close(K, torch.tensor([[57.6, 0.0, 31.5], [0.0, 57.6, 23.5], [0.0, 0.0, 1.0]]))
        fx = torch.tensor([0.9, 1.0], dtype=torch.float64, requires_grad=True)
        batch = intrinsics_from_normalized(fx, 1.2, 0.5, torch.tensor(0.25, dtype=torch.float64), 48, 64)
        assert batch.shape == (2, 3, 3) and batch.dtype == torch.float64
        batch.sum().backward()
        assert fx.grad.tolist() == [64.0, 64.0]

    def test_scaling_keeps_what_a_ray_shows(self):
        """The outer edges of the picture stay its edges, whatever else the matrix holds."""
        K = torch.tensor([[50.0, 2.0, 30.0], [0.0, 60.0, 20.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        ray = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)
        scaled = scale_intrinsics(K, 0.5, torch.tensor([1.5, 3.0], dtype=torch.float64))
        x, y, _ = K @ ray
        expected = torch.stack([((x + 0.5) * 0.5 - 0.5).expand(2), (y + 0.5) * torch.tensor([1.5, 3.0]) - 0.5], -1)
        torch.testing.assert_close((scaled @ ray)[:, :2], expected)

    def test_scaling_of_normalized(self):
        K = intrinsics_from_normalized(0.9, 1.2, 0.4, 0.6, 48, 64)
        torch.testing.assert_close(
            scale_intrinsics(K, 0.5, 0.25), intrinsics_from_normalized(0.9, 1.2, 0.4, 0.6, 12, 32)
        )

    def test_corner_origin(self):
        K = torch.tensor([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        assert intrinsics_from_corner_origin(K)[:2, 2].tolist() == [31.5, 23.5]


I3, Z3 = torch.eye(3), torch.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: invert_pose([1], Z3), TypeError, "invert_pose: expected R a torch.Tensor, got list"),
        (lambda: invert_pose(I3.half(), Z3), TypeError, "expected R of dtype float32 or float64, got torch.float16"),
        (
            lambda: invert_pose(I3, Z3.double()),
            TypeError,
            "expected t of dtype torch.float32 like R, got",
        ),
        (lambda: invert_pose(I3, torch.zeros(4)), ValueError, r"expected t of shape \[...,3\], got \[4\]"),
        (lambda: invert_pose(I3.to("meta"), Z3), ValueError, "expected t on meta like R, got cpu"),
        (lambda: invert_pose(I3.expand(2, 3, 3), Z3.expand(3, 3)), ValueError, r"that broadcast, got R \[2, 3, 3\], t"),
        (lambda: relative_pose(I3, I3), ValueError, r"relative_pose: expected E_src of shape .* got \[3, 3\]"),
        (lambda: relative_pose(I3, I3, camera_to_world=1), TypeError, "expected camera_to_world True or False, got 1"),
        (lambda: pose_from_6dof(Z3), ValueError, r"pose_from_6dof: expected vec of shape \[...,6\], got \[3\]"),
        (lambda: axis_angle_to_matrix(torch.tensor(1.0)), ValueError, r"expected v of shape \[...,3\], got \[\]"),
        (lambda: intrinsics_from_normalized("1", 1, 0, 0, 2, 2), TypeError, "expected fx a number or a tensor"),
        (lambda: intrinsics_from_normalized(1, math.nan, 0, 0, 2, 2), ValueError, "expected a finite fy, got nan"),
        (lambda: intrinsics_from_normalized(1, 1, 0, 0, 2.5, 2), TypeError, "expected H an integer, got 2.5"),
        (lambda: intrinsics_from_normalized(1, 1, 0, 0, 2, 0), ValueError, "expected W of at least 1, got 0"),
        (lambda: scale_intrinsics(I3, 1, math.inf), ValueError, "scale_intrinsics: expected a finite sy, got inf"),
        (lambda: scale_intrinsics(torch.eye(4), 1, 1), ValueError, r"expected K of shape \[...,3,3\], got \[4, 4\]"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
