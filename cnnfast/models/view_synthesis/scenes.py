"""Synthetic rooms with billboards: pictures of two cameras with the exact depth, planes and co-visible pixels.

A scene is learnable without a download: the floor lies 1 m below the camera and boxes stand upright on it, so that one
picture tells the depth (where the floor ends says how far a wall is), as it does on a road. Views are rendered by
meeting rays with planes, in NumPy, without any warp, and so are an independent truth for warps.

Axes are x right, y down, z forward, in metres, in the source camera's frame; pixel centres are at integers; poses are
X_tgt = R X_src + t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnfast.arguments.checks import check_word, number_from_zero, whole_number
from cnnfast.models.view_synthesis.textures import TEXTURE_SIDE, look_up

MOST_PLANES = 7
"""Floor, ceiling, left, right and back wall, and two billboards."""

_NEAREST = 1e-3  # m: nearer hits lie behind the camera, or in it
_SAME_DEPTH = 0.05  # relative difference of depth up to which two views see the same point
_ROUNDING = 1e-6  # px


@dataclass(frozen=True)
class PoseRange:
    """Where target cameras stand: uniform draws, symmetric where there is one number.

    Attributes:
        x: to the side, in m.
        y: up and down, in m.
        z: (backward, forward), in m.
        yaw: about y, in degrees.
        pitch: about x.
        roll: about z.
    """

    x: float = 0.5
    y: float = 0.25
    z: tuple[float, float] = (-0.4, 0.8)
    yaw: float = 10.0
    pitch: float = 5.0
    roll: float = 3.0


POSES = {
    "full": PoseRange(),
    "less_rotation": PoseRange(yaw=6.0, pitch=4.0),
    "less_translation": PoseRange(x=0.35, y=0.15, z=(-0.4, 0.6)),
}
"""Name -> range of target cameras."""


@dataclass(frozen=True)
class Plane:
    """A textured plane n . X = d, or the rectangle of it that is a billboard.

    Attributes:
        normal: n [3], of length 1, away from the source camera.
        distance: d, above 0.
        axes: [2,3], along the columns and rows of the texture.
        texture: [h,w,3].
        texel: side of a texel in m.
        offset: [2], texel at the origin of the axes.
        gain: of each channel [3].
        bias: of each channel [3].
        extent: [2,2], least and largest coordinate along each axis; None for a plane without end.
    """

    normal: np.ndarray
    distance: float
    axes: np.ndarray
    texture: np.ndarray
    texel: float
    offset: np.ndarray
    gain: np.ndarray
    bias: np.ndarray
    extent: np.ndarray | None = None

    def colour(self, points: np.ndarray) -> np.ndarray:
        """Colours [n,3] at points [n,3] of the plane."""
        x, y = (points @ self.axes.T / self.texel + self.offset).T
        return (look_up(self.texture, x, y) * self.gain + self.bias).clip(0, 1)

    def depths(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """How far along rays [...,3] they meet the plane, in multiples of their length; infinite where they do not."""
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (self.distance - self.normal @ origin) / (directions @ self.normal)
            hit = np.isfinite(depth) & (depth > _NEAREST)
            if self.extent is not None:
                at = (origin + depth[..., None] * directions) @ self.axes.T
                hit &= ((at >= self.extent[:, 0]) & (at <= self.extent[:, 1])).all(-1)
        return np.where(hit, depth, np.inf)


@dataclass(frozen=True)
class Scene:
    """Planes in the source camera's frame.

    Attributes:
        planes: floor, ceiling, left, right and back wall, then billboards.
    """

    planes: tuple[Plane, ...]

    @property
    def scaled_normals(self) -> np.ndarray:
        """N / d of each plane [q,3], as `cnnfast.geometry.plane_homography_from_scaled_normal` takes them."""
        return np.stack([plane.normal / plane.distance for plane in self.planes])


@dataclass(frozen=True)
class View:
    """What a camera sees.

    Attributes:
        image: [3,H,W], float32 in [0,1]; black where no plane is.
        plane: index of the plane at each pixel [H,W]; -1 where none is.
        depth: z in the camera's frame [H,W], float64, in m; infinite where no plane is.
    """

    image: np.ndarray
    plane: np.ndarray
    depth: np.ndarray


def camera(size: int) -> np.ndarray:
    """Intrinsics [3,3] of the scenes' square pictures: focal length 0.9 size, centre in the middle.

    Example:
        >>> from cnnfast.models.view_synthesis.scenes import camera
        >>> camera(40)[0].tolist()
        [36.0, 0.0, 19.5]
    """
    middle = (size - 1) / 2
    return np.array([[0.9 * size, 0.0, middle], [0.0, 0.9 * size, middle], [0.0, 0.0, 1.0]])


def default_texel(size: int) -> float:
    """Side of a texel in m that keeps the pattern above the pixel size at a depth of 4 m: 0.06 m for 48 px."""
    return 2.88 / size


def random_pose(
    generator: np.random.Generator, poses: str = "full", factor: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """A pose from the source to a random target camera, X_tgt = R X_src + t.

    The target stands at c and is turned by Rc = Ry(yaw) Rx(pitch) Rz(roll), so R = Rc^T and t = -Rc^T c.

    Args:
        generator: of the draws.
        poses: one of `POSES`.
        factor: of all ranges; above 1 to see how a method extrapolates.

    Returns:
        R [3,3] and t [3].

    Raises:
        TypeError: the factor is no number.
        ValueError: another name, a negative factor.

    Example:
        >>> import numpy as np
        >>> from cnnfast.models.view_synthesis.scenes import random_pose
        >>> R, t = random_pose(np.random.default_rng(0), factor=0)
        >>> bool((R == np.eye(3)).all()), bool((t == 0).all())
        (True, True)
    """
    check_word("random_pose", "poses", poses, tuple(POSES))
    size = number_from_zero("random_pose", "factor", factor)
    span = POSES[poses]
    low = np.array([-span.x, -span.y, span.z[0], -span.yaw, -span.pitch, -span.roll])
    high = np.array([span.x, span.y, span.z[1], span.yaw, span.pitch, span.roll])
    *centre, yaw, pitch, roll = generator.uniform(low, high) * size
    turn = _rotation(1, yaw) @ _rotation(0, pitch) @ _rotation(2, roll)
    return turn.T, -turn.T @ np.array(centre)


def _rotation(axis: int, degrees: float) -> np.ndarray:
    """Right-handed turn about an axis."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def random_scene(generator: np.random.Generator, textures: Sequence[np.ndarray], texel: float) -> Scene:
    """A room with 0, 1 or 2 billboards that stand on its floor, each surface with a texture of its own.

    Args:
        generator: of the draws.
        textures: arrays [h,w,3] to choose from, see `cnnfast.models.view_synthesis.textures`.
        texel: side of a texel in m, see `default_texel`.

    Returns:
        The scene. A billboard that would come nearer to the source camera than 0.8 m is left out.

    Example:
        >>> import numpy as np
        >>> from cnnfast.models.view_synthesis.scenes import random_scene
        >>> scene = random_scene(np.random.default_rng(1), [np.ones((4, 4, 3))], texel=0.1)
        >>> scene.planes[0].normal, scene.planes[0].distance
        (array([0., 1., 0.]), 1.0)
    """
    x, y, z = np.eye(3)

    def surface(
        normal: np.ndarray, distance: float, axes: tuple[np.ndarray, np.ndarray], extent: np.ndarray | None = None
    ) -> Plane:
        texture = textures[int(generator.integers(len(textures)))]
        offset = generator.uniform(0, 2 * TEXTURE_SIDE, 2)
        gain, bias = generator.uniform(0.55, 1, 3), generator.uniform(0, 0.25, 3)
        return Plane(normal, distance, np.stack(axes), texture, texel, offset, gain, bias, extent)

    def upright(degrees: float, centre: np.ndarray) -> tuple[np.ndarray, float, tuple[np.ndarray, np.ndarray]]:
        sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        normal = np.array([sine, 0.0, cosine])
        return normal, float(normal @ centre), (np.array([cosine, 0.0, -sine]), y)

    ceiling, left, right = generator.uniform((0.8, 1.3, 1.3), (1.4, 2.8, 2.8))
    depth = generator.uniform(3.5, 6.5)
    planes = [
        surface(y, 1.0, (x, z)),
        surface(-y, ceiling, (x, z)),
        surface(-x, left, (z, y)),
        surface(x, right, (z, y)),
    ]
    planes.append(surface(*upright(generator.uniform(-15, 15), np.array([0.0, 0.0, depth]))))
    for _ in range(generator.integers(3)):
        width = generator.uniform(0.5, 1.1)
        height = generator.uniform(0.6, min(1.6, 1 + ceiling - 0.1))
        centre = np.array(
            [generator.uniform(-0.8 * left, 0.8 * right), 1 - height / 2, generator.uniform(1.8, depth - 1.2)]
        )
        normal, distance, axes = upright(generator.uniform(-30, 30), centre)
        if distance >= 0.8:
            middle, half = np.stack(axes) @ centre, np.array([width, height]) / 2
            planes.append(surface(normal, distance, axes, np.stack([middle - half, middle + half], 1)))
    return Scene(tuple(planes))


def _rays(K: np.ndarray, R: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Directions [h,w,3] in the source frame of rays through pixels, one unit deep in the camera's own frame."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    return pixels @ np.linalg.inv(K).T @ R


def _nearest(scene: Scene, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the plane that each ray meets first, -1 for none, and the depth."""
    depths = np.stack([plane.depths(origin, rays) for plane in scene.planes])
    index = depths.argmin(0)
    depth = np.take_along_axis(depths, index[None], 0)[0]
    return np.where(np.isfinite(depth), index, -1), depth


def render(scene: Scene, K: np.ndarray, R: np.ndarray, t: np.ndarray, size: Sequence[int], samples: int = 1) -> View:
    """What a camera sees of a scene.

    Colours are those at pixel centres; more samples make nicer pictures, the means of samples x samples rays a pixel.
    Planes and depth are always those at the centres.

    Args:
        scene: its planes are in the source camera's frame.
        K: intrinsics [3,3] in px.
        R: rotation [3,3] from the source camera to this one; the identity renders the source view.
        t: translation [3].
        size: (height, width).
        samples: rays a pixel along each axis.

    Raises:
        ValueError: samples below 1 or no integer.

    Example:
        >>> import numpy as np
        >>> from cnnfast.models.view_synthesis.scenes import camera, random_scene, render
        >>> scene = random_scene(np.random.default_rng(1), [np.ones((4, 4, 3))], texel=0.1)
        >>> view = render(scene, camera(24), np.eye(3), np.zeros(3), (24, 24))
        >>> view.image.shape, int(view.plane[-1, 12])  # the floor, below
        ((3, 24, 24), 0)
    """
    count = whole_number(samples)
    if count is None or count < 1:
        raise ValueError(f"render: expected samples an integer of at least 1, got {samples!r}")
    height, width = size
    origin = -R.T @ t
    plane, depth = _nearest(scene, origin, _rays(K, R, np.arange(height), np.arange(width)))
    inside = (np.arange(count) + 0.5) / count - 0.5
    rows, columns = ((np.arange(n)[:, None] + inside).ravel() for n in (height, width))
    rays = _rays(K, R, rows, columns)
    index, along = (plane, depth) if count == 1 else _nearest(scene, origin, rays)
    image = np.zeros((*index.shape, 3))
    for number, surface in enumerate(scene.planes):
        seen = index == number
        image[seen] = surface.colour(origin + along[seen][:, None] * rays[seen])
    image = image.reshape(height, count, width, count, 3).mean((1, 3))
    return View(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32), plane, depth)


def _within(position: np.ndarray, size: int) -> np.ndarray:
    """Whether positions lie between the centres of the outer pixels, but for rounding."""
    return (position >= -_ROUNDING) & (position <= size - 1 + _ROUNDING)


def covisible(
    target_depth: np.ndarray,
    source_depth: np.ndarray,
    K_src: np.ndarray,
    K_tgt: np.ndarray,
    R: np.ndarray,
    t: np.ndarray,
) -> np.ndarray:
    """Which pixels of the target view show what the source view shows too.

    The pixel's point lies in front of the source camera, projects between the centres of its outer pixels, and has,
    within 5 %, the depth that the source view has at one of the 3x3 pixels there.

    Args:
        target_depth: z of the target view [H,W]; not finite or 0 where it is unknown, which is not co-visible.
        source_depth: z of the source view [h,w].
        K_src: intrinsics of the source camera [3,3].
        K_tgt: those of the target camera.
        R: rotation [3,3] from source to target.
        t: translation [3].

    Returns:
        [H,W] bool.

    Example:
        >>> import numpy as np
        >>> from cnnfast.models.view_synthesis.scenes import camera, covisible
        >>> wall, K = np.full((8, 8), 7.2), camera(8)
        >>> covisible(wall, wall, K, K, np.eye(3), np.array([-2.0, 0.0, 0.0]))[0]  # a camera 2 px to the right
        array([ True,  True,  True,  True,  True,  True, False, False])
    """
    height, width = source_depth.shape
    known = np.isfinite(target_depth) & (target_depth > 0)
    # In the source frame a ray is one unit deep in the target's own frame.
    rays = _rays(K_tgt, R, *(np.arange(n) for n in target_depth.shape))
    points = np.where(known, target_depth, 1.0)[..., None] * rays - R.T @ t
    z = points[..., 2]
    pixels = points @ K_src.T
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = pixels[..., 0] / z, pixels[..., 1] / z
    inside = known & (z > 0) & _within(x, width) & _within(y, height)
    column, row = (np.rint(np.where(inside, position, 0)).astype(np.intp) for position in (x, y))
    found = np.zeros_like(inside)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            depth = source_depth[(row + down).clip(0, height - 1), (column + across).clip(0, width - 1)]
            found |= np.abs(depth - z) <= _SAME_DEPTH * z
    return inside & found
