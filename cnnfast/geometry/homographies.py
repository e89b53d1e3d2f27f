"""Homographies from target to source pixels, pixel centres at integers, and those of other libraries.

A homography H maps a target pixel to homogeneous source coordinates, (u, v, w) = H (x, y, 1), and so says where each
pixel of a warped picture comes from: from (u/w, v/w).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnfast.arguments.checks import check_flag
from cnnfast.geometry._matrices import apply, check_float, check_shapes, dot, inverse, product
from cnnfast.geometry.cameras import check_size


def _size(function: str, name: str, size: Sequence[int]) -> tuple[int, int]:
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2:
        raise TypeError(f"{function}: expected {name} a pair (height, width), got {size!r}")
    return check_size(function, f"the height of {name}", size[0]), check_size(function, f"the width of {name}", size[1])


def transform_points(H: Tensor, xy: Tensor) -> Tensor:
    r"""Points of the target picture, mapped to the source picture: (u/w, v/w) with (u, v, w) = H (x, y, 1).

    Pixel centres are at integers. Differentiable in both arguments. Points with w < 0, which lie behind one of the
    cameras, are mapped all the same; w = 0 gives infinite or NaN coordinates.

    Args:
        H: homographies [...,3,3], float32 or float64.
        xy: points [...,N,2]; leading axes broadcast.

    Returns:
        Points [...,N,2].

    Raises:
        TypeError: no tensors of one dtype, float32 or float64.
        ValueError: other shapes, or tensors on different devices.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import transform_points
        >>> transform_points(torch.diag(torch.tensor([1.0, 1.0, 2.0])), torch.tensor([[4.0, 6.0]]))
        tensor([[2., 3.]])
    """
    check_float("transform_points", "xy", xy)
    if xy.dim() < 2 or xy.shape[-1] != 2:
        raise ValueError(f"transform_points: expected xy of shape [...,N,2], got {list(xy.shape)}")
    check_shapes("transform_points", {"H": (H, (3, 3)), "xy": (xy, tuple(xy.shape[-2:]))})
    return _transform(H, xy)


def _transform(H: Tensor, xy: Tensor) -> Tensor:
    points = apply(H[..., None, :, :2], xy) + H[..., None, :, 2]
    return points[..., :2] / points[..., 2:]


def orient_homography(H: Tensor, size: Sequence[int]) -> Tensor:
    r"""Homographies with the sign that makes w positive at the middle of the target picture.

    For homographies that are known only up to a factor, such as those of OpenCV's ``findHomography``: the warps of
    `cnnfast.ops` take w < 0 as behind the camera. One with w = 0 there, or w NaN, stays as it is. Target pixels to
    source pixels, pixel centres at integers. Differentiable; the sign is a constant.

    Args:
        H: [...,3,3], float32 or float64.
        size: (height, width) of the target picture.

    Returns:
        H or -H, [...,3,3].

    Raises:
        TypeError: no tensor of float32 or float64, size no pair of integers.
        ValueError: another shape, or sides below 1.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import orient_homography
        >>> orient_homography(-torch.eye(3), (4, 6)).diagonal()
        tensor([1., 1., 1.])
    """
    height, width = _size("orient_homography", "size", size)
    check_shapes("orient_homography", {"H": (H, (3, 3))})
    middle = H.new_tensor([(width - 1) / 2, (height - 1) / 2, 1.0])
    negative = dot(H[..., 2, :].detach(), middle) < 0
    return torch.where(negative[..., None, None], -H, H)


def check_homographies(H: Tensor, raise_on_nonfinite: bool = True) -> Tensor:
    """Which homographies have nine finite entries.

    The warps of `cnnfast.ops` leave out the others silently: planes in which the target camera lies have such ones.
    Reads the values, and so waits for a GPU. Not differentiable.

    Args:
        H: [...,3,3], float32 or float64, from target to source pixels.
        raise_on_nonfinite: raise an error where one is not finite.

    Returns:
        [...] bool.

    Raises:
        TypeError: no tensor of float32 or float64.
        ValueError: another shape, or, if wanted, an entry that is infinite or NaN; the message has the index of the
            first such homography.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import check_homographies
        >>> check_homographies(torch.stack([torch.eye(3), torch.eye(3) / 0]), raise_on_nonfinite=False)
        tensor([ True, False])
    """
    function = "check_homographies"
    check_flag(function, "raise_on_nonfinite", raise_on_nonfinite)
    check_shapes(function, {"H": (H, (3, 3))})
    finite = H.isfinite().flatten(-2).all(-1)
    if raise_on_nonfinite and not finite.all():
        index = (~finite).nonzero()[0].tolist()
        entries = H[tuple(index)].flatten().tolist()
        raise ValueError(f"{function}: expected H with finite entries, got {entries} at index {index}")
    return finite


def from_opencv(M: Tensor, inverse_map: bool = False) -> Tensor:
    r"""The homography from target to source pixels of a matrix for OpenCV's ``warpPerspective`` or ``warpAffine``.

    OpenCV maps source to target pixels unless it is given ``WARP_INVERSE_MAP``: H is the inverse of M, or M itself.
    Both have pixel centres at integers. Differentiable in M. A singular matrix gives entries that are infinite or NaN.

    Args:
        M: [...,3,3], or [...,2,3] as ``warpAffine`` takes it; float32 or float64.
        inverse_map: whether M is used with ``WARP_INVERSE_MAP``.

    Returns:
        H [...,3,3]; see `orient_homography` where its sign is not known.

    Raises:
        TypeError: no tensor of float32 or float64.
        ValueError: another shape.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import from_opencv
        >>> from_opencv(torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]))  # moves a picture 5 px to the right
        tensor([[ 1.,  0., -5.],
                [ 0.,  1.,  0.],
                [ 0.,  0.,  1.]])
    """
    check_flag("from_opencv", "inverse_map", inverse_map)
    check_float("from_opencv", "M", M)
    if M.dim() < 2 or tuple(M.shape[-2:]) not in ((3, 3), (2, 3)):
        raise ValueError(f"from_opencv: expected M of shape [...,3,3] or [...,2,3], got {list(M.shape)}")
    if M.shape[-2] == 2:
        M = torch.cat([M, M.new_tensor([[0.0, 0.0, 1.0]]).expand(*M.shape[:-2], 1, 3)], -2)
    return M if inverse_map else inverse(M) + 0.0  # no negative zeros


def _normalization(
    function: str, name: str, size: Sequence[int], align_corners: bool
) -> tuple[list[float], list[float]]:
    """Factors and offsets (x, y) from pixels to coordinates on [-1,1]."""
    height, width = _size(function, name, size)
    if not align_corners:
        return [2 / width, 2 / height], [1 / width - 1, 1 / height - 1]
    if 1 in (height, width):
        raise ValueError(
            f"{function}: expected {name} of at least 2 px a side with align_corners=True, which has no coordinates "
            f"of a single pixel, got {height}x{width}"
        )
    return [2 / (width - 1), 2 / (height - 1)], [-1.0, -1.0]


def from_kornia_normalized(M: Tensor, src_size: Sequence[int], dst_size: Sequence[int], align_corners: bool) -> Tensor:
    r"""The homography between pixels of one between coordinates on [-1,1], such as kornia's ``homography_warp`` takes.

    Both map target to source. Coordinates on [-1,1] are those of ``grid_sample`` with the same ``align_corners``; pixel
    centres are at integers. Differentiable in M.

    Args:
        M: ``src_homo_dst`` [...,3,3] of kornia, from target to source, float32 or float64.
        src_size: (height, width) of the source picture.
        dst_size: that of the target picture.
        align_corners: whether -1 and 1 are the centres of the outer pixels, or the outer edges of the picture. In
            kornia's older versions the target's coordinates were always the centres.

    Returns:
        H [...,3,3].

    Raises:
        TypeError: no tensor of float32 or float64, sizes that are no pairs of integers.
        ValueError: another shape, sides below 1, or of 1 with align_corners.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import from_kornia_normalized
        >>> from_kornia_normalized(torch.eye(3), (4, 4), (8, 8), align_corners=False)  # a picture enlarged twice
        tensor([[ 0.5000,  0.0000, -0.2500],
                [ 0.0000,  0.5000, -0.2500],
                [ 0.0000,  0.0000,  1.0000]])
    """
    function = "from_kornia_normalized"
    check_flag(function, "align_corners", align_corners)
    check_shapes(function, {"M": (M, (3, 3))})
    (ax, ay), (bx, by) = _normalization(function, "dst_size", dst_size, align_corners)
    normalize = M.new_tensor([[ax, 0.0, bx], [0.0, ay, by], [0.0, 0.0, 1.0]])
    (ax, ay), (bx, by) = _normalization(function, "src_size", src_size, align_corners)
    denormalize = M.new_tensor([[1 / ax, 0.0, -bx / ax], [0.0, 1 / ay, -by / ay], [0.0, 0.0, 1.0]])
    return product(denormalize, product(M, normalize))


def to_grid(H: Tensor, src_size: Sequence[int], dst_size: Sequence[int], align_corners: bool) -> Tensor:
    r"""The grid with which ``torch.nn.functional.grid_sample`` warps a picture by a homography.

    H maps target to source pixels, pixel centres at integers; the grid has the source positions on [-1,1].
    Differentiable in H. Pixels with w < 0 get their mirrored position, those with w = 0 an infinite or NaN one: the
    warps of `cnnfast.ops` leave both out.

    Args:
        H: [...,3,3], float32 or float64.
        src_size: (height, width) of the source picture.
        dst_size: that of the target picture.
        align_corners: as given to ``grid_sample``.

    Returns:
        [...,height,width,2], x first.

    Raises:
        TypeError: no tensor of float32 or float64, sizes that are no pairs of integers.
        ValueError: another shape, sides below 1, or of 1 in the source with align_corners.

    Example:
        >>> import torch
        >>> from cnnfast.geometry import to_grid
        >>> to_grid(torch.eye(3), (1, 4), (1, 4), align_corners=False)[0, :, 0]
        tensor([-0.7500, -0.2500,  0.2500,  0.7500])
    """
    check_flag("to_grid", "align_corners", align_corners)
    check_shapes("to_grid", {"H": (H, (3, 3))})
    factors, offsets = _normalization("to_grid", "src_size", src_size, align_corners)
    height, width = _size("to_grid", "dst_size", dst_size)
    rows, columns = (torch.arange(n, dtype=H.dtype, device=H.device) for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([x, y], -1).flatten(0, 1)
    grid = _transform(H, pixels) * H.new_tensor(factors) + H.new_tensor(offsets)
    return grid.unflatten(-2, (height, width))
