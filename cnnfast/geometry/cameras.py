"""Cameras: poses and intrinsics.

Axes are OpenCV's: x right, y down, z forward. Pixel centres are at integers, (x, y) = (column, row), so that the
picture covers [-0.5, W - 0.5] x [-0.5, H - 0.5] and its middle is at ((W - 1)/2, (H - 1)/2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_flag, finite_number, whole_number
from cnnfast.geometry._matrices import apply, check_float, check_shapes, dot, matrix_from_rows, product

# Below this squared angle the series of sine and cosine, cut after five terms, are exact in float64.
_SMALL = 1e-2


def invert_pose(R: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    r"""The pose in the other direction: :math:`(R^T, -R^T t)`.

    If :math:`X_{tgt} = R X_{src} + t`, then :math:`X_{src} = R' X_{tgt} + t'` with the pose that is returned.
    Differentiable in both arguments. No pixels are involved.

    Args:
        R: rotation [...,3,3], float32 or float64; its inverse is taken to be its transpose.
        t: translation [...,3]; leading axes broadcast.

    Returns:
        Rotation [...,3,3] and translation [...,3].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64.
        ValueError: other shapes, or tensors on different devices.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import invert_pose
        >>> invert_pose(torch.eye(3), torch.tensor([1.0, 2.0, 3.0]))[1]
        tensor([-1., -2., -3.])
    """
    check_shapes("invert_pose", {"R": (R, (3, 3)), "t": (t, (3,))})
    return R.mT, -apply(R.mT, t)


def relative_pose(E_src: Tensor, E_tgt: Tensor, *, camera_to_world: bool = False) -> tuple[Tensor, Tensor]:
    r"""Pose from the source to the target camera, :math:`X_{tgt} = R X_{src} + t`.

    :math:`[R|t] = E_{tgt} E_{src}^{-1}`, or :math:`E_{tgt}^{-1} E_{src}` of matrices from camera to world.
    Differentiable in both arguments. No pixels are involved.

    Args:
        E_src: rigid motion of the source camera, [...,4,4] or [...,3,4], float32 or float64: world to camera as in
            COLMAP and RealEstate10K; its last row, if any, is taken to be (0, 0, 0, 1).
        E_tgt: that of the target camera, likewise; leading axes broadcast.
        camera_to_world: the matrices map camera to world, as in KITTI odometry and ScanNet.

    Returns:
        Rotation [...,3,3] and translation [...,3].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64.
        ValueError: other shapes, or tensors on different devices.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import relative_pose
        >>> ahead = torch.eye(4)
        >>> ahead[2, 3] = 5.0  # this camera stands 5 m further ahead
        >>> relative_pose(torch.eye(4), ahead, camera_to_world=True)[1]
        tensor([ 0.,  0., -5.])
    """
    check_flag("relative_pose", "camera_to_world", camera_to_world)
    parts = {}
    for name, E in (("E_src", E_src), ("E_tgt", E_tgt)):
        check_float("relative_pose", name, E)
        if E.dim() < 2 or tuple(E.shape[-2:]) not in ((4, 4), (3, 4)):
            raise ValueError(f"relative_pose: expected {name} of shape [...,4,4] or [...,3,4], got {list(E.shape)}")
        parts[name] = E[..., :3, :]
    check_shapes("relative_pose", {name: (part, (3, 4)) for name, part in parts.items()})
    R_src, t_src = parts["E_src"][..., :3], parts["E_src"][..., 3]
    R_tgt, t_tgt = parts["E_tgt"][..., :3], parts["E_tgt"][..., 3]
    if camera_to_world:
        return product(R_tgt.mT, R_src), apply(R_tgt.mT, t_src - t_tgt)
    R = product(R_tgt, R_src.mT)
    return R, t_tgt - apply(R, t_src)


def axis_angle_to_matrix(v: Tensor) -> Tensor:
    r"""Rotation matrices of rotation vectors, by Rodrigues' formula.

    :math:`R = I + \frac{\sin\theta}{\theta} [v]_\times + \frac{1 - \cos\theta}{\theta^2} [v]_\times^2` with
    :math:`\theta = |v|`: right-handed turns of column vectors, x to y for v along z. Differentiable everywhere, as
    often as you like, also at v = 0. No pixels are involved.

    Args:
        v: axis times angle in radians [...,3], float32 or float64.

    Returns:
        Rotations [...,3,3].

    Raises:
        TypeError: no tensor of float32 or float64.
        ValueError: another shape.

    Example:
        >>> import math, torch
        >>> from cnnfast.geometry import axis_angle_to_matrix
        >>> axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2]))[:, 0].round()  # x turns to y
        tensor([-0., 1., 0.])
    """
    check_shapes("axis_angle_to_matrix", {"v": (v, (3,))})
    square = dot(v, v)
    small = square < _SMALL
    # Where the series is taken, the other branch gets a harmless angle: 0 would make its gradient NaN.
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    x = torch.where(small, square, torch.zeros_like(square))
    sine = torch.where(small, 1 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72))), angle.sin() / angle)
    half = (angle / 2).sin() / angle
    cosine = torch.where(small, 0.5 * (1 - x / 12 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90)))), 2 * half * half)
    a, b, c = v.unbind(-1)
    cross = matrix_from_rows([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]], v)
    identity = torch.eye(3, dtype=v.dtype, device=v.device)
    return identity + sine[..., None, None] * cross + cosine[..., None, None] * product(cross, cross)


def pose_from_6dof(vec: Tensor) -> tuple[Tensor, Tensor]:
    r"""Pose of six numbers: translation, then the rotation as axis times angle.

    The pose has the direction that you give it a meaning for, :math:`X_{tgt} = R X_{src} + t` elsewhere in this
    module. Differentiable everywhere, as often as you like. No pixels are involved.

    Args:
        vec: [...,6], float32 or float64: t, and the vector of `axis_angle_to_matrix`.

    Returns:
        Rotation [...,3,3] and translation [...,3].

    Raises:
        TypeError: no tensor of float32 or float64.
        ValueError: another shape.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import pose_from_6dof
        >>> R, t = pose_from_6dof(torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]))
        >>> R.equal(torch.eye(3)), t
        (True, tensor([1., 2., 3.]))
    """
    check_shapes("pose_from_6dof", {"vec": (vec, (6,))})
    return axis_angle_to_matrix(vec[..., 3:]), vec[..., :3]


def _number_or_tensor(function: str, name: str, value: float | Tensor) -> float | Tensor:
    return value if isinstance(value, Tensor) else finite_number(function, name, value, "[...]")


def check_size(function: str, name: str, size: object) -> int:
    """A side of a picture in px as an integer.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 1.
    """
    side = whole_number(size)
    if side is None:
        raise TypeError(f"{function}: expected {name} an integer, got {size!r}")
    if side < 1:
        raise ValueError(f"{function}: expected {name} of at least 1, got {side}")
    return side


def intrinsics_from_normalized(
    fx: float | Tensor, fy: float | Tensor, cx: float | Tensor, cy: float | Tensor, H: int, W: int
) -> Tensor:
    r"""Intrinsics in pixels of those on [0,1], as RealEstate10K and single_view_mpi have them.

    :math:`f_x W, f_y H, c_x W - 1/2, c_y H - 1/2`: 0 and 1 are the outer edges of the picture, and pixel centres are
    at integers in the matrix that is returned. Differentiable in the four numbers.

    Args:
        fx: focal length as a part of the width; a number, or a tensor [...] of float32 or float64.
        fy: that of the height; the four broadcast.
        cx: principal point as a part of the width.
        cy: that of the height.
        H: height of the picture in px.
        W: its width.

    Returns:
        K [...,3,3], of the tensors' dtype; float32 if all are numbers.

    Raises:
        TypeError: no numbers or tensors of one dtype.
        ValueError: numbers that are not finite, sides below 1, shapes that do not broadcast.

    Example:
        >>> from cnnfast.geometry import intrinsics_from_normalized
        >>> intrinsics_from_normalized(0.5, 0.5, 0.5, 0.5, H=4, W=8)
        tensor([[4.0000, 0.0000, 3.5000],
                [0.0000, 2.0000, 1.5000],
                [0.0000, 0.0000, 1.0000]])
    """
    function = "intrinsics_from_normalized"
    H, W = check_size(function, "H", H), check_size(function, "W", W)
    given = {"fx": fx, "fy": fy, "cx": cx, "cy": cy}
    values = {name: _number_or_tensor(function, name, value) for name, value in given.items()}
    tensors = {name: (value, ()) for name, value in values.items() if isinstance(value, Tensor)}
    check_shapes(function, tensors)
    like = next((value for value, _ in tensors.values()), torch.empty(0, dtype=torch.float32))
    rows = [[values["fx"] * W, 0.0, values["cx"] * W - 0.5], [0.0, values["fy"] * H, values["cy"] * H - 0.5]]
    return matrix_from_rows([*rows, [0.0, 0.0, 1.0]], like)


def scale_intrinsics(K: Tensor, sx: float | Tensor, sy: float | Tensor) -> Tensor:
    r"""Intrinsics of a picture that was resized by (sx, sy).

    :math:`f_x s_x, c_x \to (c_x + 1/2) s_x - 1/2` and likewise in y: the outer edges of the picture stay its edges, as
    `cnnfast.images.resize` and ``interpolate(align_corners=False)`` have them. Pixel centres are at integers before
    and after. Differentiable in all arguments.

    Args:
        K: [...,3,3], float32 or float64.
        sx: new width by old width, a number or a tensor [...] that broadcasts.
        sy: new height by old height.

    Returns:
        K [...,3,3].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64, or no numbers.
        ValueError: another shape, or numbers that are not finite.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import scale_intrinsics
        >>> K = torch.tensor([[10.0, 0.0, 3.5], [0.0, 10.0, 1.5], [0.0, 0.0, 1.0]])  # the middle of 8x4 px
        >>> scale_intrinsics(K, 0.5, 0.5)[:2, 2]  # the middle of 4x2 px
        tensor([1.5000, 0.5000])
    """
    function = "scale_intrinsics"
    scales = {"sx": _number_or_tensor(function, "sx", sx), "sy": _number_or_tensor(function, "sy", sy)}
    tensors = {name: (value, ()) for name, value in scales.items() if isinstance(value, Tensor)}
    check_shapes(function, {"K": (K, (3, 3)), **tensors})
    x, y = scales["sx"], scales["sy"]
    rows: list[list[Tensor | float]] = [[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]]
    return product(matrix_from_rows(rows, K), K)


def intrinsics_from_corner_origin(K: Tensor) -> Tensor:
    r"""Intrinsics with pixel centres at integers, of those with the origin at the corner of the first pixel.

    :math:`c_x - 1/2, c_y - 1/2`: COLMAP and MVSNet have the centre of the first pixel at (0.5, 0.5).
    Differentiable in K.

    Args:
        K: [...,3,3], float32 or float64.

    Returns:
        K [...,3,3].

    Raises:
        TypeError: no tensor of float32 or float64.
        ValueError: another shape.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import intrinsics_from_corner_origin
        >>> intrinsics_from_corner_origin(torch.tensor([[9.0, 0.0, 4.0], [0.0, 9.0, 2.0], [0.0, 0.0, 1.0]]))[:2, 2]
        tensor([3.5000, 1.5000])
    """
    check_shapes("intrinsics_from_corner_origin", {"K": (K, (3, 3))})
    shift = K.new_tensor([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    return product(shift, K)
