"""Planes, the homographies that they induce between two cameras, and planes fitted to depth.

Planes are given in the source camera's frame as n . X = d, with n a unit vector that points away from the camera and
d > 0. Only m = n / d, the scaled normal, enters. Homographies map target pixels to source pixels, pixel centres are at
integers, and poses are X_tgt = R X_src + t.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_word, finite_number, whole_number
from cnnfast.geometry._matrices import apply, check_alike, check_shapes, dot, inverse, outer, product


def plane_homography(
    K_src: Tensor, K_tgt: Tensor, R: Tensor, t: Tensor, normal: Tensor, distance: Tensor | float
) -> tuple[Tensor, Tensor]:
    r"""Homography from target to source pixels that a plane induces, and the plane's inverse-depth line.

    `plane_homography_from_scaled_normal` with :math:`m = n / d`; see there for the equations and the degenerate cases.
    Differentiable in all arguments.

    Args:
        K_src: intrinsics of the source camera [...,3,3] in px, float32 or float64, the last row (0, 0, 1).
        K_tgt: those of the target camera.
        R: rotation [...,3,3] of the pose from source to target, X_tgt = R X_src + t.
        t: its translation [...,3].
        normal: unit normal n [...,3] in the source frame, n . X = d.
        distance: d of each plane [...], or a number.

    Returns:
        H [...,3,3] and the line l [...,3]. Leading axes broadcast: cameras [B,1,3,3] and planes [B,Q,3] give [B,Q,3,3].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64.
        ValueError: other shapes, tensors on different devices, a distance that is not finite.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import plane_homography, transform_points
        >>> K, normal = torch.diag(torch.tensor([10.0, 10.0, 1.0])), torch.tensor([0.0, 0.0, 1.0])
        >>> t = torch.tensor([-1.0, 0.0, 0.0])  # the target camera stands 1 m to the right
        >>> H, line = plane_homography(K, K, torch.eye(3), t, normal, 5.0)
        >>> transform_points(H, torch.zeros(1, 2))  # 10 px times 1 m / 5 m
        tensor([[2., 0.]])
        >>> line
        tensor([0.0000, 0.0000, 0.2000])
    """
    function = "plane_homography"
    cameras = {"K_src": (K_src, (3, 3)), "K_tgt": (K_tgt, (3, 3)), "R": (R, (3, 3)), "t": (t, (3,))}
    check_shapes(function, {**cameras, "normal": (normal, (3,))})
    if isinstance(distance, Tensor) and distance.dim():
        check_shapes(function, {"normal": (normal, (3,)), "distance": (distance, ())})
        return _homography(K_src, K_tgt, R, t, normal / distance.unsqueeze(-1))
    if not isinstance(distance, Tensor):
        distance = finite_number(function, "distance", distance, "[...]")
    return _homography(K_src, K_tgt, R, t, normal / distance)


def plane_homography_from_scaled_normal(
    K_src: Tensor, K_tgt: Tensor, R: Tensor, t: Tensor, m: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Homography from target to source pixels that the plane m . X = 1 induces, and its inverse-depth line.

    A point of the plane has :math:`X_{tgt} = (R + t m^T) X_{src}`. By the formula of Sherman and Morrison

    .. math:: H = K_{src} \Bigl(R^T - \frac{(R^T t)(m^T R^T)}{1 + m^T R^T t}\Bigr) K_{tgt}^{-1}, \qquad
        l = K_{tgt}^{-T} \frac{R m}{1 + m^T R^T t}.

    For a target pixel p = (x, y, 1), H p = (u, v, w): the source position is (u/w, v/w), w is source depth by target
    depth, and l . p is one by target depth. So w > 0 says that the point of the plane lies on the same side of both
    cameras, and l . p > 0 that it lies in front of the target camera. Pixel centres are at integers. Differentiable in
    all arguments, as often as you like.

    A target camera in the plane (1 + m . R^T t = 0) gives entries that are infinite or NaN, and so does a singular
    K_tgt; nothing is raised, and the warps of `cnnfast.ops` take such a plane as one that shows nothing. m = 0 is the
    plane at infinity: a homography of the rotation alone, and the line 0.

    Args:
        K_src: intrinsics of the source camera [...,3,3] in px, float32 or float64, the last row (0, 0, 1).
        K_tgt: those of the target camera.
        R: rotation [...,3,3] of the pose from source to target, X_tgt = R X_src + t; its inverse is taken to be its
            transpose.
        t: its translation [...,3].
        m: normal by distance [...,3] in the source frame.

    Returns:
        H [...,3,3] and the line l [...,3]. Leading axes broadcast: cameras [B,1,3,3] and planes [B,Q,3] give [B,Q,3,3].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64.
        ValueError: other shapes, or tensors on different devices.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import plane_homography_from_scaled_normal
        >>> K, planes = torch.eye(3), torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.25]])
        >>> H, lines = plane_homography_from_scaled_normal(K, K, torch.eye(3), torch.tensor([0.0, 0.0, 2.0]), planes)
        >>> H[0]  # the plane was 2 m ahead, and is 4 m ahead of the target
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 1.0000, 0.0000],
                [0.0000, 0.0000, 0.5000]])
    """
    cameras = {"K_src": (K_src, (3, 3)), "K_tgt": (K_tgt, (3, 3)), "R": (R, (3, 3)), "t": (t, (3,))}
    check_shapes("plane_homography_from_scaled_normal", {**cameras, "m": (m, (3,))})
    return _homography(K_src, K_tgt, R, t, m)


def _homography(K_src: Tensor, K_tgt: Tensor, R: Tensor, t: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    back, normal = apply(R.mT, t), apply(R, m)
    scale = 1 + dot(m, back)
    pose = R.mT - outer(back, normal) / scale[..., None, None]
    K_inverse = inverse(K_tgt)
    H = product(product(K_src, pose), K_inverse)
    line = apply(K_inverse.mT, normal / scale[..., None])
    return H, line.expand(H.shape[:-1])


def fronto_parallel_planes(
    near: float,
    far: float,
    q: int,
    spacing: str = "inverse_depth",
    order: str = "front_to_back",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Distances of q planes z = d between two depths, both ends included.

    Args:
        near: depth of the nearest plane, above 0.
        far: depth of the farthest, at least that.
        q: number of planes; a single one is at ``near``.
        spacing: "inverse_depth" for equal steps of 1/d (equal steps of disparity), "depth" for equal steps of d.
        order: "front_to_back", or "back_to_front" for the farthest first.
        dtype: of the tensor, PyTorch's default if None.
        device: of the tensor.

    Returns:
        Distances [q], not differentiable; the normal of each plane is (0, 0, 1).

    Raises:
        TypeError: depths that are no numbers, q no integer.
        ValueError: depths not above 0, far below near, q below 1, or an unknown word.

    Example:
        >>> from cnnfast.geometry import fronto_parallel_planes
        >>> fronto_parallel_planes(1.0, 4.0, 4)
        tensor([1.0000, 1.3333, 2.0000, 4.0000])
    """
    function = "fronto_parallel_planes"
    near, far = finite_number(function, "near", near), finite_number(function, "far", far)
    count = whole_number(q)
    if count is None:
        raise TypeError(f"{function}: expected q an integer, got {q!r}")
    if count < 1:
        raise ValueError(f"{function}: expected q of at least 1, got {count}")
    if not 0 < near <= far:
        raise ValueError(f"{function}: expected depths with 0 < near <= far, got near {near} and far {far}")
    check_word(function, "spacing", spacing, ("inverse_depth", "depth"))
    check_word(function, "order", order, ("front_to_back", "back_to_front"))
    part = torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
    planes = near + (far - near) * part if spacing == "depth" else 1 / (1 / near + (1 / far - 1 / near) * part)
    planes[-1], planes[0] = far, near  # both ends exact; of a single plane the near one
    if order == "back_to_front":
        planes = planes.flip(0)
    return planes.to(dtype=dtype or torch.get_default_dtype(), device=device)


def planes_from_depth(inverse_depth: Tensor, K: Tensor, regions: Tensor, m0: Tensor, lam: float) -> Tensor:
    r"""Planes that fit the inverse depth of soft regions best, by regularised least squares.

    Along the ray :math:`r(p) = K^{-1} (x, y, 1)^T` a plane m . X = 1 has inverse depth :math:`m \cdot r(p)`, so

    .. math:: m_k = \arg\min_m \sum_p A_k(p) (m \cdot r(p) - \rho(p))^2 + \lambda |m - m_0|^2

    solves :math:`(\sum_p A_k r r^T + \lambda I) m_k = \sum_p A_k \rho r + \lambda m_0`. Pixel centres are at integers,
    and the planes are in the frame of the camera that sees the inverse depth (the source camera, for
    `plane_homography_from_scaled_normal`). Differentiable in all tensors, as often as you like.

    Args:
        inverse_depth: rho [B,H,W] or [B,1,H,W], float32 or float64.
        K: intrinsics [B,3,3] in px, or [3,3].
        regions: weights A [B,q,H,W] of the pixels in each region, at least 0.
        m0: prior [3], [B,3] or [B,q,3], such as (0, 0, 1 / typical depth).
        lam: weight of the prior, above 0, such as 0.002 times the number of pixels.

    Returns:
        m [B,q,3]; m0 for a region without pixels.

    Raises:
        TypeError: no tensors of one dtype, float32 or float64; lam no number.
        ValueError: other shapes, tensors on different devices, lam not above 0.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import planes_from_depth
        >>> rho, regions = torch.full((1, 4, 6), 0.5), torch.ones(1, 1, 4, 6)
        >>> K = torch.tensor([[6.0, 0.0, 2.5], [0.0, 6.0, 1.5], [0.0, 0.0, 1.0]])
        >>> planes_from_depth(rho, K, regions, torch.tensor([0.0, 0.0, 0.5]), 0.01).round(decimals=4) + 0.0
        tensor([[[0.0000, 0.0000, 0.5000]]])
    """
    function = "planes_from_depth"
    check_alike(function, {"inverse_depth": inverse_depth, "K": K, "regions": regions, "m0": m0})
    if regions.dim() != 4:
        raise ValueError(f"{function}: expected regions of shape [B,q,H,W], got {list(regions.shape)}")
    batch, q, height, width = regions.shape
    depth = inverse_depth.squeeze(1) if inverse_depth.dim() == 4 and inverse_depth.shape[1] == 1 else inverse_depth
    if depth.shape != (batch, height, width):
        raise ValueError(
            f"{function}: expected inverse_depth of shape [{batch},{height},{width}] like regions "
            f"{list(regions.shape)}, got {list(inverse_depth.shape)}"
        )
    if K.shape not in ((3, 3), (batch, 3, 3)):
        raise ValueError(f"{function}: expected K of shape [{batch},3,3] or [3,3], got {list(K.shape)}")
    if m0.shape not in ((3,), (batch, 3), (batch, q, 3)):
        raise ValueError(f"{function}: expected m0 of shape [3], [{batch},3] or [{batch},{q},3], got {list(m0.shape)}")
    weight = finite_number(function, "lam", lam)
    if not weight > 0:
        raise ValueError(f"{function}: expected lam above 0, got {weight}")
    return _least_squares(depth, K.expand(batch, 3, 3), regions, m0.unsqueeze(1) if m0.dim() == 2 else m0, weight)


def _least_squares(depth: Tensor, K: Tensor, regions: Tensor, m0: Tensor, lam: float) -> Tensor:
    height, width = depth.shape[1:]
    with torch.autocast(depth.device.type, enabled=False):
        rows, columns = (torch.arange(n, dtype=depth.dtype, device=depth.device) for n in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)
        rays = apply(inverse(K).unsqueeze(1), pixels)  # [B,HW,3]
        moments = torch.cat([outer(rays, rays).flatten(-2), depth.flatten(1).unsqueeze(-1) * rays], -1)
        sums = regions.flatten(2) @ moments  # [B,q,12]
        matrix = sums[..., :9].unflatten(-1, (3, 3)) + lam * torch.eye(3, dtype=depth.dtype, device=depth.device)
        return torch.linalg.solve(matrix, sums[..., 9:] + lam * m0)
