"""Synthetic scenes against stored views and against warps by their true planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cnnfast.geometry import plane_homography_from_scaled_normal, to_grid
from cnnfast.models.view_synthesis import scenes
from cnnfast.models.view_synthesis.scenes import Plane, Scene, camera, covisible, random_pose, random_scene, render
from cnnfast.models.view_synthesis.textures import TEXTURES, load_textures, look_up

STILL = np.eye(3), np.zeros(3)


def plain_scene(normals: np.ndarray, distances: np.ndarray) -> Scene:
    """White planes without end."""
    white, zero, one = np.ones((2, 2, 3)), np.zeros(2), np.ones(3)
    return Scene(
        tuple(
            Plane(normal, float(distance), np.eye(3)[:2], white, 1.0, zero, one, np.zeros(3))
            for normal, distance in zip(normals, distances, strict=True)
        )
    )


def drawn(seed: int, split: str = "test", size: int = 24) -> tuple[Scene, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scene = random_scene(generator, load_textures(split), scenes.default_texel(size))
    return scene, *random_pose(generator)


@pytest.mark.parametrize("name", ["scene_0", "scene_1", "scene_2"])
def test_parity(parity, name):
    """Planes, depths and co-visible pixels of stored views."""
    stored = parity(name, "view_synthesis")
    K, pose, size = stored["K"], (stored["R"], stored["t"]), (40, 40)
    scene = plain_scene(stored["normals"], stored["distances"])
    assert (camera(40) == K).all()
    for view, (R, t) in (("source", STILL), ("target", pose)):
        found = render(scene, K, R, t, size)
        assert (found.plane == stored[f"{view}_plane"]).all()
        np.testing.assert_allclose(found.depth, stored[f"{view}_depth"], rtol=1e-6)
    both = covisible(stored["target_depth"], stored["source_depth"], K, K, *pose)
    assert (both == stored["covisible"]).all()


def test_published_figures():
    """Copying the source, and the true planes through a warp, cost what the task's description says."""
    copied, warped = [], []
    for seed in range(40):
        scene, R, t = drawn(seed)
        K = camera(24)
        source, target = render(scene, K, *STILL, (24, 24)), render(scene, K, R, t, (24, 24))
        both = covisible(target.depth, source.depth, K, K, R, t)
        K, R, t = map(torch.from_numpy, (K, R, t))
        H, _ = plane_homography_from_scaled_normal(K, K, R, t, torch.from_numpy(scene.scaled_normals))
        images = torch.from_numpy(source.image).double().expand(len(H), -1, -1, -1)
        grid = to_grid(H, (24, 24), (24, 24), align_corners=False)
        layers = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        masks = F.one_hot(torch.from_numpy(target.plane), len(H)).permute(2, 0, 1)
        view = (layers * masks[:, None]).sum(0).numpy()
        copied.append(np.abs(source.image - target.image)[:, both].mean())
        warped.append(np.abs(view - target.image)[:, both].mean())
    # Means over 200 scenes are 0.0703 and 0.0137, with standard errors of 0.002 and 0.0003; here of 40.
    assert np.mean(copied) == pytest.approx(0.0703, abs=0.015)
    assert np.mean(warped) == pytest.approx(0.0137, abs=0.003)


class TestScene:
    def test_room(self):
        """Rooms are closed, their surfaces stand as described, and billboards stand on the floor."""
        counts = set()
        for seed in range(60):
            scene, R, t = drawn(seed)
            counts.add(len(scene.planes))
            assert 5 <= len(scene.planes) <= scenes.MOST_PLANES
            np.testing.assert_allclose(np.linalg.norm([plane.normal for plane in scene.planes], axis=1), 1, rtol=1e-12)
            for plane in scene.planes:
                np.testing.assert_allclose(plane.axes @ plane.normal, 0, atol=1e-12)
                assert 0.8 <= plane.distance <= 6.5
            for board in scene.planes[5:]:
                assert board.extent[1, 1] == pytest.approx(1)  # y of the floor
            view = render(scene, camera(12), R, t, (12, 12))
            assert (view.plane >= 0).all() and np.isfinite(view.depth).all()
        assert counts == {5, 6, 7}

    def test_billboard_hides_the_wall(self):
        scene = next(scene for scene in (drawn(seed)[0] for seed in range(50)) if len(scene.planes) > 5)
        empty = Scene(scene.planes[:5])
        size = (48, 48)
        with_board, without = (render(room, camera(48), *STILL, size) for room in (scene, empty))
        board = with_board.plane >= 5
        assert board.any() and (with_board.depth[board] < without.depth[board]).all()
        assert (with_board.image[:, ~board] == without.image[:, ~board]).all()

    def test_same_seed_same_scene(self):
        first, second, other = drawn(3), drawn(3), drawn(4)
        images = [render(scene, camera(24), R, t, (24, 24)).image for scene, R, t in (first, second, other)]
        assert (images[0] == images[1]).all() and (images[0] != images[2]).any()

    def test_more_samples_smooth(self):
        scene, R, t = drawn(0)
        plain, smooth = (render(scene, camera(24), R, t, (24, 24), samples) for samples in (1, 4))
        assert (plain.plane == smooth.plane).all() and (plain.depth == smooth.depth).all()
        assert 0 < np.abs(plain.image - smooth.image).mean() < 0.05
        with pytest.raises(ValueError, match="render: expected samples an integer of at least 1, got 0"):
            render(scene, camera(24), R, t, (24, 24), 0)

    def test_nothing_in_sight(self):
        behind = plain_scene(np.array([[0.0, 0.0, 1.0]]), np.array([1.0]))
        view = render(behind, camera(8), np.eye(3), np.array([0.0, 0.0, -2.0]), (8, 8))
        assert (view.plane == -1).all() and np.isinf(view.depth).all() and not view.image.any()
        assert not covisible(view.depth, np.ones((8, 8)), camera(8), camera(8), *STILL).any()


class TestPoses:
    def test_ranges(self):
        generator = np.random.default_rng(0)
        for name, span in scenes.POSES.items():
            poses = [random_pose(generator, name, 2.0) for _ in range(200)]
            centres = np.array([-R.T @ t for R, t in poses])
            high = 2 * np.array([span.x, span.y, span.z[1]])
            low = 2 * np.array([-span.x, -span.y, span.z[0]])
            assert (centres <= high).all() and (centres >= low).all()
            assert (centres.max(0) > 0.9 * high).all() and (centres.min(0) < 0.9 * low).all()
            # The camera looks along the third column of Rc = R^T = Ry Rx Rz.
            yaw = np.degrees([np.arctan2(R[2, 0], R[2, 2]) for R, _ in poses])
            assert 1.9 * span.yaw * 0.9 < yaw.max() <= 2 * span.yaw

    def test_turn_to_the_right(self):
        """Positive yaw turns the view from z to x."""
        turn = scenes._rotation(1, 90)
        np.testing.assert_allclose(turn @ [0, 0, 1], [1, 0, 0], atol=1e-15)

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match='random_pose: expected poses one of "full"'):
            random_pose(np.random.default_rng(0), "wild")
        with pytest.raises(ValueError, match="random_pose: expected factor of at least 0, got -1"):
            random_pose(np.random.default_rng(0), factor=-1)


class TestTextures:
    def test_splits_share_no_picture(self):
        assert not set(TEXTURES["train"]) & set(TEXTURES["test"])
        for texture in (*load_textures("train"), *load_textures("test")):
            assert texture.shape == (128, 128, 3) and texture.min() >= 0 and texture.max() <= 1
            assert texture.std() > 0.02 and not texture.flags.writeable
        with pytest.raises(ValueError, match='load_textures: expected split one of "train", "test"'):
            load_textures("val")

    def test_look_up_mirrors(self):
        texture = np.random.default_rng(0).random((3, 4, 2))
        tiled = np.concatenate([texture, texture[:, ::-1]] * 2, 1)
        x = np.arange(16.0)
        for row in range(3):
            np.testing.assert_allclose(look_up(texture, x, np.full(16, row)), tiled[row])
        np.testing.assert_allclose(look_up(texture, -x - 1, x * 0), look_up(texture, x, x * 0))
        np.testing.assert_allclose(look_up(texture, x[:4], x[:4] * 0 + 0.5), texture[:2].mean(0))
        between = look_up(texture, x[:3] + 0.25, x[:3] * 0)
        np.testing.assert_allclose(between, 0.75 * texture[0, :3] + 0.25 * texture[0, 1:])
